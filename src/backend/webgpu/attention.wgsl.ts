/**
 * Causal self-attention on a GPU, its scores never in memory. A thread has a query of a head, and in the backward pass a
 * key of a key head; workgroups that share memory bring the rows that their threads meet in tiles.
 */
import type { Dropout } from '../backend.js';
import { dropoutThreshold } from '../memory/dropout.js';
import {
  everyFour,
  everyOwn,
  FLASH,
  headFours,
  type HeadShape,
  headShape,
  type Keys,
  rounding,
  softmaxStart,
  softmaxStep,
} from './flash.wgsl.js';
import type { Constants, Program } from './program.js';
import { RANDOM } from './random.wgsl.js';
import type { GpuKernels } from './kernels.js';

/** Threads of a workgroup with a row each. */
const LANES = 64;

const NUMBERS = {
  rows: 'u32',
  T: 'u32',
  NH: 'u32',
  KV: 'u32',
  scale: 'f32',
  key0: 'u32',
  key1: 'u32',
  first_sample: 'u32',
  threshold: 'u32',
  keep: 'f32',
} as const;

function numbersOf(T: number, NH: number, KV: number, HS: number, dropout: Dropout | null) {
  const { p, key, firstSample } = dropout ?? { p: 0, key: [0, 0], firstSample: 0 };
  return {
    T,
    NH,
    KV,
    scale: 1 / Math.sqrt(HS),
    key0: key[0],
    key1: key[1],
    first_sample: firstSample,
    threshold: dropoutThreshold(p),
    keep: 1 / (1 - p),
  };
}

/** What all programs here begin with: heads of rows, and the factor of a weight under dropout. */
const COMMON = `${FLASH}
${RANDOM}
fn heads() -> u32 { return p.NH + 2u * p.KV; }
fn key_head(h: u32) -> u32 { return p.NH + h / (p.NH / p.KV); }
fn sample_of(b: u32, h: u32) -> vec2u { return sample_key(p.key0, p.key1, (p.first_sample + b) * p.NH + h); }
fn kept(sample: vec2u, query: u32, key: u32) -> f32 {
  return select(0.0, p.keep, dropout_keeps(sample, query * 65536u + key, p.threshold));
}
fn kept4(sample: vec2u, query: u32, key: u32) -> vec4f {
  return vec4f(kept(sample, query, key), kept(sample, query, key + 1u),
    kept(sample, query, key + 2u), kept(sample, query, key + 3u));
}`;

type Text = (shape: HeadShape, constants: Constants) => string;

/** A program for heads that are read by fours, or one by one. */
function variants(
  name: string,
  program: (type: 'vec4f' | 'f32') => Omit<Program, 'name' | 'code'>,
  text: Text,
) {
  const make = (type: 'vec4f' | 'f32'): Program => ({
    name: `${name} ${type}`,
    ...program(type),
    code: (constants) =>
      [rounding(constants.half === true), COMMON, text(headShape(constants.HS as number), constants)].join(
        '\n',
      ),
  });
  const programs = { vec4f: make('vec4f'), f32: make('f32') };
  return (HS: number) => programs[HS % 4 === 0 ? 'vec4f' : 'f32'];
}

// ---- queries ---------------------------------------------------------------------------------------------------

/** Tells what a thread with a query does: before it meets a key, with the keys from k on, and after the last. */
interface QueryWork {
  readonly arrays: string;
  /** Keys that it takes at a time. */
  readonly step: number;
  readonly start: string;
  readonly meet: (keys: Keys) => string;
  readonly finish: string;
}

/** The place of a thread's query: `n` of those computed, row `own`, position `last` of sequence b, head h. */
const QUERY = `let own = query_of(n); let b = own / p.T; let last = own % p.T;
  let width = heads();
  let q_head = own * width + h; let k_head = key_head(h);
  let sample = sample_of(b, h);`;

/** Each thread reads keys and values itself. */
function queriesAlone(shape: HeadShape, { arrays, step, start, meet, finish }: QueryWork): string {
  const keys: Keys = {
    at: (key) => `(b * p.T + ${key}) * width + k_head`,
    key: (at, c) => `rounded(qkv_four(${at}, ${c}))`,
    value: (at, c) => `rounded(qkv_four(${at} + p.KV, ${c}))`,
  };
  return `${arrays}
fn each(i: u32) {
  let h = i % p.NH; let n = (i / p.NH) % p.rows; let first = ${shape.chunk}u * (i / (p.NH * p.rows));
  ${QUERY}
  ${start}
  for (var k = 0u; k <= last; k += ${step}u) { ${meet(keys)} }
  ${finish}
}`;
}

