/**
 * Operands of products as f16, where a device has it. Sums stay in float32. Gradients are mostly smaller than f16 can
 * tell from zero: products scale them up as they read them and down as they store the sum, by a power of two.
 */
import type { Constants } from './program.js';

/** Constants of programs that multiply. */
export interface Operands {
  readonly half: boolean;
  /** Whether values are rounded by packing instead, which every device can: for tests. */
  readonly emulated: boolean;
}

/**
 * - `Operand`, `Operands`: how workgroups hold one operand, and four
 * - `rounded`: four operands as products read them
 */
export function rounding({ half, emulated }: Constants): string {
  const type = half && !emulated ? 'f16' : 'f32';
  const through = emulated
    ? 'vec4f(unpack2x16float(pack2x16float(x.xy)), unpack2x16float(pack2x16float(x.zw)))'
    : '';
  return `alias Operand = ${type};
alias Operands = vec4<${type}>;
fn rounded(x: vec4f) -> vec4f { return ${half ? through || 'vec4f(vec4<f16>(x))' : 'x'}; }`;
}

/**
 * What gradients of R rows are multiplied by: those by a mean over the rows, of at most 1/R, come to lie below 2. What
 * is 30,000 times as large becomes infinite, and its update is skipped.
 */
export function gradientScale({ half }: Operands, R: number): number {
  return half ? 2 ** Math.ceil(Math.log2(Math.max(R, 1))) : 1;
}
