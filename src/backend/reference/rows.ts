/** Kernels of the reference backend on whole rows: choose, scale, gather and scatter them, and copy columns. */
import type { KERNELS } from '../kernel-table.js';
import type { HostKernels } from '../memory/arguments.js';
import { dot } from './dot.js';

export const rows = {
  selectRows({ out, mask, a, b, R, C, accumulate }) {
    for (let i = 0; i < R * C; i++) {
      const from = mask[Math.floor(i / C)] ? a : b;
      out[i] = (accumulate ? out[i] : 0) + (from ? from[i] : 0);
    }
  },

  scaleRowsForward({ out, inp, scale, R, C, accumulate }) {
    for (let i = 0; i < R * C; i++) out[i] = (accumulate ? out[i] : 0) + scale[Math.floor(i / C)] * inp[i];
  },

  // In the forward pass this was out[r] = scale[r]·inp[r].
  scaleRowsBackward({ dinp, dscale, dout, inp, scale, R, C, accumulate }) {
    for (let r = 0; r < R; r++) {
      if (dscale) dscale[r] += dot(dout, r * C, inp, r * C, C);
      for (let i = r * C; dinp && i < (r + 1) * C; i++) {
        dinp[i] = (accumulate ? dinp[i] : 0) + scale[r] * dout[i];
      }
    }
  },

  copyColumns({ out, inp, R, C, first, count, accumulate }) {
    for (let r = 0; r < R; r++) {
      for (let i = r * C + first; i < r * C + first + count; i++) {
        out[i] = (accumulate ? out[i] : 0) + inp[i];
      }
    }
  },

  gatherRows({ out, inp, index, C }) {
    for (const [i, r] of index.entries()) out.set(inp.subarray(r * C, (r + 1) * C), i * C);
  },

  scatterRows({ out, inp, index, C }) {
    for (const [i, r] of index.entries()) out.set(inp.subarray(i * C, (i + 1) * C), r * C);
  },
} satisfies Partial<HostKernels<typeof KERNELS>>;
