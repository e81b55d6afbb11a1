/** The sums of products that most reference kernels use. */
import type { Floats } from '../memory/arguments.js';

/** Σ a[i + k]·b[j + k], in double precision. */
export function dot(a: Floats, i: number, b: Floats, j: number, length: number): number {
  let sum = 0;
  for (let k = 0; k < length; k++) sum += a[i + k] * b[j + k];
  return sum;
}

/**
 * sums[n] += Σ_k a[i + k·step]·b[k·N + n] for the N sums, in ascending k. Four k at a time read and write the sums a
 * quarter as often, with the same bits.
 */
export function addProducts(
  sums: Float64Array,
  a: Floats,
  i: number,
  step: number,
  b: Floats,
  K: number,
): void {
  const N = sums.length;
  let k = 0;
  for (; k + 4 <= K; k += 4) {
    const at = i + k * step;
    const [a0, a1, a2, a3] = [a[at], a[at + step], a[at + 2 * step], a[at + 3 * step]];
    for (let n = 0, j = k * N; n < N; n++, j++) {
      sums[n] = sums[n] + a0 * b[j] + a1 * b[j + N] + a2 * b[j + 2 * N] + a3 * b[j + 3 * N];
    }
  }
  for (; k < K; k++) for (let n = 0; n < N; n++) sums[n] += a[i + k * step] * b[k * N + n];
}
