/** Gated residuals of the reference backend, the loop update of arXiv 2409.14199. */
import type { KERNELS } from '../kernel-table.js';
import type { HostKernels } from '../memory/arguments.js';

export const residual = {
  gatedResidualForward({ out, x, f, gate, R, C, G, form }) {
    for (let i = 0; i < R * C; i++) {
      const step = form === 'output' ? f[i] : f[i] - x[i];
      out[i] = x[i] + gate[G === 1 ? 0 : i % C] * step;
    }
  },

  // In the forward pass this was out = x + gate ⊙ f (`output`), or x + gate ⊙ (f − x).
  gatedResidualBackward({ dx, df, dgate, dout, x, f, gate, R, C, G, form, accumulateX, accumulateF }) {
    const sums = new Float64Array(G);
    for (let i = 0; i < R * C; i++) {
      const c = G === 1 ? 0 : i % C;
      const d = dout[i];
      dx[i] = (accumulateX ? dx[i] : 0) + (form === 'output' ? d : d * (1 - gate[c]));
      df[i] = (accumulateF ? df[i] : 0) + d * gate[c];
      sums[c] += d * (form === 'output' ? f[i] : f[i] - x[i]);
    }
    for (let c = 0; c < G; c++) dgate[c] += sums[c];
  },
} satisfies Partial<HostKernels<typeof KERNELS>>;
