/** The three ways to run a model: a pass learns, scores or decodes. A kind of pass ignores the fields that it lacks. */
import type { Tensor } from '../../tensor/tensor.js';
import type { ContextOptions } from '../context.js';
import type { Objective } from './objective.js';
import type { ExitOptions } from './options.js';

/** A training pass, while a tape records; no halting rule stops a row. */
export interface TrainPass extends ContextOptions {
  /** Number of last loops that pass gradients back; 0 or absent for all. */
  readonly backpropLoops?: number;
  /** What is learned besides the loss at the end. */
  readonly objective?: Objective;
}

/** A pass that computes the losses of given targets. */
export interface ScorePass extends Pick<ContextOptions, 'loops'> {
  /** Whether a halting rule may stop rows early; true by default. */
  readonly earlyExit?: boolean;
  /** How rows exit early; by default the model's own halting rule, if it has one. */
  readonly exit?: ExitOptions;
  /** Whether to report the rows whose most probable token is not their target. */
  readonly findWrong?: boolean;
}

/** A pass that predicts what follows new tokens. */
export interface DecodePass extends Pick<ScorePass, 'loops' | 'exit'> {
  /** Where the walk begins instead of its first state; without halting. */
  readonly from?: Waypoint;
  /** Receives the state after the last step (R, C), before a coda; without halting. */
  readonly onLastState?: (state: Tensor) => void;
}

/** The state (R, C) after some steps, from which a pass with more steps can continue. */
export interface Waypoint {
  readonly steps: number;
  readonly state: Tensor;
}

/** A pass of any kind, as the code that runs it sees it. */
export interface Pass extends TrainPass, ScorePass, DecodePass {
  /** Whether to keep the state at every exit, and stop no row. */
  readonly everyExit?: boolean;
  /** Factor on the walk's part of the loss; 1 by default. */
  readonly lossScale?: number;
}
