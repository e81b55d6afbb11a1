/**
 * Losses of the states that a forward pass ends with, row by row, and the head's readings at each exit.
 */
import { alias, gatherRows, headLoss, logits } from '../tensor/ops.js';
import type { Tensor } from '../tensor/tensor.js';
import type { ForwardContext } from './context.js';
import type { DepthOutput } from './depth/depth.js';
import type { ExitHeads } from './exits/heads.js';
import { Movement } from './exits/measures.js';
import { exitWeights, type Objective } from './exits/objective.js';
import type { LearnedRule } from './exits/rule.js';

/** The result of a forward pass over targets, row by row (R); its tensors belong to the caller. */
export class LossOutput implements Disposable {
  constructor(
    /** Cross-entropy in nats; 0 where the target is −1. */
    readonly losses: Tensor,
    /** Halting's term: ACT's ponder cost in steps, or the cross-entropy with the oracle in nats; null for none. */
    readonly auxLoss: Tensor | null,
    /** Steps before the row halted, i32; null when all took every step. */
    readonly stepsPerRow: Tensor | null,
    /** 1 where the most probable token is not the target, else 0; null unless requested. */
    readonly wrong: Tensor | null = null,
  ) {}

  [Symbol.dispose](): void {
    this.losses.dispose();
    this.auxLoss?.dispose();
    this.stepsPerRow?.dispose();
    this.wrong?.dispose();
  }
}

/** The targets (R) of a batch, and the weight of each counted target in the training loss. */
export class WeightedTargets implements Disposable {
  constructor(
    readonly target: Tensor,
    readonly weight: number,
  ) {}

  [Symbol.dispose](): void {
    this.target.dispose();
  }
}

/**
 * The loss of each row's final state, read by the classifier of its exit; the last of `steps` if no row halted.
 */
export function lossOfEnd(
  { x, auxLoss, stepsPerRow }: DepthOutput,
  heads: ExitHeads,
  { target, weight }: WeightedTargets,
  steps: number,
  findWrong: boolean,
): LossOutput {
  const { runtime, size: R } = target;
  const { backend } = runtime;
  using weights = runtime.empty([R]);
  const readAt = (exit: number) => {
    using normal = heads.normalise(x, exit);
    using argmax = findWrong ? runtime.empty([R], 'i32') : null;
    const losses = headLoss(normal, heads.weight(exit), target, weights, argmax);
    if (!argmax) return { losses, wrong: null };
    const wrong = runtime.empty([R]);
    backend.differ({ out: wrong.storage, a: argmax.storage, b: target.storage });
    return { losses, wrong };
  };
  const output = (losses: Tensor, wrong: Tensor | null) =>
    new LossOutput(losses, auxLoss && alias(auxLoss), stepsPerRow && alias(stepsPerRow), wrong);
  if (!stepsPerRow || !heads.separate) {
    backend.fill(weights.storage, weight);
    const { losses, wrong } = readAt(steps - 1);
    return output(losses, wrong);
  }
  const losses = runtime.from(new Float64Array(R), [R]);
  const wrong = findWrong ? runtime.from(new Float64Array(R), [R]) : null;
  for (let n = 0; n < heads.count; n++) {
    const last = n === heads.count - 1;
    const at = (out: Tensor, value: number) =>
      backend.weightsAt({
        weights: out.storage,
        exits: stepsPerRow.storage,
        targets: target.storage,
        depth: n + 1,
        last,
        value,
      });
    at(weights, weight);
    const own = readAt(n);
    using ownLosses = own.losses;
    using ownWrong = own.wrong;
    using here = runtime.empty([R]);
    at(here, 1);
    const addHere = (out: Tensor, inp: Tensor) =>
      backend.scaleRowsForward({
        out: out.storage,
        inp: inp.storage,
        scale: here.storage,
        R,
        C: 1,
        accumulate: true,
      });
    addHere(losses, ownLosses);
    if (wrong && ownWrong) addHere(wrong, ownWrong);
  }
  return output(losses, wrong);
}

/** The loss at every exit, weighted; and, if a halting rule learns, its loss against the oracle of those exits. */
export function lossOfExits(
  { exits, finish }: DepthOutput,
  heads: ExitHeads,
  learned: LearnedRule | null,
  { target, weight }: WeightedTargets,
  objective: Objective,
  lossScale: number,
  ctx: ForwardContext,
): LossOutput {
  const { runtime } = target;
  const { backend } = runtime;
  const [R, N] = [target.size, exits.length];
  const share = exitWeights(objective.exitLoss, N);
  using costs = runtime.empty([N, R]);
  using argmax = runtime.empty([R], 'i32');
  let last: Tensor | null = null;
  for (const [n, state] of exits.entries()) {
    using read = finish(state);
    using normal = heads.normalise(read, n);
    using weights = runtime.empty([R]);
    backend.fill(weights.storage, weight * share[n]);
    last?.dispose();
    last = headLoss(normal, heads.weight(n), target, weights, argmax);
    const cost = backend.slice(costs.storage, n * R, R);
    if (objective.oracle === 'likelihood') backend.copy(cost, last.storage);
    else backend.differ({ out: cost, a: argmax.storage, b: target.storage });
  }
  if (!learned) return new LossOutput(last!, null, null);
  using oracle = runtime.empty([R], 'i32');
  backend.oracle({
    exits: oracle.storage,
    costs: costs.storage,
    B: R / ctx.batch.T,
    T: ctx.batch.T,
    N,
    lambda: objective.oracleLambda,
    sigma: objective.oracleSigma,
    perSequence: learned.perSequence,
  });
  return new LossOutput(last!, learned.learn(exits, oracle, lossScale, ctx), null);
}

