/** The reference backend's measures of rows that may exit: movement of a state, entropy and change of a prediction. */
import type { KERNELS } from '../kernel-table.js';
import type { Floats, HostKernels } from '../memory/arguments.js';

export const exits = {
  rowChange({ out, x, former, before, R, C }) {
    for (let r = 0; r < R; r++) {
      let [moved, size] = [0, 0];
      for (let i = r * C; i < (r + 1) * C; i++) {
        moved += (x[i] - former[i] - (before ? former[i] - before[i] : 0)) ** 2;
        size += former[i] ** 2;
      }
      out[r] = Math.sqrt(moved / size);
    }
  },

  rowEntropy({ out, logits, R, V }) {
    for (let r = 0; r < R; r++) {
      const logs = logProbabilities(logits, r, V);
      out[r] = -logs.reduce((sum, log) => sum + Math.exp(log) * log, 0);
    }
  },

  rowDivergence({ out, logits, former, rows, V }) {
    for (let i = 0; i < out.length; i++) {
      const [p, q] = [logProbabilities(logits, i, V), logProbabilities(former, rows ? rows[i] : i, V)];
      const d = p.reduce((sum, log, v) => sum + Math.exp(log) * (log - q[v]), 0);
      out[i] = Math.max(0, d); // below 0 only by rounding
    }
  },
} satisfies Partial<HostKernels<typeof KERNELS>>;

/** log softmax of row r of `x (R, V)`. */
function logProbabilities(x: Floats, r: number, V: number): Float64Array {
  const row = Float64Array.from(x.subarray(r * V, (r + 1) * V));
  const max = row.reduce((most, value) => Math.max(most, value), Number.NEGATIVE_INFINITY);
  const logSum = max + Math.log(row.reduce((sum, value) => sum + Math.exp(value - max), 0));
  return row.map((value) => value - logSum);
}
