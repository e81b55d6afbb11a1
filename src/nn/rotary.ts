/**
 * Rotary positions (RoPE; Su et al. 2021, arXiv 2104.09864): pair j of a head's channels is rotated by the angle
 * position · θ^(−2j/HS), so that the product of a query and a key depends on their distance. The channels of a pair lie
 * half a head apart, as in GPT-NeoX, Llama and transformers' rotate_half.
 */

/** Cosines and then sines of the HS/2 angles of the first `count` positions, (count, HS); HS is even. */
export function rotations(count: number, HS: number, theta: number): Float64Array {
  const half = HS / 2;
  return Float64Array.from({ length: count * HS }, (_, i) => {
    const c = i % HS;
    const angle = Math.floor(i / HS) * theta ** ((-2 * (c % half)) / HS);
    return c < half ? Math.cos(angle) : Math.sin(angle);
  });
}
