/**
 * Attention over the key/value cache on a GPU: one dispatch appends the keys and values of all rows, one attends. A row
 * has the bits that attention over whole sequences gives it. Where workgroups share memory, one has a row and a head: a
 * lane has a key while scores are made and a channel while values are summed.
 */
import { PAGE_POSITIONS } from '../backend.js';
import {
  byFours,
  everyFour,
  everyOwn,
  FLASH,
  headFours,
  type HeadShape,
  headShape,
  softmaxStart,
  softmaxStep,
} from './flash.wgsl.js';
import { rounding } from './half.wgsl.js';
import type { GpuKernels } from './kernels.js';
import type { Constants } from './program.js';

/**
 * Elements of a page: for each key head, the keys of PAGE_POSITIONS positions (PAGE_POSITIONS, HS), then their values.
 */
export function cachePageLength(KV: number, HS: number): number {
  return 2 * KV * PAGE_POSITIONS * HS;
}

/** Lanes of a workgroup with a row, and the fours up to which its query fits into their memory. */
const [LANES, TEAM_FOURS] = [64, 256];

const NUMBERS = { rows: 'u32', NH: 'u32', KV: 'u32', S: 'u32', width: 'u32', scale: 'f32' } as const;

/**
 * `place_of(r)`: the sequence of row r and the row's position in it; `key_at(s, kv, t)`: the place of the key of
 * position t in the cache, counted in heads, after which its value lies PAGE_POSITIONS further on.
 */
const PLACES = `
fn place_of(r: u32) -> vec2u {
  var s = 0u;
  var first = 0u;
  while (s + 1u < p.S && r >= first + u32(table(s * p.width))) {
    first += u32(table(s * p.width));
    s++;
  }
  return vec2u(s, u32(table(s * p.width + 1u)) + r - first);
}
fn key_at(s: u32, kv: u32, t: u32) -> u32 {
  let page = u32(table(s * p.width + 2u + t / ${PAGE_POSITIONS}u));
  return (page * p.KV + kv) * ${2 * PAGE_POSITIONS}u + t % ${PAGE_POSITIONS}u;
}`;

/** A thread has four channels of a key or a value. */
const append = byFours(
  'cachedAttention, appending',
  (type) => ({
    arrays: { cache: `update ${type}`, qkv: type, table: 'i32' },
    numbers: NUMBERS,
    runs: 'each',
  }),
  (shape) => `${PLACES}
${headFours('qkv', shape)}
${headFours('cache', shape, true)}
fn each(i: u32) {
  let c = i % ${shape.fours}u;
  let head = (i / ${shape.fours}u) % (2u * p.KV);
  let r = i / ${shape.fours}u / (2u * p.KV);
  let place = place_of(r);
  let at = key_at(place.x, head % p.KV, place.y) + select(0u, ${PAGE_POSITIONS}u, head >= p.KV);
  set_cache_four(at, c, qkv_four(r * (p.NH + 2u * p.KV) + p.NH + head, c));
}`,
);

/** What both ways of attending begin with. */
const beginning = (shape: HeadShape, constants: Constants): string => `${PLACES}
${rounding(constants)}
${FLASH}
${['qkv', 'cache'].map((name) => headFours(name, shape)).join('\n')}
fn query_of(n: u32) -> u32 { if (has_rows) { return u32(rows(n)); } return n; }
fn query_four(r: u32, h: u32, c: u32) -> vec4f {
  return rounded(qkv_four(r * (p.NH + 2u * p.KV) + h, c)) * p.scale;
}`;

const arraysOf = (type: 'vec4f' | 'f32') => ({ cache: type, qkv: type, table: 'i32', rows: 'i32' }) as const;

const attendAlone = byFours(
  'cachedAttention',
  (type) => ({ arrays: { out: `update ${type}`, ...arraysOf(type) }, numbers: NUMBERS, runs: 'each' }),
  (shape, constants) => {
    const held = shape.chunks === 1;
    const query = (c: string) => (held ? `q[${c}]` : `query_four(r, h, ${c})`);
    const keys = {
      at: (key: string) => `key_at(place.x, kv, ${key})`,
      key: (at: string, c: string) => `rounded(cache_four(${at}, ${c}))`,
      value: (at: string, c: string) => `rounded(cache_four(${at} + ${PAGE_POSITIONS}u, ${c}))`,
    };
    return `${beginning(shape, constants)}
${headFours('out', shape, true)}
fn each(i: u32) {
  let h = i % p.NH; let n = (i / p.NH) % p.rows; let first = ${shape.chunk}u * (i / (p.NH * p.rows));
  let r = query_of(n); let place = place_of(r); let last = place.y;
  let kv = h / (p.NH / p.KV);
  ${
    held
      ? `var q: array<vec4f, ${shape.fours}>; ${everyFour(shape, (c) => `q[${c}] = query_four(r, h, ${c});`)}`
      : ''
  }
  ${softmaxStart(shape)}
  for (var k = 0u; k <= last; k += 8u) { ${softmaxStep(shape, keys, query, null)} }
  let inverse = 1.0 / total;
  ${everyOwn(shape, (c, channel) => `set_out_four(n * p.NH + h, ${channel}, acc[${c}] * inverse);`)}
}`;
  },
);

