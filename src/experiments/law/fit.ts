/** Fits the law to the losses of trained models, and says how well they determine φ. Knows no suite. */
import { bestMinimum, leastSquares } from './least-squares.js';
import { effectiveParameters, type Law, type LawPoint, lawLoss } from './law.js';
import { LawProblem, PHI_BOUNDS } from './law-problem.js';
import { MORE_MODELS, Resampling } from './resampling.js';

/** A model, and the losses of its seeds in nats per token. */
export interface LawModel extends LawPoint {
  readonly losses: readonly number[];
}

/** A range of φ: the middle 90 % of what resampled losses give. */
export interface Interval {
  readonly low: number;
  readonly high: number;
}

export interface LawFit {
  readonly law: Law;
  readonly interval: Interval;
  /** Why the losses do not determine φ; null where they do. */
  readonly undetermined: string | null;
  /** What the law makes of each model, in their order. */
  readonly models: readonly FittedModel[];
  /** Root mean square of all residuals, in log losses. */
  readonly error: number;
}

export interface FittedModel {
  readonly effectiveParameters: number;
  /** What the law foretells, in nats. */
  readonly loss: number;
  /** Log of each seed's loss over that. */
  readonly residuals: readonly number[];
}

const SHARE = 0.9;
/** φ is not determined by an interval wider than this. */
export const WIDEST = 0.5;
/** Resampled losses that the interval is made of. */
const DRAWS = 500;

/** Why no law can be fitted to models like these; null where one can. */
export function unfit(points: readonly LawPoint[]): string | null {
  const sizes = (own: readonly LawPoint[]) => new Set(own.map(({ once, looped }) => once + looped)).size;
  const unlooped = sizes(points.filter(({ loops }) => loops === 1));
  const looped = points.filter(({ loops }) => loops > 1).length;
  if (unlooped < 3) return `three sizes of models without loops are needed, and there are ${unlooped}`;
  if (looped < 2) return `two looped models are needed, and there are ${looped}`;
  const { size } = new LawProblem(points, [[0]]);
  if (points.length >= size + MORE_MODELS) return null;
  return `${size + MORE_MODELS} models are needed, and there are ${points.length}`;
}

/** The law that fits best; of models that are not `unfit`. */
export function fitLaw(models: readonly LawModel[], draws = DRAWS): LawFit {
  const logs = models.map(({ losses }) => losses.map(Math.log));
  const problem = new LawProblem(models, logs);
  const { params } = bestMinimum(problem.problem(logs), problem.starts());
  const foretold = problem.foretold(params);
  const residuals = logs.map((own, i) => own.map((log) => log - foretold[i]));
  const resampling = new Resampling(foretold, residuals, problem.size);
  const phis = Array.from({ length: draws }, (_, d) => {
    return problem.phi(leastSquares(problem.problem(resampling.draw(d)), [...params]).params);
  });
  const law = problem.law(params);
  const interval = middle(phis);
  const all = residuals.flat();
  return {
    law,
    interval,
    undetermined: doubt(law, interval),
    models: models.map((model, i) => ({
      effectiveParameters: effectiveParameters(model, law.phi),
      loss: lawLoss(law, model),
      residuals: residuals[i],
    })),
    error: Math.sqrt(all.reduce((sum, residual) => sum + residual ** 2, 0) / all.length),
  };
}

function doubt({ phi }: Law, { low, high }: Interval): string | null {
  if (Math.min(low, phi) <= PHI_BOUNDS.low || Math.max(high, phi) >= PHI_BOUNDS.high) {
    const tried = `${PHI_BOUNDS.low} to ${PHI_BOUNDS.high}`.replace('-', '−');
    return `its interval reaches the end of what is tried, ${tried}`;
  }
  return high - low > WIDEST ? `its interval is wider than ${WIDEST}` : null;
}

/** The middle share of several values. */
function middle(values: readonly number[]): Interval {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (q: number) => {
    const place = q * (sorted.length - 1);
    const [below, above] = [sorted[Math.floor(place)], sorted[Math.ceil(place)]];
    return below + (above - below) * (place - Math.floor(place));
  };
  return { low: at((1 - SHARE) / 2), high: at((1 + SHARE) / 2) };
}
