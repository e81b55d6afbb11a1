/** Linear layers of the reference backend. */
import type { KERNELS } from '../kernel-table.js';
import type { HostKernels } from '../memory/arguments.js';
import { addProducts, dot } from './dot.js';

export const linear = {
  linearForward({ out, inp, weight, bias, R, K, N }) {
    const row = new Float64Array(N);
    for (let r = 0; r < R; r++) {
      if (bias) row.set(bias);
      else row.fill(0);
      addProducts(row, inp, r * K, 1, weight, K);
      out.set(row, r * N);
    }
  },

  // In the forward pass this was out = inp · weight + bias.
  linearBackwardInput({ dinp, dout, weight, R, K, N, accumulate }) {
    for (let r = 0; r < R; r++) {
      for (let k = 0; k < K; k++) {
        dinp[r * K + k] = (accumulate ? dinp[r * K + k] : 0) + dot(dout, r * N, weight, k * N, N);
      }
    }
  },

  // In the forward pass this was out = inp · weight + bias.
  linearBackwardWeight({ dweight, dbias, dout, inp, R, K, N }) {
    const row = new Float64Array(N);
    for (let k = 0; k < K; k++) {
      row.fill(0);
      addProducts(row, inp, k, K, dout, R);
      for (let n = 0; n < N; n++) dweight[k * N + n] += row[n];
    }
    if (!dbias) return;
    row.fill(0);
    for (let r = 0; r < R; r++) for (let n = 0; n < N; n++) row[n] += dout[r * N + n];
    for (let n = 0; n < N; n++) dbias[n] += row[n];
  },
} satisfies Partial<HostKernels<typeof KERNELS>>;