/** The same sums in the same order as `softmaxStep`, by lanes. */
const attendInTeams = byFours(
  'cachedAttention in teams',
  (type) => ({
    arrays: { out: 'update f32', ...arraysOf(type) },
    numbers: NUMBERS,
    runs: 'groups',
    size: LANES,
  }),
  (shape, constants) => {
    const { HS, whole, fours } = shape;
    const own = Math.ceil(HS / LANES);
    const eight = [0, 1, 2, 3, 4, 5, 6, 7];
    const weight = (k: number) => `rounded(w${k >> 2})[${k % 4}]`;
    return `${beginning(shape, constants)}
var<workgroup> q: array<vec4f, ${fours}>;
var<workgroup> scores: array<f32, ${LANES}>;
var<workgroup> weights: array<f32, ${LANES}>;
var<workgroup> places: array<u32, ${LANES}>;
var<workgroup> fades: array<f32, ${LANES / 8}>;
fn value(at: u32, c: u32) -> f32 {
  let i = (at + ${PAGE_POSITIONS}u) * ${HS}u + c;
  return rounded(vec4f(${whole ? 'cache(i / 4u)[i % 4u]' : 'cache(i)'})).x;
}
fn group(g: u32, lane: u32) {
  let h = g % p.NH; let n = g / p.NH;
  let r = query_of(n); let place = place_of(r); let last = place.y;
  let kv = h / (p.NH / p.KV);
  for (var c = lane; c < ${fours}u; c += ${LANES}u) { q[c] = query_four(r, h, c); }
  var acc: array<f32, ${own}>;
  var total = 0.0;
  var largest = MASKED;
  for (var base = 0u; base <= last; base += ${LANES}u) {
    workgroupBarrier();
    let at = key_at(place.x, kv, min(base + lane, last));
    var d = vec4f();
    ${everyFour(shape, (c) => `d = fma(q[${c}], rounded(cache_four(at, ${c})), d);`)}
    scores[lane] = select(MASKED, add4(d), base + lane <= last);
    places[lane] = at;
    workgroupBarrier();
    var before = largest;
    for (var j = 0u; j < lane - lane % 8u; j++) { before = max(before, scores[j]); }
    var next = before;
    for (var j = lane - lane % 8u; j < ${LANES}u; j++) {
      largest = max(largest, scores[j]);
      if (j / 8u == lane / 8u) { next = max(next, scores[j]); }
    }
    largest = max(largest, before);
    weights[lane] = exp1(scores[lane] - next);
    if (lane % 8u == 0u) { fades[lane / 8u] = exp1(before - next); }
    workgroupBarrier();
    for (var j = 0u; j < ${LANES}u && base + j <= last; j += 8u) {
      let fade = fades[j / 8u];
      let w0 = vec4f(weights[j], weights[j + 1u], weights[j + 2u], weights[j + 3u]);
      let w1 = vec4f(weights[j + 4u], weights[j + 5u], weights[j + 6u], weights[j + 7u]);
      total = fma(total, fade, add4(w0) + add4(w1));
      for (var i = 0u; i < ${own}u; i++) {
        let c = lane + i * ${LANES}u;
        if (c < ${HS}u) {
          var x = acc[i] * fade;
          ${eight.map((k) => `x = fma(${weight(k)}, value(places[j + ${k}u], c), x);`).join('\n          ')}
          acc[i] = x;
        }
      }
    }
  }
  let inverse = 1.0 / total;
  for (var i = 0u; i < ${own}u; i++) {
    let c = lane + i * ${LANES}u;
    if (c < ${HS}u) { set_out((n * p.NH + h) * ${HS}u + c, acc[i] * inverse); }
  }
}`;
  },
);

export const cache = {
  cachedAttention(engine, { out, cache, qkv, table, rows, R, NH, KV, HS, S, width }) {
    const shape = headShape(HS, false);
    const teams = engine.teams && shape.fours <= TEAM_FOURS;
    const N = rows?.length ?? R;
    const numbers = { rows: N, NH, KV, S, width, scale: 1 / Math.sqrt(HS) };
    const constants = { HS, ...engine.operands };
    engine.run(append(HS), {
      arrays: { cache, qkv, table },
      numbers,
      constants,
      count: R * 2 * KV * shape.fours,
    });
    engine.run((teams ? attendInTeams : attendAlone)(HS), {
      arrays: { out, cache, qkv, table, rows },
      numbers,
      constants,
      count: teams ? N * NH : N * NH * shape.chunks,
    });
  },
} satisfies Partial<GpuKernels>;
