/**
 * Kernels that decide about rows: which halt, at which exit, and what that costs. They work on R or R·N numbers, next
 * to the R·C² of a block, so both backends that live in the host's memory share this one implementation. Masks are i32,
 * 1 where a row runs. Knows no depth rule.
 */
import type { Storage } from './backend.js';
import { HostStorage } from './host.js';
import { floats, indices, integers } from './reference-arguments.js';

/** One step of ACT for R rows (Graves 2016, arXiv 1603.08983): what goes in, what comes out. */
export interface ActStep {
  /** In: the halting probability h, the sum of the former ones, and which rows run (R). */
  readonly h: Storage;
  readonly sum: Storage;
  readonly running: Storage;
  /** Out: the weight p of this step's state, the sum of h so far, and which rows go on (R). */
  readonly p: Storage;
  readonly nextSum: Storage;
  readonly goingOn: Storage;
}

export interface ActOptions {
  readonly epsilon: number;
  /** The step limit is reached: what runs stops here. */
  readonly last: boolean;
}

/** Exits of B sequences of T rows at one of N depths. */
export interface ExitDims {
  readonly B: number;
  readonly T: number;
  readonly N: number;
}

export interface OracleOptions {
  /** What one more depth costs, in the unit of the costs. */
  readonly lambda: number;
  /** Width σ of the smoothing over neighbouring rows, exp(−Δt²/σ); 0 for none. */
  readonly sigma: number;
  /** One exit for all rows of a sequence. */
  readonly perSequence: boolean;
}

export interface RowKernels {
  /** A row stops when its sum reaches 1 − ε: p = h while it runs on, 1 − the former sum where it stops, else 0. */
  actForward(step: ActStep, options: ActOptions): void;
  /** dh and dsum are added to; the gradient flows through the remainder, not through the number of steps. */
  actBackward(dh: Storage, dsum: Storage, dp: Storage, dnextSum: Storage | null, step: ActStep): void;
  /** ponder[r] += what this step cost: 1 where a row runs, and the remainder p where it stops. */
  ponder(ponder: Storage, p: Storage, running: Storage, goingOn: Storage): void;
  /** out[r] = value where a row runs and does not go on, else 0. */
  stopped(out: Storage, running: Storage, goingOn: Storage, value: number): void;
  /**
   * out[t] = mean of inp[0..t] and the `past` rows before them; `inp, out (T, C)`. `sums (C)` goes from call to call: the
   * sum of the past rows, then of these too; overwritten where past is 0.
   */
  causalMean(
    out: Storage,
    inp: Storage,
    sums: Storage,
    dims: { readonly T: number; readonly C: number; readonly past: number },
  ): void;
  /** Stops the rows whose value exceeds the threshold. */
  stopAbove(running: Storage, values: Storage, threshold: number): void;
  /** Stops the rows whose value lies below the threshold. */
  stopBelow(running: Storage, values: Storage, threshold: number): void;
  /** Stops the rows whose exit is depth n. */
  stopAt(running: Storage, exits: Storage, n: number): void;
  /** counts[r] += 1 where a row runs. */
  count(counts: Storage, running: Storage): void;
  /**
   * The running rows in ascending order. A backend that cannot tell their number without waiting returns null, and
   * nothing is skipped.
   */
  compact(running: Storage): Storage | null;
  /** exits[r] = arg max of z (R, N); the least one where equal. */
  argmax(exits: Storage, z: Storage, N: number): void;
  /** out[r] = 1 where a and b (i32) differ, else 0. */
  differ(out: Storage, a: Storage, b: Storage): void;
  /** weights[r] = value where exits[r] = n, or is later and n is `last`, else 0; rows with target −1 get 0. */
  weightsAt(
    weights: Storage,
    exits: Storage,
    targets: Storage,
    n: number,
    last: boolean,
    value: number,
  ): void;
  /**
   * exits[r] = the depth n with the least cost + λ·n; `costs (N, B·T)`, smoothed over neighbours or summed over the
   * sequence (Elbayad et al. 2019, arXiv 1910.10073). Smoothing takes a weighted mean, so λ keeps its unit.
   */
  oracle(exits: Storage, costs: Storage, dims: ExitDims, options: OracleOptions): void;
  /**
   * Whether to exit at depth n, learned from the oracle's exits: loss[r] += −log σ(z) where the exit is n, −log(1 − σ(z))
   * where it comes later, nothing where it came before; dz = weight · its derivative. `z, loss (R)`.
   */
  exitHereLoss(loss: Storage, dz: Storage, z: Storage, exits: Storage, n: number, weight: number): void;
  /** At which depth to exit: cross-entropy of softmax(z (R, N)) with the oracle's exits; dz = weight · its derivative. */
  exitChoiceLoss(loss: Storage, dz: Storage, z: Storage, exits: Storage, N: number, weight: number): void;
}

