/** Causal self-attention of the reference backend, one query at a time. */
import { ShapeError } from '../errors.js';
import {
  type AttentionDims,
  type CachedAttentionDims,
  type Dropout,
  PAGE_POSITIONS,
  type Storage,
} from './backend.js';
import { dropoutKeep, dropoutThreshold, sampleKey } from './host.js';
import { ascending, dot, floats, integers } from './reference-arguments.js';

/** See Backend.attentionForward. */
export function attentionForward(
  out: Storage,
  lse: Storage,
  qkv: Storage,
  { B, T, NH, HS }: AttentionDims,
  dropout: Dropout | null,
  rows: Storage | null,
): void {
  const C = NH * HS;
  // Where each query's row of `out` lies: its own place, or its place in the list.
  const places =
    rows && new Map(Array.from(ascending('attentionForward', 'rows', rows, B * T), (r, i) => [r, i]));
  const y = floats('attentionForward', 'out', out, (places?.size ?? B * T) * C);
  const lses = floats('attentionForward', 'lse', lse, B * NH * T);
  const x = floats('attentionForward', 'qkv', qkv, B * T * 3 * C);
  const weights = new Float64Array(T);
  const row = new Float64Array(HS);
  for (let bh = 0; bh < B * NH; bh++) {
    const base = Math.floor(bh / NH) * T * 3 * C + (bh % NH) * HS;
    const keep = attentionMask(dropout, bh, NH);
    for (let q = 0; q < T; q++) {
      const own = Math.floor(bh / NH) * T + q;
      const place = places ? places.get(own) : own;
      if (place === undefined) continue;
      let max = Number.NEGATIVE_INFINITY;
      for (let k = 0; k <= q; k++) {
        weights[k] = dot(x, base + q * 3 * C, x, base + k * 3 * C + C, HS) / Math.sqrt(HS);
        max = Math.max(max, weights[k]);
      }
      let sum = 0;
      for (let k = 0; k <= q; k++) sum += Math.exp(weights[k] - max);
      const logSumExp = max + Math.log(sum);
      lses[bh * T + q] = logSumExp;
      row.fill(0);
      for (let k = 0; k <= q; k++) {
        const p = Math.exp(weights[k] - logSumExp) * keep(q, k);
        const v = base + k * 3 * C + 2 * C;
        for (let i = 0; i < HS; i++) row[i] += p * x[v + i];
      }
      y.set(row, place * C + (bh % NH) * HS);
    }
  }
}

/** Elements of a page: for each head, the keys of PAGE_POSITIONS positions (PAGE_POSITIONS, HS), then their values. */
export function cachePageLength(NH: number, HS: number): number {
  return 2 * NH * PAGE_POSITIONS * HS;
}

/** See Backend.cachedAttention. */
export function cachedAttention(
  out: Storage,
  cache: Storage,
  qkv: Storage,
  table: Storage,
  { R, NH, HS, S, width }: CachedAttentionDims,
  rows: Storage | null,
): void {
  const where = 'cachedAttention';
  const C = NH * HS;
  const listed = rows ? Array.from(ascending(where, 'rows', rows, R)) : null;
  const places = listed && new Map(listed.map((r, i) => [r, i]));
  const y = floats(where, 'out', out, (listed?.length ?? R) * C);
  const pages = floats(where, 'cache', cache);
  const x = floats(where, 'qkv', qkv, R * 3 * C);
  const pageLength = cachePageLength(NH, HS);
  const entries = cacheTable(table, { R, S, width }, pages.length / pageLength);
  let first = 0;
  for (const { count, past, own } of entries) {
    const at = (h: number, position: number) =>
      own[Math.floor(position / PAGE_POSITIONS)] * pageLength +
      (2 * h * PAGE_POSITIONS + (position % PAGE_POSITIONS)) * HS;
    const valuesAfterKeys = PAGE_POSITIONS * HS;
    const weights = new Float64Array(past + count);
    const sums = new Float64Array(HS);
    for (let h = 0; h < NH; h++) {
      for (let i = 0; i < count; i++) {
        const q = (first + i) * 3 * C + h * HS;
        const end = past + i;
        pages.set(x.subarray(q + C, q + C + HS), at(h, end));
        pages.set(x.subarray(q + 2 * C, q + 2 * C + HS), at(h, end) + valuesAfterKeys);
        const place = places ? places.get(first + i) : first + i;
        if (place === undefined) continue;
        let max = Number.NEGATIVE_INFINITY;
        for (let k = 0; k <= end; k++) {
          weights[k] = dot(x, q, pages, at(h, k), HS) / Math.sqrt(HS);
          max = Math.max(max, weights[k]);
        }
        let sum = 0;
        for (let k = 0; k <= end; k++) sum += Math.exp(weights[k] - max);
        const logSumExp = max + Math.log(sum);
        sums.fill(0);
        for (let k = 0; k <= end; k++) {
          const p = Math.exp(weights[k] - logSumExp);
          const v = at(h, k) + valuesAfterKeys;
          for (let c = 0; c < HS; c++) sums[c] += p * pages[v + c];
        }
        y.set(sums, place * C + h * HS);
      }
    }
    first += count;
  }
}