/** A workgroup has ${LANES} queries of a head, of one sequence or of several one after the other. */
function queriesInTiles(shape: HeadShape, { arrays, step, start, meet, finish }: QueryWork): string {
  const { fours, tileRows } = shape;
  const keys: Keys = {
    at: (key) => `(${key} - base) * ${fours}u`,
    key: (at, c) => `vec4f(tile_k[${at} + ${c}])`,
    value: (at, c) => `vec4f(tile_v[${at} + ${c}])`,
  };
  return `${arrays}
var<workgroup> tile_k: array<Operand, ${fours * tileRows}>;
var<workgroup> tile_v: array<Operand, ${fours * tileRows}>;
fn group(g: u32, lane: u32) {
  let h = g % p.NH; let first_n = ${LANES}u * (g / p.NH);
  let last_row = query_of(min(first_n + ${LANES}u, p.rows) - 1u);
  let n = min(first_n + lane, p.rows - 1u); let first = 0u;
  ${QUERY}
  ${start}
  for (var s = query_of(first_n) / p.T; s <= last_row / p.T; s++) {
    let end = select(p.T, last_row % p.T + 1u, s == last_row / p.T);
    for (var base = 0u; base < end; base += ${tileRows}u) {
      workgroupBarrier();
      for (var i = lane; i < ${fours * tileRows}u; i += ${LANES}u) {
        let at = (s * p.T + min(base + i / ${fours}u, p.T - 1u)) * width + k_head;
        tile_k[i] = Operand(qkv_four(at, i % ${fours}u));
        tile_v[i] = Operand(qkv_four(at + p.KV, i % ${fours}u));
      }
      workgroupBarrier();
      if (s == b) {
        for (var k = base; k < min(base + ${tileRows}u, last + 1u); k += ${step}u) { ${meet(keys)} }
      }
    }
  }
  if (first_n + lane < p.rows) { ${finish} }
}`;
}

const queries = (shape: HeadShape, work: QueryWork, tiles: boolean): string =>
  (tiles ? queriesInTiles : queriesAlone)(shape, work);

/** The scaled query in registers, where a thread has all its channels; else in memory. */
function queryOf(shape: HeadShape): { readonly load: string; readonly four: (c: string) => string } {
  const read = (c: string) => `rounded(qkv_four(q_head, ${c})) * p.scale`;
  if (shape.chunks > 1) return { load: '', four: read };
  return {
    load: `var q: array<vec4f, ${shape.fours}>; ${everyFour(shape, (c) => `q[${c}] = ${read(c)};`)}`,
    four: (c) => `q[${c}]`,
  };
}

const forward: Text = (shape, { tiles, dropped }) => {
  const query = queryOf(shape);
  const work: QueryWork = {
    arrays: `${headFours('qkv', shape)}
${headFours('out', shape, true)}
fn query_of(n: u32) -> u32 { if (has_rows) { return u32(rows(n)); } return n; }`,
    step: 8,
    start: `${query.load} ${softmaxStart(shape)}`,
    meet: (keys) =>
      softmaxStep(shape, keys, query.four, dropped ? (key) => `kept4(sample, last, ${key})` : null),
    finish: `let inverse = 1.0 / total;
  ${everyOwn(shape, (c, channel) => `set_out_four(n * p.NH + h, ${channel}, acc[${c}] * inverse);`)}
  if (first == 0u) { set_lse((b * p.NH + h) * p.T + last, largest + natural_log(total)); }`,
  };
  return queries(shape, work, tiles === true);
};

/** The gradient by the queries, and `delta`, Σ dout ⊙ out of each. */
const backwardQueries: Text = (shape, { tiles, dropped, accumulate }) => {
  const query = queryOf(shape);
  const [load, slope] =
    shape.chunks > 1
      ? ['', (c: string) => `rounded(dout_four(o_head, ${c}))`]
      : [
          `var slope: array<vec4f, ${shape.fours}>;
  ${everyFour(shape, (c) => `slope[${c}] = rounded(dout_four(o_head, ${c}));`)}`,
          (c: string) => `slope[${c}]`,
        ];
  const work: QueryWork = {
    arrays: `${['qkv', 'dout', 'out'].map((name) => headFours(name, shape)).join('\n')}
${headFours('dqkv', shape, true)}
fn query_of(n: u32) -> u32 { return n; }`,
    step: 1,
    start: `let o_head = own * p.NH + h;
  let place = (b * p.NH + h) * p.T + last;
  let log_sum = lse(place);
  ${query.load}
  ${load}
  var products = vec4f();
  ${everyFour(shape, (c) => `products = fma(dout_four(o_head, ${c}), out_four(o_head, ${c}), products);`)}
  let own_delta = add4(products);
  var acc: array<vec4f, ${shape.chunk}>;`,
    meet: ({ at, key, value }) => `let at0 = ${at('k')}; var d = vec4f(); var e = vec4f();
    ${everyFour(
      shape,
      (c) => `d = fma(${query.four(c)}, ${key('at0', c)}, d); e = fma(${slope(c)}, ${value('at0', c)}, e);`,
    )}
    let dp = add4(e)${dropped ? ' * kept(sample, last, k)' : ''};
    let ds = rounded(vec4f(exp1(add4(d) - log_sum) * (dp - own_delta) * p.scale));
    ${everyOwn(shape, (c, channel) => `acc[${c}] = fma(ds, ${key('at0', channel)}, acc[${c}]);`)}`,
    finish: `${everyOwn(shape, (c, channel) => add(accumulate === true, 'q_head', channel, `acc[${c}]`))}
  if (first == 0u) { set_delta(place, own_delta); }`,
  };
  return queries(shape, work, tiles === true);
};

