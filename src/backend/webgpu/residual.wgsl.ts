/** Gated residuals on a GPU, the loop update of arXiv 2409.14199. */
import type { Program } from './program.js';
import { addSums, blocksOf, WALK } from './channel-sums.wgsl.js';
import type { GpuKernels } from './kernels.js';

const FORWARD: Program = {
  name: 'gatedResidualForward',
  arrays: { out: 'update f32', x: 'f32', f: 'f32', gate: 'f32' },
  numbers: { G: 'u32' },
  runs: 'each',
  code: `fn each(i: u32) {
  let before = x(i);
  var step = f(i);
  if (correction) { step -= before; }
  set_out(i, before + gate(i % p.G) * step);
}`,
};

/** Threads over channels walk blocks of rows; with one gate for all, a team adds what its lanes have summed. */
const BACKWARD: Program = {
  name: 'gatedResidualBackward',
  arrays: {
    dx: 'update f32',
    df: 'update f32',
    dgate: 'update f32',
    sums: 'update f32',
    dout: 'f32',
    x: 'f32',
    f: 'f32',
    gate: 'f32',
  },
  numbers: { R: 'u32', C: 'u32', G: 'u32', block: 'u32' },
  runs: 'rows',
  code: `${WALK}
fn row(r: u32, lane: u32) {
  let walk = walk_of(r, lane);
  let c = walk.x;
  var sum = 0.0;
  if (c < p.C) {
    let g = gate(c % p.G);
    for (var q = walk.y; q < walk.z; q++) {
      let i = q * p.C + c;
      let d = dout(i);
      var by_x = d;
      var step = f(i);
      if (correction) {
        by_x = d * (1.0 - g);
        step -= x(i);
      }
      var by_f = d * g;
      sum += d * step;
      if (accumulate_x) { by_x += dx(i); }
      if (accumulate_f) { by_f += df(i); }
      set_dx(i, by_x);
      set_df(i, by_f);
    }
  }
  if (one_gate) {
    let total = team_sum(sum, lane);
    if (lane == 0u) { set_sums(r, total); }
  } else if (c < p.C) {
    if (has_sums) { set_sums(walk.w * p.C + c, sum); } else { set_dgate(c, dgate(c) + sum); }
  }
}`,
};

/** Adds the sums of all walks to one gate's gradient. */
const ADD_ALL: Program = {
  name: 'gradient of one gate',
  arrays: { dgate: 'update f32', sums: 'f32' },
  numbers: { walks: 'u32' },
  runs: 'rows',
  code: `fn row(r: u32, lane: u32) {
  var sum = 0.0;
  for (var i = lane; i < p.walks; i += L) { sum += sums(i); }
  let total = team_sum(sum, lane);
  if (lane == 0u) { set_dgate(0u, dgate(0u) + total); }
}`,
};

export const residual = {
  gatedResidualForward: (engine, { out, x, f, gate, R, C, G, form }) =>
    engine.run(FORWARD, {
      arrays: { out, x, f, gate },
      numbers: { G },
      constants: { correction: form === 'correction' },
      count: R * C,
    }),

  gatedResidualBackward(
    engine,
    { dx, df, dgate, dout, x, f, gate, R, C, G, form, accumulateX, accumulateF },
  ) {
    const { block, blocks, walks } = blocksOf(engine, R, C);
    const correction = form === 'correction';
    const one = G === 1;
    const shared = { dx, df, dout, x: correction ? x : null, f, gate };
    const call = {
      numbers: { R, C, G, block },
      constants: {
        correction,
        one_gate: one,
        accumulate_x: accumulateX,
        accumulate_f: accumulateF,
      },
      count: walks,
    };
    if (blocks <= 1 && !one) {
      engine.run(BACKWARD, { arrays: { ...shared, dgate, sums: null }, ...call });
      return;
    }
    using sums = engine.scratch(one ? walks : blocks * C);
    engine.run(BACKWARD, { arrays: { ...shared, dgate: null, sums }, ...call });
    if (!one) addSums(engine, { first: dgate, second: null, sums }, { C, blocks });
    else if (walks > 0) engine.run(ADD_ALL, { arrays: { dgate, sums }, numbers: { walks }, count: 1 });
  },
} satisfies Partial<GpuKernels>;
