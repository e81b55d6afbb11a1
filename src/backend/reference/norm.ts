/** Layer norm and RMSNorm of the reference backend. */
import type { KERNELS } from '../kernel-table.js';
import type { HostKernels } from '../memory/arguments.js';

export const norm = {
  layernormForward({ out, mean, rstd, inp, weight, bias, R, C, eps }) {
    for (let r = 0; r < R; r++) {
      let m = 0;
      for (let c = 0; c < C; c++) m += inp[r * C + c];
      m /= C;
      let variance = 0;
      for (let c = 0; c < C; c++) variance += (inp[r * C + c] - m) ** 2;
      const s = 1 / Math.sqrt(variance / C + eps);
      for (let c = 0; c < C; c++) {
        out[r * C + c] = (inp[r * C + c] - m) * s * weight[c] + (bias ? bias[c] : 0);
      }
      mean[r] = m;
      rstd[r] = s;
    }
  },

  // In the forward pass this was out = x̂ ⊙ weight + bias, with x̂ = (inp − mean)·rstd; dx̂ = dout ⊙ weight.
  layernormBackward({ dinp, dweight, dbias, dout, inp, weight, mean, rstd, R, C, accumulate }) {
    const weightSum = new Float64Array(C);
    const biasSum = new Float64Array(C);
    for (let r = 0; r < R; r++) {
      const m = mean[r];
      const s = rstd[r];
      let sum = 0; // Σ dx̂
      let dot = 0; // Σ dx̂ ⊙ x̂
      for (let c = 0; c < C; c++) {
        const i = r * C + c;
        const xhat = (inp[i] - m) * s;
        sum += dout[i] * weight[c];
        dot += dout[i] * weight[c] * xhat;
        weightSum[c] += dout[i] * xhat;
        biasSum[c] += dout[i];
      }
      for (let c = 0; c < C; c++) {
        const i = r * C + c;
        const xhat = (inp[i] - m) * s;
        dinp[i] = (accumulate ? dinp[i] : 0) + s * (dout[i] * weight[c] - sum / C - (xhat * dot) / C);
      }
    }
    for (let c = 0; c < C; c++) dweight[c] += weightSum[c];
    if (dbias) for (let c = 0; c < C; c++) dbias[c] += biasSum[c];
  },

  rmsnormForward({ out, rstd, inp, weight, R, C, eps }) {
    for (let r = 0; r < R; r++) {
      let squares = 0;
      for (let c = 0; c < C; c++) squares += inp[r * C + c] ** 2;
      const s = 1 / Math.sqrt(squares / C + eps);
      for (let c = 0; c < C; c++) out[r * C + c] = inp[r * C + c] * s * weight[c];
      rstd[r] = s;
    }
  },

  // In the forward pass this was out = x̂ ⊙ weight, with x̂ = inp·rstd; dx̂ = dout ⊙ weight.
  rmsnormBackward({ dinp, dweight, dout, inp, weight, rstd, R, C, accumulate }) {
    const weightSum = new Float64Array(C);
    for (let r = 0; r < R; r++) {
      const s = rstd[r];
      let dot = 0; // Σ dx̂ ⊙ x̂
      for (let c = 0; c < C; c++) {
        const i = r * C + c;
        dot += dout[i] * weight[c] * inp[i] * s;
        weightSum[c] += dout[i] * inp[i] * s;
      }
      for (let c = 0; c < C; c++) {
        const i = r * C + c;
        dinp[i] = (accumulate ? dinp[i] : 0) + s * (dout[i] * weight[c] - (inp[i] * s * dot) / C);
      }
    }
    for (let c = 0; c < C; c++) dweight[c] += weightSum[c];
  },
} satisfies Partial<HostKernels<typeof KERNELS>>;
