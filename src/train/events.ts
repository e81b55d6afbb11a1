/** What a training tells of itself. */
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
  /** Of many processes: milliseconds that this one waited for others' gradients; absent where it is alone. */
  readonly waitMs?: number;
  /** Loops of the update; absent where no schedule changes them. */
  readonly loops?: number;
  /** Mean of what halting adds: ACT's ponder cost in steps, or nats against the oracle; absent where it adds nothing. */
  readonly auxLoss?: number;
  /** Mean steps before a token halted; absent where none can. */
  readonly meanSteps?: number;
}

/** Both splits were evaluated on fixed batches. */
export interface EvalEvent {
  readonly kind: 'eval';
  readonly step: number;
  /** Nats per token; of the weights' average, where one is kept. */
  readonly trainLoss: number;
  readonly valLoss: number;
  /** The validation loss of the weights behind the average, from which training goes on; absent where none is kept. */
  readonly plainValLoss?: number;
  readonly tokensSeen: number;
  /** Whether this is the run's lowest validation loss so far, with as many loops. */
  readonly best: boolean;
  /** Loops of both losses, those of the last update; absent where no schedule changes them. */
  readonly loops?: number;
  /** Mean steps before a token of the validation batches halted; absent where none can. */
  readonly meanSteps?: number;
  /** Losses on the same validation batches with so many loops for every token; absent where not asked for. */
  readonly lossByLoops?: readonly { readonly loops: number; readonly valLoss: number }[];
  /** Learned gates by parameter name, one summary a loop; absent where the model has none. */
  readonly gates?: Readonly<Record<string, readonly GateSummary[]>>;
  /** What recipes for loops have learned; absent where the model has none. */
  readonly loopParts?: LoopParts;
  /** Root mean square of the state after each loop (step, layer), on a validation batch; absent for a single one. */
  readonly stateRms?: readonly number[];
  /** What the model writes; absent where nobody asked, or no tokenizer came with the data. */
  readonly sample?: string;
  /** Resident memory of the process; absent where the environment does not tell. */
  readonly memoryBytes?: number;
}

/** What the environment adds to an evaluation. */
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