/** The sequences of a table, checked against the rows and the pages that there are. */
function cacheTable(
  table: Storage,
  { R, S, width }: { R: number; S: number; width: number },
  pages: number,
): { count: number; past: number; own: Int32Array }[] {
  const where = 'cachedAttention';
  const values = integers(where, 'table', table, S * width);
  const entries = Array.from({ length: S }, (_, s) => {
    const [count, past] = values.subarray(s * width);
    const used = Math.ceil((count + past) / PAGE_POSITIONS);
    if (count < 0 || past < 0 || used > width - 2) {
      const rule = "argument 'table' must give each sequence whole numbers of positions, and pages for them";
      throw new ShapeError(where, rule, s);
    }
    const own = values.subarray(s * width + 2, s * width + 2 + used);
    for (const page of own) {
      if (page >= 0 && page < pages) continue;
      throw new ShapeError(where, `argument 'table' must hold ids from 0 to ${pages - 1}`, page);
    }
    return { count, past, own };
  });
  const rows = entries.reduce((sum, { count }) => sum + count, 0);
  if (rows === R) return entries;
  throw new ShapeError(where, `argument 'table' must give the sequences ${R} rows in all`, rows);
}

/** See Backend.attentionBackward. */
export function attentionBackward(
  dqkv: Storage,
  dout: Storage,
  out: Storage,
  lse: Storage,
  qkv: Storage,
  { B, T, NH, HS }: AttentionDims,
  dropout: Dropout | null,
  accumulate: boolean,
): void {
  const where = 'attentionBackward';
  const C = NH * HS;
  const dx = floats(where, 'dqkv', dqkv, B * T * 3 * C);
  const dy = floats(where, 'dout', dout, B * T * C);
  const y = floats(where, 'out', out, B * T * C);
  const lses = floats(where, 'lse', lse, B * NH * T);
  const x = floats(where, 'qkv', qkv, B * T * 3 * C);
  const scale = 1 / Math.sqrt(HS);
  const sums = new Float64Array(3 * T * HS); // dq, dk, dv of one head
  for (let bh = 0; bh < B * NH; bh++) {
    const b = Math.floor(bh / NH);
    const h = bh % NH;
    const base = b * T * 3 * C + h * HS;
    const keep = attentionMask(dropout, bh, NH);
    sums.fill(0);
    for (let q = 0; q < T; q++) {
      const o = (b * T + q) * C + h * HS;
      const delta = dot(dy, o, y, o, HS);
      const qAt = base + q * 3 * C;
      for (let k = 0; k <= q; k++) {
        const kAt = base + k * 3 * C + C;
        const vAt = kAt + C;
        const p = Math.exp(dot(x, qAt, x, kAt, HS) * scale - lses[bh * T + q]);
        const kept = keep(q, k);
        const ds = p * (dot(dy, o, x, vAt, HS) * kept - delta) * scale;
        for (let i = 0; i < HS; i++) {
          sums[q * HS + i] += ds * x[kAt + i];
          sums[(T + k) * HS + i] += ds * x[qAt + i];
          sums[(2 * T + k) * HS + i] += p * kept * dy[o + i];
        }
      }
    }
    for (let part = 0; part < 3; part++) {
      for (let t = 0; t < T; t++) {
        for (let i = 0; i < HS; i++) {
          const at = base + t * 3 * C + part * C + i;
          dx[at] = (accumulate ? dx[at] : 0) + sums[(part * T + t) * HS + i];
        }
      }
    }
  }
}

/** The factor of an attention weight: 0 where it is dropped, 1/(1 − p) where it is kept, 1 without dropout. */
function attentionMask(dropout: Dropout | null, bh: number, NH: number): (q: number, k: number) => number {
  if (!dropout) return () => 1;
  const key = sampleKey(dropout.key, (dropout.firstSample * NH + bh) >>> 0);
  const threshold = dropoutThreshold(dropout.p);
  const scale = 1 / (1 - dropout.p);
  return (q, k) => (dropoutKeep(key, (Math.imul(q, 65536) + k) >>> 0, threshold) ? scale : 0);
}
