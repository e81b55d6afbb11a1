/** Attention over the key/value cache of the reference backend. */
import { PAGE_POSITIONS } from '../backend.js';
import type { KERNELS } from '../kernel-table.js';
import type { HostKernels } from '../memory/arguments.js';
import { placesOf } from './attention.js';
import { dot } from './dot.js';

/** Elements of a page: for each head, the keys of PAGE_POSITIONS positions (PAGE_POSITIONS, HS), then their values. */
export function cachePageLength(NH: number, HS: number): number {
  return 2 * NH * PAGE_POSITIONS * HS;
}

export const cache = {
  cachedAttention({ out, cache, qkv, table, rows, NH, HS, S, width }) {
    const C = NH * HS;
    const places = rows && placesOf(rows);
    const pageLength = cachePageLength(NH, HS);
    let first = 0;
    for (let s = 0; s < S; s++) {
      const [count, past, ...own] = table.subarray(s * width, (s + 1) * width);
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
          cache.set(qkv.subarray(q + C, q + C + HS), at(h, end));
          cache.set(qkv.subarray(q + 2 * C, q + 2 * C + HS), at(h, end) + valuesAfterKeys);
          const place = places ? places.get(first + i) : first + i;
          if (place === undefined) continue;
          let max = Number.NEGATIVE_INFINITY;
          for (let k = 0; k <= end; k++) {
            weights[k] = dot(qkv, q, cache, at(h, k), HS) / Math.sqrt(HS);
            max = Math.max(max, weights[k]);
          }
          let sum = 0;
          for (let k = 0; k <= end; k++) sum += Math.exp(weights[k] - max);
          const logSumExp = max + Math.log(sum);
          sums.fill(0);
          for (let k = 0; k <= end; k++) {
            const p = Math.exp(weights[k] - logSumExp);
            const v = at(h, k) + valuesAfterKeys;
            for (let c = 0; c < HS; c++) sums[c] += p * cache[v + c];
          }
          out.set(sums, place * C + h * HS);
        }
      }
      first += count;
    }
  },
} satisfies Partial<HostKernels<typeof KERNELS>>;
