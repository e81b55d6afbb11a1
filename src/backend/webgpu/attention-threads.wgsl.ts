/**
 * The threads of causal self-attention, in WGSL: which query each has, and how it comes by keys and values, reading
 * them itself or from tiles that its workgroup shares. Knows not what is done with them.
 */
import type { Dropout } from '../backend.js';
import { dropoutThreshold } from '../memory/dropout.js';
import { everyFour, FLASH, type HeadShape, type Keys } from './flash.wgsl.js';
import { rounding } from './half.wgsl.js';
import type { Constants } from './program.js';
import { RANDOM } from './random.wgsl.js';

/** Threads of a workgroup with a row each. */
export const LANES = 64;

/** Numbers of the programs here; `rows` is how many threads have one. */
export const NUMBERS = {
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
  up: 'f32',
  down: 'f32',
} as const;

/** `up` is what gradients are multiplied by. */
export function numbersOf(T: number, NH: number, KV: number, HS: number, dropout: Dropout | null, up = 1) {
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
    up,
    down: 1 / up,
  };
}

/** What all programs here begin with: heads of rows, and the factor of a weight under dropout. */
export const COMMON = (constants: Constants) => `${rounding(constants)}
${FLASH}
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

/** Tells what a thread with a query does: before it meets a key, with the keys from k on, and after the last. */
export interface QueryWork {
  readonly arrays: string;
  /** Keys that it takes at a time. */
  readonly step: number;
  readonly start: string;
  readonly meet: (keys: Keys) => string;
  readonly finish: string;
}

/** The place of a thread's query: `n` of those computed, row `own`, position `last` of sequence b, head h. */
const QUERY = `let own = query_of(n); let b = own / p.T; let last = own % p.T;
  let width = heads(); let to_value = p.KV;
  let q_head = own * width + h; let k_head = key_head(h);
  let sample = sample_of(b, h);`;

/** Each thread reads keys and values itself. */
function queriesAlone(shape: HeadShape, { arrays, step, start, meet, finish }: QueryWork): string {
  const keys: Keys = {
    at: (key) => `(own - last + ${key}) * width + k_head`,
    key: (at, c) => `rounded(qkv_four(${at}, ${c}))`,
    value: (at, c) => `rounded(qkv_four(${at} + to_value, ${c}))`,
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
var<workgroup> tile_k: array<Operands, ${fours * tileRows}>;
var<workgroup> tile_v: array<Operands, ${fours * tileRows}>;
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
        tile_k[i] = Operands(rounded(qkv_four(at, i % ${fours}u)));
        tile_v[i] = Operands(rounded(qkv_four(at + p.KV, i % ${fours}u)));
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

export const queries = (shape: HeadShape, work: QueryWork, tiles: boolean): string =>
  (tiles ? queriesInTiles : queriesAlone)(shape, work);

/** The scaled query in registers, where a thread has all its channels; else in memory. */
export function queryOf(shape: HeadShape): { readonly load: string; readonly four: (c: string) => string } {
  const read = (c: string) => `rounded(qkv_four(q_head, ${c})) * p.scale`;
  if (shape.chunks > 1) return { load: '', four: read };
  return {
    load: `var q: array<vec4f, ${shape.fours}>; ${everyFour(shape, (c) => `q[${c}] = ${read(c)};`)}`,
    four: (c) => `q[${c}]`,
  };
}
