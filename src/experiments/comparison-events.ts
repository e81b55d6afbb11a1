/** The events of a comparison. */
import type { TrainEvent } from '../train/events.js';
import type { Entrant } from './entrants.js';
import type { RunResult } from './result.js';
import type { Fields, SuiteModel } from './suites.js';

export type ComparisonEvent = Happening & {
  /** The process where it happened, if that is another one. */
  readonly rank?: number;
};

type Happening =
  | { readonly kind: 'start'; readonly entrant: Entrant; readonly step: number }
  /** Of other processes, their evaluations alone. */
  | { readonly kind: 'train'; readonly entrant: Entrant; readonly event: TrainEvent }
  /** The log of a run that goes on is not whole: in words, which name the file. */
  | { readonly kind: 'gaps'; readonly entrant: Entrant; readonly gaps: string }
  /** A pilot is over, now or in an earlier call; null if it failed. */
  | { readonly kind: 'pilot'; readonly entrant: Entrant; readonly valLoss: number | null }
  | { readonly kind: 'tuned'; readonly model: SuiteModel; readonly fields: Fields; readonly pilots: Pilots }
  | { readonly kind: 'failed'; readonly entrant: Entrant; readonly error: Error }
  | { readonly kind: 'result'; readonly entrant: Entrant; readonly result: RunResult }
  /** A signal ended it, here or in another process. */
  | { readonly kind: 'stopped'; readonly entrant: Entrant };

/** Validation losses of a model's pilots by their fields of the grid; null if one failed. */
export type Pilots = readonly { readonly fields: Fields; readonly valLoss: number | null }[];
