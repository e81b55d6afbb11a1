/** Linear layers on a GPU. */
import { product } from './product.wgsl.js';
import type { GpuKernels } from './kernels.js';

export const linear = {
  linearForward: (engine, { out, inp, weight, bias, R, K, N }) =>
    product(engine, 'rows', { out, a: inp, b: weight, bias, M: R, N, K, weight: true }),

  linearBackwardInput: (engine, { dinp, dout, weight, R, K, N, accumulate }) =>
    product(engine, 'dots', {
      out: dinp,
      a: dout,
      b: weight,
      M: R,
      N: K,
      K: N,
      accumulate,
      weight: true,
      gradient: { of: 'a', rows: R },
    }),

  linearBackwardWeight: (engine, { dweight, dbias, dout, inp, R, K, N }) =>
    product(engine, 'sums', {
      out: dweight,
      a: inp,
      b: dout,
      dbias,
      M: K,
      N,
      K: R,
      accumulate: true,
      gradient: { of: 'b', rows: R },
    }),
} satisfies Partial<GpuKernels>;
