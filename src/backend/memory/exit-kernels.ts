/** The kernels that decide about rows, for engines that compute in the host's memory. */
import type { EXIT_KERNELS } from '../kernel-table.js';
import type { HostKernels } from './arguments.js';
import { ArrayStorage, HostStorage } from './storage.js';
import type { Storage } from '../backend.js';
import { ShapeError } from '../../errors.js';

export const exitKernels: HostKernels<typeof EXIT_KERNELS> = {
  actForward({ h, sum, running, p, nextSum, goingOn, epsilon, last }) {
    for (let r = 0; r < h.length; r++) {
      const stops = last || sum[r] + h[r] >= 1 - epsilon;
      goingOn[r] = running[r] && !stops ? 1 : 0;
      p[r] = running[r] ? (stops ? 1 - sum[r] : h[r]) : 0;
      nextSum[r] = goingOn[r] ? sum[r] + h[r] : 1;
    }
  },

  // In the forward pass this was p = h and nextSum = sum + h where goingOn, p = 1 − sum where a row stops.
  actBackward({ dh, dsum, dp, dnextSum, running, goingOn }) {
    for (let r = 0; r < dh.length; r++) {
      if (goingOn[r]) {
        dh[r] += dp[r] + (dnextSum ? dnextSum[r] : 0);
        dsum[r] += dnextSum ? dnextSum[r] : 0;
      } else if (running[r]) dsum[r] -= dp[r];
    }
  },

  ponder({ ponder, p, running, goingOn }) {
    for (let r = 0; r < ponder.length; r++) ponder[r] += running[r] ? 1 + (goingOn[r] ? 0 : p[r]) : 0;
  },

  stopped({ out, running, goingOn, value }) {
    for (let r = 0; r < out.length; r++) out[r] = running[r] && !goingOn[r] ? value : 0;
  },

  causalMean({ out, inp, sums, T, C, past }) {
    if (past === 0) sums.fill(0);
    for (let t = 0; t < T; t++) {
      for (let c = 0; c < C; c++) {
        sums[c] += inp[t * C + c];
        out[t * C + c] = sums[c] / (past + t + 1);
      }
    }
  },

  stopAbove({ running, values, threshold }) {
    for (let r = 0; r < running.length; r++) if (values[r] > threshold) running[r] = 0;
  },

  stopBelow({ running, values, threshold }) {
    for (let r = 0; r < running.length; r++) if (values[r] < threshold) running[r] = 0;
  },

  stopAt({ running, exits, depth }) {
    for (let r = 0; r < running.length; r++) if (exits[r] === depth) running[r] = 0;
  },

  countRunning({ counts, running }) {
    for (let r = 0; r < running.length; r++) counts[r] += running[r];
  },

  sumCounts({ out, counts }) {
    let total = 0;
    for (const count of counts) total += count;
    out[0] = total;
    out[1] = total - out[0];
  },

  argmaxRows({ exits, z, N }) {
    for (let r = 0; r < exits.length; r++) {
      let best = 0;
      for (let n = 1; n < N; n++) if (z[r * N + n] > z[r * N + best]) best = n;
      exits[r] = best;
    }
  },

  differ({ out, a, b }) {
    for (let r = 0; r < out.length; r++) out[r] = a[r] === b[r] ? 0 : 1;
  },

  weightsAt({ weights, exits, targets, depth, last, value }) {
    for (let r = 0; r < weights.length; r++) {
      const here = exits[r] === depth || (last && exits[r] > depth);
      weights[r] = here && targets[r] >= 0 ? value : 0;
    }
  },

  oracle({ exits, costs, B, T, N, lambda, sigma, perSequence }) {
    const R = B * T;
    // Beyond this distance the weights are below e^−16, about 1e-7.
    const reach = perSequence ? T : Math.min(T - 1, Math.floor(Math.sqrt(16 * sigma)));
    const kernel = Array.from({ length: reach + 1 }, (_, d) => (d === 0 ? 1 : Math.exp((-d * d) / sigma)));
    const smoothed = (n: number, b: number, t: number): number => {
      let sum = 0;
      let weights = 0;
      for (let u = Math.max(0, t - reach); u <= Math.min(T - 1, t + reach); u++) {
        const weight = perSequence ? 1 : kernel[Math.abs(t - u)];
        sum += weight * costs[n * R + b * T + u];
        weights += weight;
      }
      return sum / weights;
    };
    const cheapest = (b: number, t: number): number => {
      let best = 0;
      let least = Number.POSITIVE_INFINITY;
      for (let n = 0; n < N; n++) {
        const total = smoothed(n, b, t) + lambda * n;
        if (total < least) [best, least] = [n, total];
      }
      return best;
    };
    for (let b = 0; b < B; b++) {
      if (perSequence) exits.fill(cheapest(b, 0), b * T, (b + 1) * T);
      else for (let t = 0; t < T; t++) exits[b * T + t] = cheapest(b, t);
    }
  },

  exitHereLoss({ loss, dz, z, exits, depth, weight }) {
    for (let r = 0; r < z.length; r++) {
      dz[r] = 0;
      if (exits[r] < depth) continue;
      const sign = exits[r] === depth ? 1 : -1; // −log σ(sign·z)
      loss[r] += Math.max(0, -sign * z[r]) + Math.log1p(Math.exp(-Math.abs(z[r])));
      dz[r] = (-weight * sign) / (1 + Math.exp(sign * z[r]));
    }
  },

  exitChoiceLoss({ loss, dz, z, exits, N, weight }) {
    for (let r = 0; r < loss.length; r++) {
      let max = Number.NEGATIVE_INFINITY;
      for (let n = 0; n < N; n++) max = Math.max(max, z[r * N + n]);
      let total = 0;
      for (let n = 0; n < N; n++) total += Math.exp(z[r * N + n] - max);
      const logTotal = max + Math.log(total);
      loss[r] += logTotal - z[r * N + exits[r]];
      for (let n = 0; n < N; n++) {
        dz[r * N + n] = weight * (Math.exp(z[r * N + n] - logTotal) - (n === exits[r] ? 1 : 0));
      }
    }
  },
};

/** The rows that run, by a mask, in ascending order. */
export function runningRows(running: Storage): Int32Array {
  if (!(running instanceof HostStorage))
    throw new ShapeError('compact', 'must be given storage of this backend');
  const rows: number[] = [];
  for (const [r, runs] of running.data.entries()) if (runs) rows.push(r);
  return Int32Array.from(rows);
}

/** See Backend.compact. */
export const compact = (running: Storage): ArrayStorage => new ArrayStorage('i32', runningRows(running));
