/** AdamW, Muon, the average of weights, and the sums of the reference backend. */
import type { KERNELS } from '../kernel-table.js';
import type { HostKernels } from '../memory/arguments.js';
import { dot } from './dot.js';

/** The factor of a gradient from clipping. */
function clipping(squares: number, gradClip: number): number {
  return gradClip > 0 ? Math.min(1, gradClip / (Math.sqrt(squares) + 1e-6)) : 1;
}

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
    const scale = clipping(squares[0], gradClip);
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

  muonMomentum({ out, momentum, grad, squares, nonFinite, R, C, first, count, beta, gradClip }) {
    if (nonFinite[0] !== 0) {
      out.fill(0);
      return;
    }
    const scale = clipping(squares[0], gradClip);
    for (let r = 0; r < R; r++) {
      for (let c = 0; c < count; c++) {
        const i = r * C + first + c;
        const g = grad[i] * scale;
        momentum[i] = beta * momentum[i] + g;
        out[r * count + c] = g + beta * momentum[i];
      }
    }
  },

  scaleByNorm({ x, squares, eps }) {
    const norm = Math.sqrt(squares[0]) + eps;
    for (let i = 0; i < x.length; i++) x[i] /= norm;
  },

  matrixPolynomial({ out, x, square, N, a, b, c }) {
    for (let i = 0; i < out.length; i++) out[i] = b * x[i] + c * square[i];
    for (let r = 0; r < N; r++) out[r * N + r] = a + b * x[r * N + r] + c * square[r * N + r];
  },

  muonUpdate({ param, update, nonFinite, R, C, first, count, lr, scale, weightDecay }) {
    if (nonFinite[0] !== 0) return;
    for (let r = 0; r < R; r++) {
      for (let c = 0; c < count; c++) {
        const i = r * C + first + c;
        param[i] -= lr * (scale * update[r * count + c] + weightDecay * param[i]);
      }
    }
  },

  averageWeights({ average, param, nonFinite, decay }) {
    if (nonFinite[0] !== 0) return;
    for (let i = 0; i < average.length; i++) average[i] = decay * average[i] + (1 - decay) * param[i];
  },
} satisfies Partial<HostKernels<typeof KERNELS>>;
