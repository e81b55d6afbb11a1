/** Norm and rotation of query and key heads on a GPU: a team takes a head, a lane pairs of its channels. */
import type { Program } from './program.js';
import type { GpuKernels } from './kernels.js';

/** `head`: where head r of the queries and keys begins; `rotate` turns pairs of channels. */
const HEADS = `
fn head(r: u32) -> u32 { return ((r / p.QK) * p.H + r % p.QK) * p.HS; }
fn turned(a: f32, b: f32, angle: u32, direction: f32) -> vec2f {
  let cos = rotation(angle);
  let sin = direction * rotation(angle + p.HS / 2u);
  return vec2f(a * cos - b * sin, b * cos + a * sin);
}`;

const NUMBERS = { QK: 'u32', H: 'u32', HS: 'u32' } as const;

const FORWARD: Program = {
  name: 'headsForward',
  arrays: { qkv: 'update f32', rstd: 'update f32', positions: 'i32', rotation: 'f32' },
  numbers: { ...NUMBERS, eps: 'f32' },
  runs: 'rows',
  code: `${HEADS}
fn row(r: u32, lane: u32) {
  let at = head(r);
  let half = p.HS / 2u;
  var scale = 1.0;
  if (has_rstd) {
    var squares = 0.0;
    for (var c = lane; c < p.HS; c += L) { let x = qkv(at + c); squares += x * x; }
    scale = 1.0 / sqrt(team_sum(squares, lane) / f32(p.HS) + p.eps);
    if (lane == 0u) { set_rstd(r, scale); }
  }
  for (var c = lane; c < half; c += L) {
    var pair = vec2f(qkv(at + c), qkv(at + half + c)) * scale;
    if (has_rotation) { pair = turned(pair.x, pair.y, u32(positions(r / p.QK)) * p.HS + c, 1.0); }
    set_qkv(at + c, pair.x);
    set_qkv(at + half + c, pair.y);
  }
  if (lane == 0u && p.HS % 2u == 1u) { set_qkv(at + p.HS - 1u, qkv(at + p.HS - 1u) * scale); }
}`,
};

/** A rotation keeps products: Σ dout ⊙ out is Σ dx̂ ⊙ x̂. */
const BACKWARD: Program = {
  name: 'headsBackward',
  arrays: { dqkv: 'update f32', qkv: 'f32', rstd: 'f32', positions: 'i32', rotation: 'f32' },
  numbers: NUMBERS,
  runs: 'rows',
  code: `${HEADS}
fn row(r: u32, lane: u32) {
  let at = head(r);
  let half = p.HS / 2u;
  var scale = 1.0;
  var average = 0.0;
  if (has_rstd) {
    var products = 0.0;
    for (var c = lane; c < p.HS; c += L) { products += dqkv(at + c) * qkv(at + c); }
    average = team_sum(products, lane) / f32(p.HS);
    scale = rstd(r);
  }
  for (var c = lane; c < half; c += L) {
    var pair = vec2f(dqkv(at + c), dqkv(at + half + c));
    if (has_rstd) { pair = scale * (pair - vec2f(qkv(at + c), qkv(at + half + c)) * average); }
    if (has_rotation) { pair = turned(pair.x, pair.y, u32(positions(r / p.QK)) * p.HS + c, -1.0); }
    set_dqkv(at + c, pair.x);
    set_dqkv(at + half + c, pair.y);
  }
  if (lane == 0u && p.HS % 2u == 1u && has_rstd) {
    let c = at + p.HS - 1u;
    set_dqkv(c, scale * (dqkv(c) - qkv(c) * average));
  }
}`,
};

export const heads = {
  headsForward(engine, { qkv, rstd, positions, rotation, R, NH, KV, HS, eps }) {
    engine.run(FORWARD, {
      arrays: { qkv, rstd, positions: rotation && positions, rotation },
      numbers: { QK: NH + KV, H: NH + 2 * KV, HS, eps },
      count: R * (NH + KV),
    });
  },

  headsBackward(engine, { dqkv, qkv, rstd, positions, rotation, R, NH, KV, HS }) {
    engine.run(BACKWARD, {
      arrays: { dqkv, qkv: rstd && qkv, rstd, positions: rotation && positions, rotation },
      numbers: { QK: NH + KV, H: NH + 2 * KV, HS },
      count: R * (NH + KV),
    });
  },
} satisfies Partial<GpuKernels>;
