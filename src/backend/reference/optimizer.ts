/** AdamW and the sums of the reference backend. */
import type { KERNELS } from '../kernel-table.js';
import type { HostKernels } from '../memory/arguments.js';
import { dot } from './dot.js';

export const optimizer = {
  sum({ out, nonFinite, inp }) {
    let total = 0;
    for (let i = 0; i < inp.length; i++) total += inp[i];
    out[0] = total;
    out[1] = total - out[0];
    if (!Number.isFinite(out[0])) nonFinite[0] = 1;
  },

  sumSquares({ out, nonFinite, inp }) {
    out[0] = dot(inp, 0, inp, 0, inp.length);
    if (!Number.isFinite(out[0])) nonFinite[0] = 1;
  },

  adamw({ param, m, v, grad, squares, nonFinite, lr, beta1, beta2, eps, weightDecay, step, gradClip }) {
    if (nonFinite[0] !== 0) return;
    const scale = gradClip > 0 ? Math.min(1, gradClip / (Math.sqrt(squares[0]) + 1e-6)) : 1;
    const mCorrection = 1 - beta1 ** step;
    const vCorrection = 1 - beta2 ** step;
    for (let i = 0; i < param.length; i++) {
      const g = grad[i] * scale;
      m[i] = beta1 * m[i] + (1 - beta1) * g;
      v[i] = beta2 * v[i] + (1 - beta2) * g * g;
      const update = m[i] / mCorrection / (Math.sqrt(v[i] / vCorrection) + eps);
      param[i] -= lr * (update + weightDecay * param[i]);
    }
  },
} satisfies Partial<HostKernels<typeof KERNELS>>;
