/** The contract of a halting rule that picks an exit for each row. ACT, which averages the exits, is a walker of its own. */
import type { Tensor } from '../../tensor/tensor.js';
import type { ForwardContext } from '../context.js';
import type { RunningRows } from '../running-rows.js';

/** Stops rows at exits, outside training. */
export interface ExitRule {
  /** Begins a pass, from the state `entry (R, C)` that the first step is given; the rule's own threshold where none is named. */
  start(entry: Tensor, ctx: ForwardContext, threshold: number | undefined): ExitDecision;
}

/** The rule's memory of one pass. */
export interface ExitDecision extends Disposable {
  /**
   * Clears the elements of `mask (R)` whose rows leave at exit n with `state (R, C)`, of those that were running until then
   * (null for all); never called for the last exit.
   */
  decide(mask: Tensor, state: Tensor, n: number, running: RunningRows | null): void;
}

/** A rule that learns from an oracle which exit is right. */
export interface LearnedRule extends ExitRule {
  /** Whether the oracle decides for whole sequences. */
  readonly perSequence: boolean;
  /**
   * Records the cross-entropy with the oracle's `exits (R)`, as a mean over rows, times `lossScale`; `states` are those of
   * all exits. Returns it row by row (R). The states themselves learn nothing from it.
   */
  learn(states: readonly Tensor[], exits: Tensor, lossScale: number, ctx: ForwardContext): Tensor;
}
