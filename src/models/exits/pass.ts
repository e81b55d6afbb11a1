/** The three ways to run a model: a pass learns, scores or decodes. A field that a kind lacks means nothing there. */
import type { Tensor } from '../../tensor/tensor.js';
import type { ContextOptions } from '../context.js';
import type { Objective } from './objective.js';
import type { ExitOptions } from './options.js';

/** A pass that learns, while a tape records; no rule stops a row. */
export interface TrainPass extends ContextOptions {
  /** Only the last so many loops pass gradients back; 0 or absent for all. */
  readonly backpropLoops?: number;
  /** What is learned beyond the loss at the end. */
  readonly objective?: Objective;
}

/** A pass that finds the losses of given targets. */
export interface ScorePass extends Pick<ContextOptions, 'loops'> {
  /** Whether a halting rule may stop rows early; true by default. */
  readonly earlyExit?: boolean;
  /** By what rows leave early; the model's own halting rule, where it has one, by default. */
  readonly exit?: ExitOptions;
  /** Whether to say which rows' most probable token is not their target. */
  readonly findWrong?: boolean;
}

/** A pass that finds what follows new tokens. */
export interface DecodePass extends Pick<ScorePass, 'loops' | 'exit'> {
  /** Where the walk begins, in place of its first state; without halting. */
  readonly from?: Waypoint;
  /** Sees the state after the last step (R, C), before a coda; without halting. */
  readonly onLastState?: (state: Tensor) => void;
}

/** The state (R, C) that so many steps left, for a pass with more steps to go on from. */
export interface Waypoint {
  readonly steps: number;
  readonly state: Tensor;
}

/** A pass of any kind, as those see it who carry it out. */
export interface Pass extends TrainPass, ScorePass, DecodePass {
  /** Whether to keep the state at every exit, none of which stops a row. */
  readonly everyExit?: boolean;
  /** Factor on what the walk adds to the loss; 1 by default. */
  readonly lossScale?: number;
}
