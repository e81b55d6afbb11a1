/** Kernels of the reference backend on single elements. */
import type { KERNELS } from '../kernel-table.js';
import type { HostKernels } from '../memory/arguments.js';
import { dropoutKeep, dropoutThreshold, sampleKey } from '../memory/dropout.js';

export const elementwise = {
  add({ out, a, b }) {
    for (let i = 0; i < out.length; i++) out[i] = a[i] + b[i];
  },

  accumulate({ out, inp }) {
    for (let i = 0; i < out.length; i++) out[i] += inp[i];
  },

  // On gradients this is also the backward pass.
  dropout({ out, inp, R, C, T, dropout: { p, key, firstSample }, accumulate }) {
    const threshold = dropoutThreshold(p);
    const scale = 1 / (1 - p);
    for (let start = 0; start < R; start += T) {
      const k = sampleKey(key, firstSample + start / T);
      const count = Math.min(T, R - start) * C;
      for (let e = 0, i = start * C; e < count; e++, i++) {
        out[i] = (accumulate ? out[i] : 0) + (dropoutKeep(k, e, threshold) ? inp[i] * scale : 0);
      }
    }
  },
} satisfies Partial<HostKernels<typeof KERNELS>>;
