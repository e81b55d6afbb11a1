/** Causal self-attention of the reference backend, one query at a time. */
import type { KERNELS } from '../kernel-table.js';
import type { HostKernels } from '../memory/arguments.js';
import { dropoutKeep, dropoutThreshold, sampleKey } from '../memory/dropout.js';
import type { Dropout } from '../options.js';
import { dot } from './dot.js';

export const attention = {
  attentionForward({ out, lse, qkv, rows, B, T, NH, KV, HS, dropout }) {
    const C = NH * HS;
    const width = (NH + 2 * KV) * HS;
    const places = rows && placesOf(rows);
    const weights = new Float64Array(T);
    const row = new Float64Array(HS);
    for (let bh = 0; bh < B * NH; bh++) {
      const { qAt, kAt, vAt } = placesOfHead(bh, T, NH, KV, HS);
      const keep = attentionMask(dropout, bh, NH);
      for (let q = 0; q < T; q++) {
        const own = Math.floor(bh / NH) * T + q;
        const place = places ? places.get(own) : own;
        if (place === undefined) continue;
        let max = Number.NEGATIVE_INFINITY;
        for (let k = 0; k <= q; k++) {
          weights[k] = dot(qkv, qAt + q * width, qkv, kAt + k * width, HS) / Math.sqrt(HS);
          max = Math.max(max, weights[k]);
        }
        let sum = 0;
        for (let k = 0; k <= q; k++) sum += Math.exp(weights[k] - max);
        const logSumExp = max + Math.log(sum);
        lse[bh * T + q] = logSumExp;
        row.fill(0);
        for (let k = 0; k <= q; k++) {
          const p = Math.exp(weights[k] - logSumExp) * keep(q, k);
          const v = vAt + k * width;
          for (let i = 0; i < HS; i++) row[i] += p * qkv[v + i];
        }
        out.set(row, place * C + (bh % NH) * HS);
      }
    }
  },

  // In the forward pass this was out = Σ_k p·keep·v, with p = exp(q·k/√HS − lse); native/attention.cc derives the rest.
  attentionBackward({ dqkv, dout, out, lse, qkv, B, T, NH, KV, HS, dropout, accumulate }) {
    const C = NH * HS;
    const width = (NH + 2 * KV) * HS;
    const scale = 1 / Math.sqrt(HS);
    const sums = new Float64Array(3 * T * HS); // dq, dk, dv of one head
    for (let bh = 0; bh < B * NH; bh++) {
      const b = Math.floor(bh / NH);
      const h = bh % NH;
      const places = placesOfHead(bh, T, NH, KV, HS);
      const keep = attentionMask(dropout, bh, NH);
      sums.fill(0);
      for (let q = 0; q < T; q++) {
        const o = (b * T + q) * C + h * HS;
        const delta = dot(dout, o, out, o, HS);
        const qAt = places.qAt + q * width;
        for (let k = 0; k <= q; k++) {
          const kAt = places.kAt + k * width;
          const vAt = places.vAt + k * width;
          const p = Math.exp(dot(qkv, qAt, qkv, kAt, HS) * scale - lse[bh * T + q]);
          const kept = keep(q, k);
          const ds = p * (dot(dout, o, qkv, vAt, HS) * kept - delta) * scale;
          for (let i = 0; i < HS; i++) {
            sums[q * HS + i] += ds * qkv[kAt + i];
            sums[(T + k) * HS + i] += ds * qkv[qAt + i];
            sums[(2 * T + k) * HS + i] += p * kept * dout[o + i];
          }
        }
      }
      for (const [part, first] of [places.qAt, places.kAt, places.vAt].entries()) {
        const adds = accumulate || (part > 0 && h % (NH / KV) > 0); // keys and values: the sum over their group
        for (let t = 0; t < T; t++) {
          for (let i = 0; i < HS; i++) {
            const at = first + t * width + i;
            dqkv[at] = (adds ? dqkv[at] : 0) + sums[(part * T + t) * HS + i];
          }
        }
      }
    }
  },
} satisfies Partial<HostKernels<typeof KERNELS>>;

/** Offsets of the query, key and value of position 0, for query head h = bh mod NH in sequence ⌊bh / NH⌋. */
function placesOfHead(bh: number, T: number, NH: number, KV: number, HS: number) {
  const first = Math.floor(bh / NH) * T * (NH + 2 * KV) * HS;
  const h = bh % NH;
  const kAt = first + (NH + Math.floor((h * KV) / NH)) * HS;
  return { qAt: first + h * HS, kAt, vAt: kAt + KV * HS };
}

/** The row of `out` of each query, by the query's number. */
export function placesOf(rows: Int32Array): Map<number, number> {
  return new Map(Array.from(rows, (r, i) => [r, i]));
}

/** The factor of an attention weight: 0 if dropped, 1/(1 − p) if kept, 1 without dropout. */
function attentionMask(dropout: Dropout | null, bh: number, NH: number): (q: number, k: number) => number {
  if (!dropout) return () => 1;
  const key = sampleKey(dropout.key, (dropout.firstSample * NH + bh) >>> 0);
  const threshold = dropoutThreshold(dropout.p);
  const scale = 1 / (1 - dropout.p);
  return (q, k) => (dropoutKeep(key, (Math.imul(q, 65536) + k) >>> 0, threshold) ? scale : 0);
}
