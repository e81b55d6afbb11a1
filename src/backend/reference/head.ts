/** The head of the reference backend: logits, softmax and cross-entropy, row by row. */
import type { KERNELS } from '../kernel-table.js';
import type { HostKernels } from '../memory/arguments.js';
import { dot } from './dot.js';

type HeadArguments = Parameters<HostKernels<typeof KERNELS>['headForward']>[0];

export const head = {
  logits({ out, inp, weight, R, C, V }) {
    for (let r = 0; r < R; r++) {
      for (let v = 0; v < V; v++) out[r * V + v] = dot(inp, r * C, weight, v * C, C);
    }
  },

  headForward(args) {
    forEachRow(args, () => {});
  },

  // In the forward pass this was loss = −log softmax(inp · weightᵀ)[target].
  headForwardBackward({ dinp, dweight, rowWeights, ...args }) {
    const { inp, weight, C, V } = args;
    const row = new Float64Array(C);
    forEachRow(args, (r, probabilities, target) => {
      row.fill(0);
      if (target >= 0) {
        for (let v = 0; v < V; v++) {
          const d = rowWeights[r] * (probabilities[v] - (v === target ? 1 : 0));
          for (let c = 0; c < C; c++) {
            row[c] += d * weight[v * C + c];
            dweight[v * C + c] += d * inp[r * C + c];
          }
        }
      }
      dinp.set(row, r * C);
    });
  },
} satisfies Partial<HostKernels<typeof KERNELS>>;

/** Softmax and loss of every row; `visit` sees the row's probabilities. */
function forEachRow(
  { loss, argmax, maxProb, inp, weight, targets, R, C, V }: HeadArguments,
  visit: (r: number, probabilities: Float64Array, target: number) => void,
): void {
  const row = new Float64Array(V);
  for (let r = 0; r < R; r++) {
    let best = 0;
    for (let v = 0; v < V; v++) {
      row[v] = dot(inp, r * C, weight, v * C, C);
      if (row[v] > row[best]) best = v;
    }
    const max = row[best];
    let sum = 0;
    for (let v = 0; v < V; v++) sum += Math.exp(row[v] - max);
    const target = targets[r];
    loss[r] = target < 0 ? 0 : max + Math.log(sum) - row[target];
    if (argmax) argmax[r] = best;
    if (maxProb) maxProb[r] = 1 / sum;
    for (let v = 0; v < V; v++) row[v] = Math.exp(row[v] - max) / sum;
    visit(r, row, target);
  }
}
