/** Parcae's stable injection (arXiv 2604.12946) on a GPU. */
import { MATH } from './math.wgsl.js';
import type { Program } from './program.js';
import { blocksOf, WALK } from './channel-sums.wgsl.js';
import type { GpuKernels } from './kernels.js';

/**
 * `channel(a, b)`: A = exp(a), Δ = softplus(b), the carry-over exp(−ΔA) and the gain; their derivatives. The exact gain
 * and its derivative by a are Δ times functions of −ΔA that do not cancel where it is small.
 */
const CHANNEL = `${MATH}
struct Channel { rate: f32, step: f32, decay: f32, keep: f32, gain: f32 }
fn channel(a: f32, b: f32) -> Channel {
  var k: Channel;
  k.rate = finite(precise_exp(a));
  k.step = softplus(b);
  k.decay = finite(k.step * k.rate);
  k.keep = precise_exp(-k.decay);
  k.gain = k.step;
  if (exact) {
    if (k.decay > 1e-5) { k.gain *= -precise_expm1(-k.decay) / k.decay; } else { k.gain *= 1.0 - 0.5 * k.decay; }
  }
  return k;
}
fn finite(x: f32) -> f32 { return select(x, 3e38, x > 3e38); }

// The gain's derivative by a.
fn gain_by_a(k: Channel) -> f32 {
  if (!exact) { return 0.0; }
  if (k.decay > 0.35) { return k.step * k.keep - k.gain; }
  let y = -k.decay;
  return k.step * y * (1.0 / 2.0 + y * (1.0 / 3.0 + y * (1.0 / 8.0 + y * (1.0 / 30.0 + y * (1.0 / 144.0
    + y * (1.0 / 840.0 + y / 5760.0))))));
}
// The gradients by a and b, of those by the carry-over and the gain.
fn by_a_and_b(k: Channel, b: f32, by_keep: f32, by_gain: f32) -> vec2f {
  let slope = sigmoid(b);
  let gain_by_b = slope * select(1.0, k.keep, exact);
  return vec2f(
    by_gain * gain_by_a(k) - by_keep * (k.decay * k.keep),
    by_gain * gain_by_b - by_keep * (k.rate * k.keep * slope),
  );
}`;

const FORWARD: Program = {
  name: 'stableInjectionForward',
  arrays: { out: 'update f32', x: 'f32', u: 'f32', a: 'f32', b: 'f32' },
  numbers: { R: 'u32', C: 'u32', block: 'u32' },
  runs: 'rows',
  code: `${CHANNEL}${WALK}
fn row(r: u32, lane: u32) {
  let walk = walk_of(r, lane);
  let c = walk.x;
  if (c >= p.C) { return; }
  let k = channel(a(c), b(c));
  for (var q = walk.y; q < walk.z; q++) {
    let i = q * p.C + c;
    set_out(i, k.keep * x(i) + k.gain * u(i));
  }
}`,
};

/** Threads over channels walk blocks of rows. */
const BACKWARD: Program = {
  name: 'stableInjectionBackward',
  arrays: {
    dx: 'update f32',
    du: 'update f32',
    sums: 'update f32',
    dout: 'f32',
    x: 'f32',
    u: 'f32',
    a: 'f32',
    b: 'f32',
  },
  numbers: { R: 'u32', C: 'u32', block: 'u32' },
  runs: 'rows',
  code: `${CHANNEL}${WALK}
fn row(r: u32, lane: u32) {
  let walk = walk_of(r, lane);
  let c = walk.x;
  if (c >= p.C) { return; }
  let k = channel(a(c), b(c));
  var by_keep = 0.0;
  var by_gain = 0.0;
  for (var q = walk.y; q < walk.z; q++) {
    let i = q * p.C + c;
    let d = dout(i);
    var by_x = k.keep * d;
    var by_u = k.gain * d;
    if (accumulate_x) { by_x += dx(i); }
    if (accumulate_u) { by_u += du(i); }
    set_dx(i, by_x);
    set_du(i, by_u);
    by_keep += d * x(i);
    by_gain += d * u(i);
  }
  set_sums(walk.w * 2u * p.C + c, by_keep);
  set_sums(walk.w * 2u * p.C + p.C + c, by_gain);
}`,
};

const ADD: Program = {
  name: 'gradients of a stable injection',
  arrays: { da: 'update f32', db: 'update f32', sums: 'f32', a: 'f32', b: 'f32' },
  numbers: { C: 'u32', blocks: 'u32' },
  runs: 'each',
  code: `${CHANNEL}
fn each(c: u32) {
  var by_keep = 0.0;
  var by_gain = 0.0;
  for (var i = 0u; i < p.blocks; i++) {
    by_keep += sums(i * 2u * p.C + c);
    by_gain += sums(i * 2u * p.C + p.C + c);
  }
  let d = by_a_and_b(channel(a(c), b(c)), b(c), by_keep, by_gain);
  set_da(c, da(c) + d.x);
  set_db(c, db(c) + d.y);
}`,
};

export const injection = {
  stableInjectionForward(engine, { out, x, u, a, b, R, C, exact }) {
    const { block, walks } = blocksOf(engine, R, C);
    engine.run(FORWARD, {
      arrays: { out, x, u, a, b },
      numbers: { R, C, block },
      constants: { exact },
      count: walks,
    });
  },

  stableInjectionBackward(
    engine,
    { dx, du, da, db, dout, x, u, a, b, R, C, exact, accumulateX, accumulateU },
  ) {
    const { block, blocks, walks } = blocksOf(engine, R, C);
    using sums = engine.scratch(2 * blocks * C);
    engine.run(BACKWARD, {
      arrays: { dx, du, sums, dout, x, u, a, b },
      numbers: { R, C, block },
      constants: { exact, accumulate_x: accumulateX, accumulate_u: accumulateU },
      count: walks,
    });
    if (blocks === 0) return;
    engine.run(ADD, {
      arrays: { da, db, sums, a, b },
      numbers: { C, blocks },
      constants: { exact },
      count: C,
    });
  },
} satisfies Partial<GpuKernels>;
