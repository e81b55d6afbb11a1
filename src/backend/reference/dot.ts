/** The sum of products that most reference kernels use. */
import type { Floats } from '../memory/arguments.js';

/** Σ a[i + k]·b[j + k], in double precision. */
export function dot(a: Floats, i: number, b: Floats, j: number, length: number): number {
  let sum = 0;
  for (let k = 0; k < length; k++) sum += a[i + k] * b[j + k];
  return sum;
}
