/**
 * What the server of `loopnn watch` tells its page, one JSON document a server-sent event. Types, and names; knows
 * neither
 * files nor sockets, so that the page imports it too.
 */
import type { GateSummary } from '../evaluate/gates.js';
import type { EvalEvent } from '../train/events.js';

/** What is kept of each update, or of each group of them; `ms` is the time in updates since the run began. */
export const COLUMNS = [
  'step',
  'tokens',
  'ms',
  'loss',
  'lr',
  'gradNorm',
  'tokensPerSecond',
  'meanSteps',
] as const;
export type Column = (typeof COLUMNS)[number];

/** A value for each row; null if the log has none. */
export type Columns = Readonly<Record<Column, readonly (number | null)[]>>;

/** An evaluation, with the time in updates before it. */
export type Evaluated = Omit<EvalEvent, 'kind' | 'tokensSeen' | 'gates' | 'loopParts'> & {
  readonly tokens: number;
  readonly ms: number;
  /** The mean of each loop's gate over channels, by parameter. */
  readonly gates?: Readonly<Record<string, readonly { readonly mean: number }[]>>;
  readonly loopParts?: Readonly<Record<string, readonly Pick<GateSummary, 'mean' | 'min' | 'max'>[]>>;
};

/** A process holds the folder; all updates are made; neither; or the comparison says that it diverged. */
export type RunState = 'running' | 'finished' | 'stopped' | 'failed';

export interface RunInfo {
  readonly id: string;
  /** Its folder, below the one that was given. */
  readonly name: string;
  readonly state: RunState;
  /** Updates made, according to the log. */
  readonly step: number;
  readonly maxSteps: number | null;
  /** Fields of `config.json`, as they stand there. */
  readonly model: Readonly<Record<string, unknown>>;
  readonly train: Readonly<Record<string, unknown>>;
  /** Null if this version can not read the configuration. */
  readonly parameters: number | null;
  /** Of training, forward and backward; the mean of all updates. */
  readonly flopsPerToken: number | null;
  /** Where a schedule changes the loops: FLOPs of the first updates up to each change, and up to the end. */
  readonly flopsUntil?: readonly { readonly step: number; readonly flops: number }[];
  /** Updates that a row of the log's columns stands for: long logs are shown by their means. */
  readonly stepsPerRow: number;
  /** Lines of the log that are no event, or one that came before. */
  readonly damaged: number;
  /** Why it failed. */
  readonly failure?: string;
  /** Of a finished run: its losses on held-out text, and where it was trained. */
  readonly result?: {
    readonly valLoss: number;
    readonly bpb: number | null;
    readonly meanSteps: number | null;
    readonly machine: string;
    readonly backend: string;
    readonly commit: string;
  };
}

export type Message =
  /** The first: another `boot` is another server. */
  | { readonly kind: 'hello'; readonly boot: string; readonly folders: readonly string[] }
  | { readonly kind: 'run'; readonly run: RunInfo }
  /** Rows from a place on; from 0 on they replace all there were. */
  | { readonly kind: 'rows'; readonly id: string; readonly from: number; readonly columns: Columns }
  | {
      readonly kind: 'evals';
      readonly id: string;
      readonly from: number;
      readonly evals: readonly Evaluated[];
    }
  | { readonly kind: 'gone'; readonly id: string }
  /** All existing data has been sent; what follows is new. */
  | { readonly kind: 'complete'; readonly runs: number };

/** Where the page gets them: below its own address, which a proxy may put anywhere. */
export const EVENTS_PATH = 'api/events';
