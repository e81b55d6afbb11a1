/** The commands that the page sends to the race’s worker, and the events that come back. */
import type { Engine } from '../messages.js';
import type { EntrantCost, SizeName } from './entrants.js';

export interface RaceText {
  readonly name: string;
  readonly text: string;
}

export type RaceCommand =
  /** Asks for the kept race. */
  | { readonly kind: 'look' }
  | { readonly kind: 'start'; readonly text: RaceText; readonly size: SizeName; readonly maxSteps?: number }
  | { readonly kind: 'resume' }
  | { readonly kind: 'pause' }
  | { readonly kind: 'continue' }
  | { readonly kind: 'save' };

/** The description of a race, which is kept beside its runs. */
export interface KeptRace {
  readonly textName: string;
  readonly size: SizeName;
  readonly maxSteps: number;
}

export interface FoundRace extends KeptRace {
  /** The step of the entrant that is furthest behind. */
  readonly step: number;
}

export interface BegunRace extends KeptRace {
  readonly costs: readonly EntrantCost[];
  readonly trainTokens: number;
  readonly valTokens: number;
  readonly vocabSize: number;
  readonly engine: Engine;
}

/** An update or an evaluation of one entrant. */
export type Point = { readonly entrant: number; readonly step: number } & (
  | { readonly loss: number; readonly stepMs: number; readonly tokensSeen: number }
  | { readonly valLoss: number }
);

export type RaceEvent =
  | { readonly kind: 'found'; readonly race: FoundRace | null }
  | { readonly kind: 'begun'; readonly race: BegunRace }
  | { readonly kind: 'points'; readonly points: readonly Point[] }
  | {
      readonly kind: 'sample';
      readonly entrant: number;
      readonly step: number;
      readonly prompt: string;
      readonly text: string;
    }
  | { readonly kind: 'status'; readonly status: 'preparing' | 'running' | 'pausing' | 'paused' | 'done' }
  | { readonly kind: 'note'; readonly text: string }
  | { readonly kind: 'saved'; readonly zip: Uint8Array<ArrayBuffer> }
  | { readonly kind: 'failed'; readonly message: string };
