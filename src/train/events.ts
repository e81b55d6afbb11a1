/** The events of a training. */
import type { GateSummary } from '../evaluate/gates.js';
import type { LoopParts } from '../evaluate/loop-parts.js';
import type { CheckpointKind } from './checkpoint.js';

/** One update was made. */
export interface StepEvent {
  readonly kind: 'step';
  /** Updates made so far. */
  readonly step: number;
  /** Mean training loss of the step's batches, nats per token. */
  readonly loss: number;
  readonly lr: number;
  /** Norm of the gradient before clipping. */
  readonly gradNorm: number;
  readonly stepMs: number;
  readonly tokensPerSecond: number;
  readonly tokensSeen: number;
  /** With several processes: milliseconds that this one waited for others' gradients; absent for one process. */
  readonly waitMs?: number;
  /** Loops of the update; absent if no schedule changes them. */
  readonly loops?: number;
  /** Mean of halting's term: ACT's ponder cost in steps, or nats against the oracle; absent for none. */
  readonly auxLoss?: number;
  /** Mean steps before a token halted; absent if none can. */
  readonly meanSteps?: number;
}

/** Both splits were evaluated on fixed batches. */
export interface EvalEvent {
  readonly kind: 'eval';
  readonly step: number;
  /** Nats per token; of the weights' average, if there is one. */
  readonly trainLoss: number;
  readonly valLoss: number;
  /**
   * The validation loss of the weights behind the average, from which training continues; absent without an average.
   */
  readonly plainValLoss?: number;
  readonly tokensSeen: number;
  /** Whether this is the run's lowest validation loss so far, with the same number of loops. */
  readonly best: boolean;
  /** Loops of both losses, those of the last update; absent if no schedule changes them. */
  readonly loops?: number;
  /** Mean steps before a token of the validation batches halted; absent if none can. */
  readonly meanSteps?: number;
  /** Losses on the same validation batches with other loop counts for every token; absent unless requested. */
  readonly lossByLoops?: readonly { readonly loops: number; readonly valLoss: number }[];
  /** Learned gates by parameter name, one summary per loop; absent if the model has none. */
  readonly gates?: Readonly<Record<string, readonly GateSummary[]>>;
  /** Learned values of recipes for loops; absent if the model has none. */
  readonly loopParts?: LoopParts;
  /** Root mean square of the state after each loop (step, layer), on a validation batch; absent for a single loop. */
  readonly stateRms?: readonly number[];
  /** A text that the model generates; absent unless requested, and if the data has no tokenizer. */
  readonly sample?: string;
  /** Resident memory of the process; absent if the environment does not report it. */
  readonly memoryBytes?: number;
}

/** The environment's additions to an evaluation. */
export type EvalNotes = Pick<EvalEvent, 'sample' | 'memoryBytes'>;

export interface CheckpointEvent {
  readonly kind: 'checkpoint';
  readonly step: number;
  readonly which: CheckpointKind;
}

/** The run ended: all steps are done, or its signal was aborted. */
export interface EndEvent {
  readonly kind: 'done' | 'stopped';
  readonly step: number;
}

export type TrainEvent = StepEvent | EvalEvent | CheckpointEvent | EndEvent;
