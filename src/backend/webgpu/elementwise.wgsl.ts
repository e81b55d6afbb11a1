/** Kernels on a GPU that treat every element alike. */
import { dropoutThreshold } from '../memory/dropout.js';
import type { GpuKernels } from './kernels.js';
import type { Program } from './program.js';
import { RANDOM } from './random.wgsl.js';

const fill = (type: 'f32' | 'i32'): Program => ({
  name: `fill_${type}`,
  arrays: { dst: `update ${type}` },
  numbers: { value: 'f32' },
  runs: 'each',
  code: `fn each(i: u32) { set_dst(i, ${type}(p.value)); }`,
});
export const FILL = { f32: fill('f32'), i32: fill('i32') };

const ADD: Program = {
  name: 'add',
  arrays: { out: 'update f32', a: 'f32', b: 'f32' },
  runs: 'each',
  code: 'fn each(i: u32) { set_out(i, a(i) + b(i)); }',
};

const ACCUMULATE: Program = {
  name: 'accumulate',
  arrays: { out: 'update f32', inp: 'f32' },
  runs: 'each',
  code: 'fn each(i: u32) { set_out(i, out(i) + inp(i)); }',
};

const DROPOUT: Program = {
  name: 'dropout',
  arrays: { out: 'update f32', inp: 'f32' },
  numbers: { C: 'u32', T: 'u32', key0: 'u32', key1: 'u32', first: 'u32', threshold: 'u32', scale: 'f32' },
  runs: 'each',
  code: `${RANDOM}
fn each(i: u32) {
  let sample = p.first + i / (p.T * p.C);
  let kept = dropout_keeps(sample_key(p.key0, p.key1, sample), i % (p.T * p.C), p.threshold);
  let x = select(0.0, inp(i) * p.scale, kept);
  if (accumulate) { set_out(i, out(i) + x); } else { set_out(i, x); }
}`,
};

export const elementwise = {
  add: (engine, { out, a, b }) => engine.run(ADD, { arrays: { out, a, b }, count: out.length }),

  accumulate: (engine, { out, inp }) => engine.run(ACCUMULATE, { arrays: { out, inp }, count: out.length }),

  dropout(engine, { out, inp, R, C, T, dropout: { p, key, firstSample }, accumulate }) {
    engine.run(DROPOUT, {
      arrays: { out, inp },
      numbers: {
        C,
        T,
        key0: key[0],
        key1: key[1],
        first: firstSample,
        threshold: dropoutThreshold(p),
        scale: 1 / (1 - p),
      },
      constants: { accumulate },
      count: R * C,
    });
  },
} satisfies Partial<GpuKernels>;