/** The head's reading at one exit, row by row (R). */
export interface ExitReading {
  readonly losses: Float32Array;
  readonly argmax: Int32Array;
  readonly maxProb: Float32Array;
  /** The state itself (R, C), before a coda. */
  readonly state: Float32Array;
  /** The values of the criteria of the same names, over all streams (R); null when there is nothing to compare. */
  readonly change: Float32Array | null;
  readonly secondDifference: Float32Array | null;
  /** The logits (R, V), if requested. */
  readonly logits: Float32Array | null;
}

/** The head's readings at every exit; for a depth without exits, at its end. */
export async function readExits(
  { x, exits, entry, streams, finish }: DepthOutput,
  heads: ExitHeads,
  target: Tensor,
  wantLogits: boolean,
): Promise<ExitReading[]> {
  const { runtime, size: R } = target;
  using weights = runtime.empty([R]);
  using argmax = runtime.empty([R], 'i32');
  using maxProb = runtime.empty([R]);
  const [first = entry, ...later] = streams;
  using steps = first && new Movement(first, 1);
  using turns = first && new Movement(first, 2);
  const readings: ExitReading[] = [];
  for (const [n, state] of (exits.length > 0 ? exits : [x]).entries()) {
    using read = finish(state);
    using normal = heads.normalise(read, n);
    using losses = headLoss(normal, heads.weight(n), target, weights, argmax, maxProb);
    using y = wantLogits ? logits(normal, heads.weight(n)) : null;
    using change = steps?.of(later[n] ?? state) ?? null;
    using turned = turns?.of(later[n] ?? state) ?? null;
    readings.push({
      losses: (await losses.read()) as Float32Array,
      argmax: (await argmax.read()) as Int32Array,
      maxProb: (await maxProb.read()) as Float32Array,
      state: (await state.read()) as Float32Array,
      change: change && ((await change.read()) as Float32Array),
      secondDifference: turned && ((await turned.read()) as Float32Array),
      logits: y && ((await y.read()) as Float32Array),
    });
  }
  return readings;
}

/** Rows (ascending), the token to score after each row, and whether to return the logits too. */
export interface ScoredRows {
  readonly rows: Int32Array;
  readonly targets: Int32Array;
  readonly wantLogits: boolean;
}

/** The scores of those rows, in their order. */
export type RowScores = Pick<ExitReading, 'losses' | 'argmax' | 'maxProb' | 'logits'>;

/** The probability of a token after each of some rows; `exitOf` gives the exit, from 0, at which a row is read. */
export async function scoreRows(
  { x }: DepthOutput,
  heads: ExitHeads,
  { rows, targets, wantLogits }: ScoredRows,
  exitOf: (row: number) => number,
): Promise<RowScores> {
  const { runtime } = x;
  const R = rows.length;
  const V = heads.weight(heads.count - 1).shape[0];
  const losses = new Float32Array(R);
  const argmax = new Int32Array(R);
  const maxProb = new Float32Array(R);
  const all = wantLogits ? new Float32Array(R * V) : null;
  const byExit = new Map<number, number[]>();
  for (const [i, row] of rows.entries()) {
    const exit = exitOf(row);
    const places = byExit.get(exit);
    if (places) places.push(i);
    else byExit.set(exit, [i]);
  }
  for (const [exit, places] of byExit) {
    const at = (values: Int32Array) =>
      runtime.from(
        Int32Array.from(places, (i) => values[i]),
        [places.length],
      );
    using index = at(rows);
    using target = at(targets);
    using states = gatherRows(x, index);
    using normal = heads.normalise(states, exit);
    using weights = runtime.empty([places.length]);
    using best = runtime.empty([places.length], 'i32');
    using highest = runtime.empty([places.length]);
    using loss = headLoss(normal, heads.weight(exit), target, weights, best, highest);
    using y = wantLogits ? logits(normal, heads.weight(exit)) : null;
    const read = { losses: await loss.read(), argmax: await best.read(), maxProb: await highest.read() };
    const found = y && ((await y.read()) as Float32Array);
    for (const [k, i] of places.entries()) {
      losses[i] = read.losses[k];
      argmax[i] = read.argmax[k];
      maxProb[i] = read.maxProb[k];
      if (found) all!.set(found.subarray(k * V, k * V + V), i * V);
    }
  }
  return { losses, argmax, maxProb, logits: all };
}
