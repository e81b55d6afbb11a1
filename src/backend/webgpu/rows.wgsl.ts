/** Kernels on a GPU that treat whole rows alike: choose, scale, gather and scatter them, and copy columns. */
import type { Program } from './program.js';
import type { GpuKernels } from './kernels.js';

const SELECT: Program = {
  name: 'selectRows',
  arrays: { out: 'update f32', mask: 'i32', a: 'f32', b: 'f32' },
  numbers: { C: 'u32' },
  runs: 'each',
  code: `fn each(i: u32) {
  var y = 0.0;
  if (mask(i / p.C) != 0) { y = a(i); } else { y = b(i); }
  if (accumulate) { y += out(i); }
  set_out(i, y);
}`,
};

const SCALE_FORWARD: Program = {
  name: 'scaleRowsForward',
  arrays: { out: 'update f32', inp: 'f32', scale: 'f32' },
  numbers: { C: 'u32' },
  runs: 'each',
  code: `fn each(i: u32) {
  var y = scale(i / p.C) * inp(i);
  if (accumulate) { y += out(i); }
  set_out(i, y);
}`,
};

const SCALE_BACKWARD: Program = {
  name: 'scaleRowsBackward',
  arrays: { dinp: 'update f32', dscale: 'update f32', dout: 'f32', inp: 'f32', scale: 'f32' },
  numbers: { C: 'u32' },
  runs: 'rows',
  code: `fn row(r: u32, lane: u32) {
  let factor = scale(r);
  var dot = 0.0;
  for (var c = lane; c < p.C; c += L) {
    let i = r * p.C + c;
    let d = dout(i);
    if (has_dscale) { dot += d * inp(i); }
    if (has_dinp) {
      var y = factor * d;
      if (accumulate) { y += dinp(i); }
      set_dinp(i, y);
    }
  }
  if (has_dscale) {
    let total = team_sum(dot, lane);
    if (lane == 0u) { set_dscale(r, dscale(r) + total); }
  }
}`,
};

const COPY_COLUMNS: Program = {
  name: 'copyColumns',
  arrays: { out: 'update f32', inp: 'f32' },
  numbers: { C: 'u32', first: 'u32', width: 'u32' },
  runs: 'each',
  code: `fn each(k: u32) {
  let i = k / p.width * p.C + p.first + k % p.width;
  var y = inp(i);
  if (accumulate) { y += out(i); }
  set_out(i, y);
}`,
};

const GATHER: Program = {
  name: 'gatherRows',
  arrays: { out: 'update f32', inp: 'f32', index: 'i32' },
  numbers: { C: 'u32' },
  runs: 'each',
  code: 'fn each(i: u32) { set_out(i, inp(u32(index(i / p.C)) * p.C + i % p.C)); }',
};

const SCATTER: Program = {
  name: 'scatterRows',
  arrays: { out: 'update f32', inp: 'f32', index: 'i32' },
  numbers: { C: 'u32' },
  runs: 'each',
  code: 'fn each(i: u32) { set_out(u32(index(i / p.C)) * p.C + i % p.C, inp(i)); }',
};

export const rows = {
  selectRows: (engine, { out, mask, a, b, R, C, accumulate }) =>
    engine.run(SELECT, {
      arrays: { out, mask, a, b },
      numbers: { C },
      constants: { accumulate },
      count: R * C,
    }),

  scaleRowsForward: (engine, { out, inp, scale, R, C, accumulate }) =>
    engine.run(SCALE_FORWARD, {
      arrays: { out, inp, scale },
      numbers: { C },
      constants: { accumulate },
      count: R * C,
    }),

  scaleRowsBackward: (engine, { dinp, dscale, dout, inp, scale, R, C, accumulate }) =>
    engine.run(SCALE_BACKWARD, {
      arrays: {
        dinp,
        dscale,
        dout,
        // Each is read for one of the two alone.
        inp: dscale && inp,
        scale: dinp && scale,
      },
      numbers: { C },
      constants: { accumulate },
      count: R,
    }),

  copyColumns: (engine, { out, inp, R, C, first, count, accumulate }) =>
    engine.run(COPY_COLUMNS, {
      arrays: { out, inp },
      numbers: { C, first, width: count },
      constants: { accumulate },
      count: R * count,
    }),

  gatherRows: (engine, { out, inp, index, C }) =>
    engine.run(GATHER, { arrays: { out, inp, index }, numbers: { C }, count: index.length * C }),

  scatterRows: (engine, { out, inp, index, C }) =>
    engine.run(SCATTER, { arrays: { out, inp, index }, numbers: { C }, count: index.length * C }),
} satisfies Partial<GpuKernels>;