/** Writes a four of `dqkv`, or adds to it. */
function add(accumulate: boolean, head: string, channel: string, value: string): string {
  const before = accumulate ? `dqkv_four(${head}, ${channel}) + ` : '';
  return `set_dqkv_four(${head}, ${channel}, ${before}${value});`;
}

// ---- keys ------------------------------------------------------------------------------------------------------

/**
 * The gradients by keys and by values, each by a thread of its own (`of_key` tells which): summed over the queries of a
 * head from the key's own position on, head after head of the group.
 */
const backwardKeys: Text = (shape, { tiles, dropped, accumulate }) => {
  const { fours, tileRows, chunk, chunks } = shape;
  const read = {
    key: (c: string) => `rounded(qkv_four(k_head, ${c})) * p.scale`,
    value: (c: string) => `rounded(qkv_four(k_head + p.KV, ${c}))`,
  };
  const held = chunks === 1;
  const [key, value] = held
    ? [(c: string) => `key[${c}]`, (c: string) => `value[${c}]`]
    : [read.key, read.value];
  const start = `let k_head = (b * p.T + t) * heads() + p.NH + kv;
  ${
    held
      ? `var key: array<vec4f, ${fours}>; var value: array<vec4f, ${fours}>;
  ${everyFour(shape, (c) => `key[${c}] = ${read.key(c)}; value[${c}] = ${read.value(c)};`)}`
      : ''
  }
  var acc: array<vec4f, ${chunk}>;`;
  /** Query q, whose four c of itself and of dout these give. */
  const meet = (four: (c: string) => string, slope: (c: string) => string, lse: string, delta: string) => `
    var d = vec4f();
    ${everyFour(shape, (c) => `d = fma(${key(c)}, ${four(c)}, d);`)}
    let w = exp1(add4(d) - ${lse});
    let factor = ${dropped ? 'kept(sample, q, t)' : '1.0'};
    if (of_key) {
      var e = vec4f();
      ${everyFour(shape, (c) => `e = fma(${value(c)}, ${slope(c)}, e);`)}
      let ds = rounded(vec4f(w * (add4(e) * factor - ${delta}) * p.scale));
      ${everyOwn(shape, (c, channel) => `acc[${c}] = fma(ds, ${four(channel)}, acc[${c}]);`)}
    } else {
      let dropped_w = rounded(vec4f(w * factor));
      ${everyOwn(shape, (c, channel) => `acc[${c}] = fma(dropped_w, ${slope(channel)}, acc[${c}]);`)}
    }`;
  const finish = `let head = k_head + select(p.KV, 0u, of_key);
  ${everyOwn(shape, (c, channel) => add(accumulate === true, 'head', channel, `acc[${c}]`))}`;
  const arrays = `${['qkv', 'dout'].map((name) => headFours(name, shape)).join('\n')}
${headFours('dqkv', shape, true)}`;
  if (!tiles) {
    return `${arrays}
fn each(i: u32) {
  let kv = i % p.KV; let row = (i / p.KV) % p.rows; let work = i / (p.KV * p.rows);
  let b = row / p.T; let t = row % p.T;
  let of_key = work % 2u == 0u; let first = ${chunk}u * (work / 2u);
  let group = p.NH / p.KV;
  ${start}
  for (var h = kv * group; h < (kv + 1u) * group; h++) {
    let sample = sample_of(b, h);
    for (var q = t; q < p.T; q++) {
      let at = b * p.T + q; let place = (b * p.NH + h) * p.T + q;
      let q_head = at * heads() + h; let o_head = at * p.NH + h;
      ${meet(
        (c) => `rounded(qkv_four(q_head, ${c}))`,
        (c) => `rounded(dout_four(o_head, ${c}))`,
        'lse(place)',
        'delta(place)',
      )}
    }
  }
  ${finish}
}`;
  }
  return `${arrays}
var<workgroup> tile_q: array<Operand, ${fours * tileRows}>;
var<workgroup> tile_d: array<Operand, ${fours * tileRows}>;
var<workgroup> tile_lse: array<f32, ${tileRows}>;
var<workgroup> tile_delta: array<f32, ${tileRows}>;
fn group(g: u32, lane: u32) {
  let blocks = (p.T + ${LANES - 1}u) / ${LANES}u;
  let kv = g % p.KV; let b = g / p.KV / blocks; let first_t = ${LANES}u * ((g / p.KV) % blocks);
  let t = min(first_t + lane % ${LANES}u, p.T - 1u);
  let of_key = lane < ${LANES}u; let first = 0u;
  let group = p.NH / p.KV;
  ${start}
  for (var h = kv * group; h < (kv + 1u) * group; h++) {
    let sample = sample_of(b, h);
    for (var base = first_t; base < p.T; base += ${tileRows}u) {
      workgroupBarrier();
      for (var i = lane; i < ${fours * tileRows}u; i += ${2 * LANES}u) {
        let at = b * p.T + min(base + i / ${fours}u, p.T - 1u);
        tile_q[i] = Operand(qkv_four(at * heads() + h, i % ${fours}u));
        tile_d[i] = Operand(dout_four(at * p.NH + h, i % ${fours}u));
      }
      if (lane < ${tileRows}u) {
        let place = (b * p.NH + h) * p.T + min(base + lane, p.T - 1u);
        tile_lse[lane] = lse(place);
        tile_delta[lane] = delta(place);
      }
      workgroupBarrier();
      for (var q = max(base, t); q < min(base + ${tileRows}u, p.T); q++) {
        let at = (q - base) * ${fours}u;
        ${meet(
          (c) => `vec4f(tile_q[at + ${c}])`,
          (c) => `vec4f(tile_d[at + ${c}])`,
          'tile_lse[q - base]',
          'tile_delta[q - base]',
        )}
      }
    }
  }
  if (first_t + lane % ${LANES}u < p.T) { ${finish} }
}`;
};

