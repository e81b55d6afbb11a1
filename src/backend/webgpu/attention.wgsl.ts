/**
 * Causal self-attention on a GPU, its scores never in memory. A thread has a query of a head, and in the backward pass
 * a key of a key head; workgroups that share memory bring the rows that their threads meet in tiles.
 */
import { backwardKeys, backwardQueries } from './attention-backward.wgsl.js';
import {
  COMMON,
  LANES,
  NUMBERS,
  numbersOf,
  queries,
  queryOf,
  type QueryWork,
} from './attention-threads.wgsl.js';
import {
  byFours,
  everyOwn,
  fitsTiles,
  headFours,
  type HeadShape,
  headShape,
  softmaxStart,
  softmaxStep,
} from './flash.wgsl.js';
import { MATH } from './math.wgsl.js';
import type { Constants } from './program.js';
import { gradientScale } from './half.wgsl.js';
import type { GpuKernels } from './kernels.js';

const forward = (shape: HeadShape, constants: Constants): string => {
  const { tiles, dropped } = constants;
  const query = queryOf(shape);
  const work: QueryWork = {
    arrays: `${MATH}
${COMMON(constants)}
${headFours('qkv', shape)}
${headFours('out', shape, true)}
fn query_of(n: u32) -> u32 { if (has_rows) { return u32(rows(n)); } return n; }`,
    step: 8,
    start: `${query.load} ${softmaxStart(shape)}`,
    meet: (keys) =>
      softmaxStep(shape, keys, query.four, dropped ? (key) => `kept4(sample, last, ${key})` : null),
    finish: `let inverse = 1.0 / total;
  ${everyOwn(shape, (c, channel) => `set_out_four(n * p.NH + h, ${channel}, acc[${c}] * inverse);`)}
  if (first == 0u) { set_lse((b * p.NH + h) * p.T + last, largest + precise_log(total)); }`,
  };
  return queries(shape, work, tiles === true);
};

const runs = (tiles: boolean, size = LANES) =>
  tiles ? ({ runs: 'groups', size } as const) : ({ runs: 'each' } as const);

const programs = [false, true].map((tiles) => ({
  forward: byFours(
    `attentionForward${tiles ? ' in tiles' : ''}`,
    (type) => ({
      arrays: { out: `update ${type}`, lse: 'update f32', qkv: type, rows: 'i32' },
      numbers: NUMBERS,
      ...runs(tiles),
    }),
    forward,
  ),
  backwardQueries: byFours(
    `attentionBackward by queries${tiles ? ' in tiles' : ''}`,
    (type) => ({
      arrays: { dqkv: `update ${type}`, delta: 'update f32', dout: type, out: type, lse: 'f32', qkv: type },
      numbers: NUMBERS,
      ...runs(tiles),
    }),
    backwardQueries,
  ),
  backwardKeys: byFours(
    `attentionBackward by keys${tiles ? ' in tiles' : ''}`,
    (type) => ({
      arrays: { dqkv: `update ${type}`, delta: 'f32', dout: type, lse: 'f32', qkv: type },
      numbers: NUMBERS,
      ...runs(tiles, 2 * LANES),
    }),
    backwardKeys,
  ),
}));

export const attention = {
  attentionForward(engine, { out, lse, qkv, rows, B, T, NH, KV, HS, dropout }) {
    const tiles = engine.teams && fitsTiles(HS);
    const { chunks } = headShape(HS, tiles);
    const N = rows?.length ?? B * T;
    engine.run(programs[Number(tiles)].forward(HS), {
      arrays: { out, lse, qkv, rows },
      numbers: { rows: N, ...numbersOf(T, NH, KV, HS, dropout) },
      constants: { HS, tiles, dropped: dropout !== null, ...engine.operands },
      count: tiles ? Math.ceil(N / LANES) * NH : N * NH * chunks,
    });
  },

  attentionBackward(engine, { dqkv, dout, out, lse, qkv, B, T, NH, KV, HS, dropout, accumulate }) {
    const tiles = engine.teams && fitsTiles(HS);
    const { chunks } = headShape(HS, tiles);
    const R = B * T;
    const { backwardQueries, backwardKeys } = programs[Number(tiles)];
    const up = gradientScale(engine.operands, R);
    const numbers = { rows: R, ...numbersOf(T, NH, KV, HS, dropout, up) };
    const constants = { HS, tiles, dropped: dropout !== null, accumulate, ...engine.operands };
    using delta = engine.scratch(R * NH);
    engine.run(backwardQueries(HS), {
      arrays: { dqkv, delta, dout, out, lse, qkv },
      numbers,
      constants,
      count: tiles ? Math.ceil(R / LANES) * NH : R * NH * chunks,
    });
    engine.run(backwardKeys(HS), {
      arrays: { dqkv, delta, dout, lse, qkv },
      numbers,
      constants,
      count: tiles ? B * Math.ceil(T / LANES) * KV : R * KV * chunks,
    });
  },
} satisfies Partial<GpuKernels>;
