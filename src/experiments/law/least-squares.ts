/**
 * Least squares by Levenberg and Marquardt, between bounds and with Huber's loss, which counts a residual beyond
 * `huber` by its size instead of its square: one bad run moves the fit little. Knows no law.
 */

export interface Problem {
  /** Number of residuals. */
  readonly length: number;
  readonly lower: readonly number[];
  readonly upper: readonly number[];
  /** Where Huber's loss turns from squares to sizes. */
  readonly huber: number;
  /** Writes the residuals at `params`, and their derivatives, a row of params.length for each. */
  evaluate(params: Float64Array, residuals: Float64Array, jacobian: Float64Array): void;
}

export interface Minimum {
  readonly params: Float64Array;
  /** Sum of the losses of the residuals. */
  readonly cost: number;
}

const MAX_ITERATIONS = 100;
/** Share of the cost that a step must save, or it is the last. */
const TOLERANCE = 1e-9;
/** Between them a step goes from Gauss and Newton's to none. */
const LEAST_DAMPING = 1e-9;
const MOST_DAMPING = 1e10;
/** Keeps a direction that nothing determines from being divided by 0. */
const LEAST_CURVATURE = 1e-15;

/** The minimum that the descent from `start` finds. */
export function leastSquares(problem: Problem, start: readonly number[]): Minimum {
  const { length, lower, upper, huber } = problem;
  const P = start.length;
  const clamp = (value: number, i: number) => Math.min(upper[i], Math.max(lower[i], value));
  let params = Float64Array.from(start, clamp);
  let next = new Float64Array(P);
  let [residuals, jacobian] = [new Float64Array(length), new Float64Array(length * P)];
  let [nextResiduals, nextJacobian] = [residuals.slice(), jacobian.slice()];
  problem.evaluate(params, residuals, jacobian);
  let cost = huberCost(residuals, huber);
  let damping = 1e-3;
  const [gradient, normal] = [new Float64Array(P), new Float64Array(P * P)];
  for (let iteration = 0; iteration < MAX_ITERATIONS; iteration++) {
    normalEquations(residuals, jacobian, huber, gradient, normal);
    // What a bound holds back takes no part in the step.
    const free: number[] = [];
    for (let i = 0; i < P; i++) {
      const held = gradient[i] > 0 ? params[i] <= lower[i] : params[i] >= upper[i];
      if (!held) free.push(i);
    }
    const before = cost;
    for (let accepted = false; !accepted && damping < MOST_DAMPING; ) {
      const step = dampedStep(gradient, normal, free, damping);
      next.set(params);
      for (const [k, i] of free.entries()) next[i] = clamp(params[i] - step[k], i);
      problem.evaluate(next, nextResiduals, nextJacobian);
      const nextCost = huberCost(nextResiduals, huber);
      accepted = nextCost <= cost;
      damping = accepted ? Math.max(LEAST_DAMPING, damping / 5) : 4 * damping;
      if (!accepted) continue;
      [params, next] = [next, params];
      [residuals, nextResiduals] = [nextResiduals, residuals];
      [jacobian, nextJacobian] = [nextJacobian, jacobian];
      cost = nextCost;
    }
    if (before - cost <= TOLERANCE * before) break;
  }
  return { params, cost };
}

/** Of the minima from many starts the lowest. */
export function bestMinimum(problem: Problem, starts: readonly (readonly number[])[]): Minimum {
  const minima = starts.map((start) => leastSquares(problem, start));
  return minima.reduce((best, minimum) => (minimum.cost < best.cost ? minimum : best));
}

function huberCost(residuals: Float64Array, huber: number): number {
  let sum = 0;
  for (const residual of residuals) {
    const size = Math.abs(residual);
    sum += size <= huber ? (size * size) / 2 : huber * (size - huber / 2);
  }
  return Number.isFinite(sum) ? sum : Number.POSITIVE_INFINITY;
}

/** g = Jᵀ·W·r and H = Jᵀ·W·J, with Huber's weights W = min(1, huber / |r|). */
function normalEquations(
  residuals: Float64Array,
  jacobian: Float64Array,
  huber: number,
  gradient: Float64Array,
  normal: Float64Array,
): void {
  const P = gradient.length;
  gradient.fill(0);
  normal.fill(0);
  for (let row = 0; row < residuals.length; row++) {
    const residual = residuals[row];
    const weight = Math.abs(residual) <= huber ? 1 : huber / Math.abs(residual);
    for (let i = 0; i < P; i++) {
      const weighted = weight * jacobian[row * P + i];
      gradient[i] += weighted * residual;
      for (let j = 0; j <= i; j++) normal[i * P + j] += weighted * jacobian[row * P + j];
    }
  }
}

/** Solves (H + damping·diag H)·step = g for the free parameters, by Cholesky; H's lower half is given. */
function dampedStep(
  gradient: Float64Array,
  normal: Float64Array,
  free: readonly number[],
  damping: number,
): Float64Array {
  const [P, F] = [gradient.length, free.length];
  const factor = new Float64Array(F * F);
  const step = new Float64Array(F);
  for (let i = 0; i < F; i++) {
    for (let j = 0; j <= i; j++) {
      let sum = normal[free[i] * P + free[j]];
      if (i === j) sum += damping * sum + LEAST_CURVATURE;
      for (let k = 0; k < j; k++) sum -= factor[i * F + k] * factor[j * F + k];
      factor[i * F + j] = i === j ? Math.sqrt(Math.max(sum, LEAST_CURVATURE)) : sum / factor[j * F + j];
    }
    let right = gradient[free[i]];
    for (let k = 0; k < i; k++) right -= factor[i * F + k] * step[k];
    step[i] = right / factor[i * F + i];
  }
  for (let i = F - 1; i >= 0; i--) {
    for (let k = i + 1; k < F; k++) step[i] -= factor[k * F + i] * step[k];
    step[i] /= factor[i * F + i];
  }
  return step;
}