// ---- kernels ---------------------------------------------------------------------------------------------------

const runs = (tiles: boolean, size = LANES) =>
  tiles ? ({ runs: 'groups', size } as const) : ({ runs: 'each' } as const);

const programs = [false, true].map((tiles) => ({
  forward: variants(
    `attentionForward${tiles ? ' in tiles' : ''}`,
    (type) => ({
      arrays: { out: `update ${type}`, lse: 'update f32', qkv: type, rows: 'i32' },
      numbers: NUMBERS,
      ...runs(tiles),
    }),
    forward,
  ),
  backwardQueries: variants(
    `attentionBackward by queries${tiles ? ' in tiles' : ''}`,
    (type) => ({
      arrays: { dqkv: `update ${type}`, delta: 'update f32', dout: type, out: type, lse: 'f32', qkv: type },
      numbers: NUMBERS,
      ...runs(tiles),
    }),
    backwardQueries,
  ),
  backwardKeys: variants(
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
    const shape = headShape(HS);
    const tiles = engine.teams && shape.tiled;
    const N = rows?.length ?? B * T;
    engine.run(programs[Number(tiles)].forward(HS), {
      arrays: { out, lse, qkv, rows },
      numbers: { rows: N, ...numbersOf(T, NH, KV, HS, dropout) },
      constants: { HS, tiles, dropped: dropout !== null, half: engine.half },
      count: tiles ? Math.ceil(N / LANES) * NH : N * NH * shape.chunks,
    });
  },

  attentionBackward(engine, { dqkv, dout, out, lse, qkv, B, T, NH, KV, HS, dropout, accumulate }) {
    const shape = headShape(HS);
    const tiles = engine.teams && shape.tiled;
    const R = B * T;
    const { backwardQueries, backwardKeys } = programs[Number(tiles)];
    const numbers = { rows: R, ...numbersOf(T, NH, KV, HS, dropout) };
    const constants = { HS, tiles, dropped: dropout !== null, accumulate, half: engine.half };
    using delta = engine.scratch(R * NH);
    engine.run(backwardQueries(HS), {
      arrays: { dqkv, delta, dout, out, lse, qkv },
      numbers,
      constants,
      count: tiles ? Math.ceil(R / LANES) * NH : R * NH * shape.chunks,
    });
    engine.run(backwardKeys(HS), {
      arrays: { dqkv, delta, dout, lse, qkv },
      numbers,
      constants,
      count: tiles ? B * Math.ceil(T / LANES) * KV : 2 * R * KV * shape.chunks,
    });
  },
} satisfies Partial<GpuKernels>;
