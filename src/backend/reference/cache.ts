/** Attention over the key/value cache of the reference backend. */
import { PAGE_POSITIONS } from '../backend.js';
import type { KERNELS } from '../kernel-table.js';
import type { HostKernels } from '../memory/arguments.js';
import { placesOf } from './attention.js';
import { dot } from './dot.js';

/**
 * Elements of a page: for each key head, the keys of PAGE_POSITIONS positions (PAGE_POSITIONS, HS), then their values.
 */
export function cachePageLength(KV: number, HS: number): number {
  return 2 * KV * PAGE_POSITIONS * HS;
}

export const cache = {
  cachedAttention({ out, cache, qkv, table, rows, NH, KV, HS, S, width }) {
    const C = NH * HS;
    const places = rows && placesOf(rows);
    const pageLength = cachePageLength(KV, HS);
    let first = 0;
    for (let s = 0; s < S; s++) {
      const [count, past, ...own] = table.subarray(s * width, (s + 1) * width);
      const at = (kv: number, position: number) =>
        own[Math.floor(position / PAGE_POSITIONS)] * pageLength +
        (2 * kv * PAGE_POSITIONS + (position % PAGE_POSITIONS)) * HS;
      const valuesAfterKeys = PAGE_POSITIONS * HS;
      const weights = new Float64Array(past + count);
      const sums = new Float64Array(HS);
      for (let h = 0; h < NH; h++) {
        const kv = Math.floor((h * KV) / NH);
        for (let i = 0; i < count; i++) {
          const row = (first + i) * (NH + 2 * KV) * HS;
          const [q, key, value] = [h, NH + kv, NH + KV + kv].map((head) => row + head * HS);
          const end = past + i;
          cache.set(qkv.subarray(key, key + HS), at(kv, end));
          cache.set(qkv.subarray(value, value + HS), at(kv, end) + valuesAfterKeys);
          const place = places ? places.get(first + i) : first + i;
          if (place === undefined) continue;
          let max = Number.NEGATIVE_INFINITY;
          for (let k = 0; k <= end; k++) {
            weights[k] = dot(qkv, q, cache, at(kv, k), HS) / Math.sqrt(HS);
            max = Math.max(max, weights[k]);
          }
          let sum = 0;
          for (let k = 0; k <= end; k++) sum += Math.exp(weights[k] - max);
          const logSumExp = max + Math.log(sum);
          sums.fill(0);
          for (let k = 0; k <= end; k++) {
            const p = Math.exp(weights[k] - logSumExp);
            const v = at(kv, k) + valuesAfterKeys;
            for (let c = 0; c < HS; c++) sums[c] += p * cache[v + c];
          }
          out.set(sums, place * C + h * HS);
        }
      }
      first += count;
    }
  },
} satisfies Partial<HostKernels<typeof KERNELS>>;
