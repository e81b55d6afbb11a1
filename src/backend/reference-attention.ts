/** Causal self-attention of the reference backend, one query at a time. */
import type { AttentionDims, Dropout, Storage } from './backend.js';
import { dropoutKeep, dropoutThreshold, sampleKey } from './host.js';
import { ascending, dot, floats } from './reference-arguments.js';

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