/** The row kernels over storage in the host's memory. */
export const hostRows: RowKernels = {
  actForward({ h, sum, running, p, nextSum, goingOn }, { epsilon, last }) {
    const at = 'actForward';
    const R = h.length;
    const [hs, sums, ps] = [floats(at, 'h', h), floats(at, 'sum', sum, R), floats(at, 'p', p, R)];
    const next = floats(at, 'nextSum', nextSum, R);
    const [runs, goes] = [integers(at, 'running', running, R), integers(at, 'goingOn', goingOn, R)];
    for (let r = 0; r < R; r++) {
      const stops = last || sums[r] + hs[r] >= 1 - epsilon;
      goes[r] = runs[r] && !stops ? 1 : 0;
      ps[r] = runs[r] ? (stops ? 1 - sums[r] : hs[r]) : 0;
      next[r] = goes[r] ? sums[r] + hs[r] : 1;
    }
  },

  actBackward(dh, dsum, dp, dnextSum, { running, goingOn }) {
    const at = 'actBackward';
    const R = dh.length;
    const [dhs, dsums, dps] = [floats(at, 'dh', dh), floats(at, 'dsum', dsum, R), floats(at, 'dp', dp, R)];
    const dnext = dnextSum && floats(at, 'dnextSum', dnextSum, R);
    const [runs, goes] = [integers(at, 'running', running, R), integers(at, 'goingOn', goingOn, R)];
    for (let r = 0; r < R; r++) {
      if (goes[r]) {
        dhs[r] += dps[r] + (dnext ? dnext[r] : 0);
        dsums[r] += dnext ? dnext[r] : 0;
      } else if (runs[r]) dsums[r] -= dps[r];
    }
  },

  ponder(ponder, p, running, goingOn) {
    const sums = floats('ponder', 'ponder', ponder);
    const ps = floats('ponder', 'p', p, sums.length);
    const runs = integers('ponder', 'running', running, sums.length);
    const goes = integers('ponder', 'goingOn', goingOn, sums.length);
    for (let r = 0; r < sums.length; r++) sums[r] += runs[r] ? 1 + (goes[r] ? 0 : ps[r]) : 0;
  },

  stopped(out, running, goingOn, value) {
    const y = floats('stopped', 'out', out);
    const runs = integers('stopped', 'running', running, y.length);
    const goes = integers('stopped', 'goingOn', goingOn, y.length);
    for (let r = 0; r < y.length; r++) y[r] = runs[r] && !goes[r] ? value : 0;
  },

  causalMean(out, inp, sums, { T, C, past }) {
    const y = floats('causalMean', 'out', out, T * C);
    const x = floats('causalMean', 'inp', inp, T * C);
    const total = floats('causalMean', 'sums', sums, C);
    if (past === 0) total.fill(0);
    for (let t = 0; t < T; t++) {
      for (let c = 0; c < C; c++) {
        total[c] += x[t * C + c];
        y[t * C + c] = total[c] / (past + t + 1);
      }
    }
  },

  stopAbove(running, values, threshold) {
    const runs = integers('stopAbove', 'running', running, running.length);
    const x = floats('stopAbove', 'values', values, running.length);
    for (let r = 0; r < runs.length; r++) if (x[r] > threshold) runs[r] = 0;
  },

  stopBelow(running, values, threshold) {
    const runs = integers('stopBelow', 'running', running, running.length);
    const x = floats('stopBelow', 'values', values, running.length);
    for (let r = 0; r < runs.length; r++) if (x[r] < threshold) runs[r] = 0;
  },

  stopAt(running, exits, n) {
    const runs = integers('stopAt', 'running', running, running.length);
    const exit = integers('stopAt', 'exits', exits, running.length);
    for (let r = 0; r < runs.length; r++) if (exit[r] === n) runs[r] = 0;
  },

  count(counts, running) {
    const sums = integers('count', 'counts', counts, running.length);
    const runs = integers('count', 'running', running, running.length);
    for (let r = 0; r < runs.length; r++) sums[r] += runs[r];
  },

  compact(running) {
    const runs = integers('compact', 'running', running, running.length);
    const rows: number[] = [];
    for (let r = 0; r < runs.length; r++) if (runs[r]) rows.push(r);
    return new HostStorage('i32', Int32Array.from(rows));
  },

  argmax(exits, z, N) {
    const R = exits.length;
    const exit = integers('argmax', 'exits', exits, R);
    const x = floats('argmax', 'z', z, R * N);
    for (let r = 0; r < R; r++) {
      let best = 0;
      for (let n = 1; n < N; n++) if (x[r * N + n] > x[r * N + best]) best = n;
      exit[r] = best;
    }
  },

  differ(out, a, b) {
    const y = floats('differ', 'out', out);
    const [p, q] = [integers('differ', 'a', a, y.length), integers('differ', 'b', b, y.length)];
    for (let r = 0; r < y.length; r++) y[r] = p[r] === q[r] ? 0 : 1;
  },

  weightsAt(weights, exits, targets, n, last, value) {
    const w = floats('weightsAt', 'weights', weights);
    const exit = integers('weightsAt', 'exits', exits, w.length);
    const target = integers('weightsAt', 'targets', targets, w.length);
    for (let r = 0; r < w.length; r++) {
      const here = exit[r] === n || (last && exit[r] > n);
      w[r] = here && target[r] >= 0 ? value : 0;
    }
  },

  oracle(exits, costs, { B, T, N }, { lambda, sigma, perSequence }) {
    const R = B * T;
    const exit = integers('oracle', 'exits', exits, R);
    const cost = floats('oracle', 'costs', costs, N * R);
    // Beyond this distance the weights are below 1e-7.
    const reach = perSequence ? T : Math.min(T - 1, Math.floor(Math.sqrt(16 * sigma)));
    const kernel = Array.from({ length: reach + 1 }, (_, d) => (d === 0 ? 1 : Math.exp((-d * d) / sigma)));
    const smoothed = (n: number, b: number, t: number): number => {
      let sum = 0;
      let weights = 0;
      for (let u = Math.max(0, t - reach); u <= Math.min(T - 1, t + reach); u++) {
        const weight = perSequence ? 1 : kernel[Math.abs(t - u)];
        sum += weight * cost[n * R + b * T + u];
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
      if (perSequence) exit.fill(cheapest(b, 0), b * T, (b + 1) * T);
      else for (let t = 0; t < T; t++) exit[b * T + t] = cheapest(b, t);
    }
  },

  exitHereLoss(loss, dz, z, exits, n, weight) {
    const at = 'exitHereLoss';
    const R = z.length;
    const [losses, dx] = [floats(at, 'loss', loss, R), floats(at, 'dz', dz, R)];
    const x = floats(at, 'z', z, R);
    const exit = integers(at, 'exits', exits, R);
    for (let r = 0; r < R; r++) {
      dx[r] = 0;
      if (exit[r] < n) continue;
      const sign = exit[r] === n ? 1 : -1; // −log σ(sign·z)
      losses[r] += Math.max(0, -sign * x[r]) + Math.log1p(Math.exp(-Math.abs(x[r])));
      dx[r] = (-weight * sign) / (1 + Math.exp(sign * x[r]));
    }
  },

  exitChoiceLoss(loss, dz, z, exits, N, weight) {
    const at = 'exitChoiceLoss';
    const R = loss.length;
    const losses = floats(at, 'loss', loss, R);
    const [dx, x] = [floats(at, 'dz', dz, R * N), floats(at, 'z', z, R * N)];
    const exit = indices(at, 'exits', exits, R, N);
    for (let r = 0; r < R; r++) {
      let max = Number.NEGATIVE_INFINITY;
      for (let n = 0; n < N; n++) max = Math.max(max, x[r * N + n]);
      let total = 0;
      for (let n = 0; n < N; n++) total += Math.exp(x[r * N + n] - max);
      const logTotal = max + Math.log(total);
      losses[r] += logTotal - x[r * N + exit[r]];
      for (let n = 0; n < N; n++) {
        dx[r * N + n] = weight * (Math.exp(x[r * N + n] - logTotal) - (n === exit[r] ? 1 : 0));
      }
    }
  },
};
