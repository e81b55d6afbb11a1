/**
 * The contract of a halting rule that picks an exit for each row. ACT, which averages the exits, is a separate walker.
 */
import type { Tensor } from '../../tensor/tensor.js';
import type { ForwardContext } from '../context.js';
import type { RunningRows } from '../running-rows.js';

/** Stops rows at exits, outside training. */
export interface ExitRule {
  /** Begins a pass from `entry (R, C)`, the first step's input; `threshold` is the rule's own by default. */
  start(entry: Tensor, ctx: ForwardContext, threshold: number | undefined): ExitDecision;
}

/** The rule's memory of one pass. */
export interface ExitDecision extends Disposable {
  /**
   * Clears the elements of `mask (R)` for the rows that exit at exit n with `state (R, C)`. `running` has the rows that
   * run until then (null for all). Never called for the last exit.
   */
  decide(mask: Tensor, state: Tensor, n: number, running: RunningRows | null): void;
}

/** A rule that learns from an oracle which exit is right. */
export interface LearnedRule extends ExitRule {
  /** Whether the oracle decides for whole sequences. */
  readonly perSequence: boolean;
  /**
   * Records the cross-entropy with the oracle's `exits (R)`, as a mean over rows, times `lossScale`; `states` are those
   * at all exits. Returns the cross-entropy of each row (R). It passes no gradient to the states.
   */
  learn(states: readonly Tensor[], exits: Tensor, lossScale: number, ctx: ForwardContext): Tensor;
}
