/** Layer norm and RMSNorm on a GPU: RMSNorm is a layer norm whose mean is null. */
import type { Storage } from '../backend.js';
import type { Engine } from './engine.js';
import type { Program } from './program.js';
import { addSums, blocksOf, WALK } from './channel-sums.wgsl.js';
import type { GpuKernels } from './kernels.js';

const FORWARD: Program = {
  name: 'norm forward',
  arrays: {
    out: 'update f32',
    mean: 'update f32',
    rstd: 'update f32',
    inp: 'f32',
    weight: 'f32',
    bias: 'f32',
  },
  numbers: { C: 'u32', eps: 'f32' },
  runs: 'rows',
  code: `fn row(r: u32, lane: u32) {
  let at = r * p.C;
  var m = 0.0;
  if (has_mean) {
    for (var c = lane; c < p.C; c += L) { m += inp(at + c); }
    m = team_sum(m, lane) / f32(p.C);
  }
  var squares = 0.0;
  for (var c = lane; c < p.C; c += L) {
    let x = inp(at + c) - m;
    squares += x * x;
  }
  let s = 1.0 / sqrt(team_sum(squares, lane) / f32(p.C) + p.eps);
  for (var c = lane; c < p.C; c += L) { set_out(at + c, (inp(at + c) - m) * s * weight(c) + bias(c)); }
  if (lane == 0u) {
    set_mean(r, m);
    set_rstd(r, s);
  }
}`,
};

/** The first R teams compute rows of `dinp`; the others walk channels for the gradients of weight and bias. */
const BACKWARD: Program = {
  name: 'norm backward',
  arrays: {
    dinp: 'update f32',
    dweight: 'update f32',
    dbias: 'update f32',
    sums: 'update f32',
    dout: 'f32',
    inp: 'f32',
    weight: 'f32',
    mean: 'f32',
    rstd: 'f32',
  },
  numbers: { R: 'u32', C: 'u32', block: 'u32' },
  runs: 'rows',
  code: `${WALK}
fn row(r: u32, lane: u32) {
  if (r >= p.R) {
    sum_rows(walk_of(r - p.R, lane));
    return;
  }
  let at = r * p.C;
  let m = mean(r);
  let s = rstd(r);
  var sum = 0.0; // Σ dx̂
  var dot = 0.0; // Σ dx̂ ⊙ x̂
  for (var c = lane; c < p.C; c += L) {
    let d = dout(at + c) * weight(c);
    sum += d;
    dot += d * ((inp(at + c) - m) * s);
  }
  if (has_mean) { sum = team_sum(sum, lane) / f32(p.C); } else { sum = 0.0; }
  dot = team_sum(dot, lane) / f32(p.C);
  for (var c = lane; c < p.C; c += L) {
    var y = s * (dout(at + c) * weight(c) - sum - (inp(at + c) - m) * s * dot);
    if (accumulate) { y += dinp(at + c); }
    set_dinp(at + c, y);
  }
}
fn sum_rows(walk: vec4u) {
  let c = walk.x;
  if (c >= p.C) { return; }
  var by_weight = 0.0;
  var by_bias = 0.0;
  for (var r = walk.y; r < walk.z; r++) {
    let d = dout(r * p.C + c);
    by_weight += d * ((inp(r * p.C + c) - mean(r)) * rstd(r));
    by_bias += d;
  }
  if (has_sums) {
    let at = walk.w * select(p.C, 2u * p.C, both) + c;
    set_sums(at, by_weight);
    if (both) { set_sums(at + p.C, by_bias); }
  } else {
    set_dweight(c, dweight(c) + by_weight);
    if (both) { set_dbias(c, dbias(c) + by_bias); }
  }
}`,
};

interface Backward {
  readonly dinp: Storage;
  readonly dweight: Storage;
  readonly dbias: Storage | null;
  readonly dout: Storage;
  readonly inp: Storage;
  readonly weight: Storage;
  readonly mean: Storage | null;
  readonly rstd: Storage;
  readonly R: number;
  readonly C: number;
  readonly accumulate: boolean;
}

function backward(engine: Engine, { dweight, dbias, R, C, accumulate, ...arrays }: Backward): void {
  const { dinp, dout, inp, weight, mean, rstd } = arrays;
  const shared = { dinp, dout, inp, weight, mean, rstd };
  const { block, blocks, walks } = blocksOf(engine, R, C);
  const both = dbias !== null;
  const call = { numbers: { R, C, block }, constants: { accumulate, both }, count: R + walks };
  if (blocks <= 1) {
    engine.run(BACKWARD, { arrays: { ...shared, dweight, dbias, sums: null }, ...call });
    return;
  }
  using sums = engine.scratch(blocks * (both ? 2 : 1) * C);
  engine.run(BACKWARD, { arrays: { ...shared, dweight: null, dbias: null, sums }, ...call });
  addSums(engine, { first: dweight, second: dbias, sums }, { C, blocks });
}

export const norm = {
  layernormForward: (engine, { out, mean, rstd, inp, weight, bias, R, C, eps }) =>
    engine.run(FORWARD, {
      arrays: { out, mean, rstd, inp, weight, bias },
      numbers: { C, eps },
      count: R,
    }),

  layernormBackward: backward,

  rmsnormForward: (engine, { out, rstd, inp, weight, R, C, eps }) =>
    engine.run(FORWARD, {
      arrays: { out, mean: null, rstd, inp, weight, bias: null },
      numbers: { C, eps },
      count: R,
    }),

  rmsnormBackward: (engine, args) => backward(engine, { ...args, dbias: null, mean: null }),
} satisfies Partial<GpuKernels>;
