/** Attention over the key/value cache: the bits of attention over whole sequences, however the rows come. */
import { test } from 'node:test';
import { type Backend, PAGE_POSITIONS } from '../../src/backend/backend.js';
import {
  assertClose,
  assertSameBits,
  native,
  onEveryIsa,
  reference,
  rowsOf,
  upload,
  values,
} from './helpers.js';

/** NH, KV, HS, and the lengths of sequences. */
const SHAPES: [number, number, number, number[]][] = [
  [2, 2, 8, [1, 9, 140]],
  [4, 2, 5, [70, 3]],
  [3, 1, 64, [131, 64, 65]],
  [1, 1, 20, [300]],
];

/** Rows of queries, keys and values for a sequence. */
const sequence = (s: number, length: number, width: number) => values(30 + s, length * width, 2);

/** What a sequence's queries become without a cache (T, NH·HS). */
async function whole(backend: Backend, qkv: Float32Array, NH: number, KV: number, HS: number) {
  const T = qkv.length / ((NH + 2 * KV) * HS);
  const out = backend.allocate('f32', T * NH * HS);
  const lse = backend.allocate('f32', NH * T);
  const [given, rows, dropout] = [upload(backend, qkv), null, null];
  backend.attentionForward({ out, lse, qkv: given, rows, B: 1, T, NH, KV, HS, dropout });
  return backend.read(out);
}

/**
 * What they become in calls that each give every sequence a number of its rows, `cut` at most, until all have been
 * given; all but every third row of the last call are left out of it where `few` is true.
 */
async function inCalls(
  backend: Backend,
  [NH, KV, HS, lengths]: (typeof SHAPES)[number],
  cut: (s: number) => number,
  few: boolean,
) {
  const [width, C] = [(NH + 2 * KV) * HS, NH * HS];
  const all = lengths.map((length, s) => sequence(s, length, width));
  const pages = lengths.map((length) => Math.ceil(length / PAGE_POSITIONS));
  const most = Math.max(...pages);
  const cache = backend.allocate('f32', lengths.length * most * backend.cachePageLength(KV, HS));
  backend.fill(cache, Number.NaN); // what pages hold beyond a sequence's end counts for nothing
  const found = lengths.map((length) => new Float32Array(length * C));
  const past = lengths.map(() => 0);
  while (past.some((at, s) => at < lengths[s])) {
    const counts = lengths.map((length, s) => Math.min(cut(s), length - past[s]));
    // Pages of a sequence lie apart, the later ones first.
    const own = (s: number) => Array.from({ length: most }, (_, i) => (most - 1 - i) * lengths.length + s);
    const table = Int32Array.from(counts.flatMap((count, s) => [count, past[s], ...own(s)]));
    const qkv = all.flatMap((x, s) => Array.from(rowsOf(x, width, past[s], counts[s])));
    const R = qkv.length / width;
    const listed = Int32Array.from({ length: R }, (_, r) => r).filter((r) => !few || r % 3 === 0);
    const out = backend.allocate('f32', listed.length * C);
    backend.cachedAttention({
      ...{ out, cache, qkv: upload(backend, Float32Array.from(qkv)), table: upload(backend, table) },
      ...{ rows: few ? upload(backend, listed) : null, R, NH, KV, HS, S: lengths.length, width: 2 + most },
    });
    const got = await backend.read(out);
    let first = 0;
    for (const [s, count] of counts.entries()) {
      for (let i = 0; i < count; i++) {
        const n = listed.indexOf(first + i);
        if (n >= 0) found[s].set(rowsOf(got as Float32Array, C, n), (past[s] + i) * C);
        else found[s].fill(Number.NaN, (past[s] + i) * C, (past[s] + i + 1) * C);
      }
      first += count;
      past[s] += count;
    }
  }
  return found;
}

const CUTS: [string, (s: number) => number, boolean][] = [
  ['all at once', () => 1000, false],
  ['in pieces', (s) => 37 + 20 * s, false],
  ['in pieces, some rows', (s) => 50 + s, true],
];

test('attention over the cache has the bits of attention over sequences, in any pieces and batch', async () => {
  for (const shape of SHAPES) {
    const [NH, KV, HS, lengths] = shape;
    const width = (NH + 2 * KV) * HS;
    await onEveryIsa(async (isa) => {
      for (const [s, length] of lengths.entries()) {
        const qkv = sequence(s, length, width);
        const expected = await whole(native, qkv, NH, KV, HS);
        const where = `NH${NH} KV${KV} HS${HS} of ${length} on ${isa}`;
        assertClose(expected, await whole(reference, qkv, NH, KV, HS), 1e-5, where);
        for (const [how, cut, few] of CUTS) {
          const found = (await inCalls(native, shape, cut, few))[s];
          const asked = expected.map((x, i) => (Number.isNaN(found[i]) ? Number.NaN : x));
          assertSameBits(found, asked, `${where}, ${how}`);
        }
      }
    });
  }
});

test('a row of the cache has the same bits alone', async () => {
  for (const shape of SHAPES.slice(0, 2)) {
    const [NH, KV, HS, lengths] = shape;
    const together = await inCalls(native, shape, () => 1000, false);
    const last = await inCalls(native, shape, (s) => (lengths[s] > 20 ? 19 : 1), false);
    for (const s of lengths.keys()) assertSameBits(last[s], together[s], `NH${NH} KV${KV} HS${HS} ${s}`);
  }
});
