/** Counter-based dropout in WGSL; the twin of memory/dropout.ts. */
export const RANDOM = `
fn mix32(word: u32) -> u32 {
  var x = (word ^ (word >> 16u)) * 0x7feb352du;
  x = (x ^ (x >> 15u)) * 0x846ca68bu;
  return x ^ (x >> 16u);
}
fn sample_key(key0: u32, key1: u32, sample: u32) -> vec2u {
  let k0 = mix32(key0 + sample * 0x9e3779b9u);
  return vec2u(k0, mix32(key1 ^ k0));
}
fn dropout_keeps(k: vec2u, element: u32, threshold: u32) -> bool {
  return mix32(mix32(element + k.x) ^ k.y) >= threshold;
}`;
