/** The messages between the page and its worker. */
import type { Inspection } from '../../experiments/inspect.js';
import type { ExitCriterion } from '../../models/exits/options.js';
import type { ModelConfig } from '../../models/config.js';

/** A file of a run that was dropped or chosen, with its path, which begins with the folder's name. */
export interface GivenFile {
  readonly path: string;
  readonly file: File;
}

/** The gates of a model that lie in one parameter: `values (loops, width)`. */
export interface Gates {
  readonly name: string;
  readonly loops: number;
  readonly width: number;
  readonly values: Float32Array;
}

/** The engine: a GPU by its name, or a number of threads. */
export type Engine = { readonly gpu: string } | { readonly threads: number };

export interface ModelFacts {
  readonly config: ModelConfig;
  /** The update that the weights are from. */
  readonly step: number;
  readonly parameters: number;
  /** Number of exits: states that the head can read, one after each loop. */
  readonly exits: number;
  readonly gates: readonly Gates[];
  /** The criteria by which tokens can exit early. */
  readonly criteria: readonly ExitCriterion[];
  /** Why no token can exit early; null if tokens can. */
  readonly noExits: string | null;
  readonly engine: Engine;
  /** Whether the page's workers share memory; if not, there is one thread. */
  readonly sharesMemory: boolean;
}

/** A text run with early exits at one threshold, measured. */
export interface ExitRun {
  /** Null at full depth, and if the criterion has none. */
  readonly threshold: number | null;
  /** Loops that each token took. */
  readonly loops: Int32Array;
  /** Loss of the token after each token, in nats. */
  readonly losses: Float32Array;
  /** Means over the tokens that another token follows. */
  readonly meanLoops: number;
  readonly loss: number;
}

export interface ExitRuns {
  readonly tokens: readonly string[];
  /** Tokens at the text's end that are not read. */
  readonly leftOut: number;
  /** The loss if every token takes 1, 2, … loops. */
  readonly fixed: readonly number[];
  /** Full depth first, then by falling mean loops. */
  readonly runs: readonly ExitRun[];
}

/** Questions to the worker, and its answers. */
export interface Asked {
  /** Null for the model that comes with the page. */
  readonly load: { readonly question: readonly GivenFile[] | null; readonly answer: ModelFacts };
  readonly inspect: { readonly question: { readonly text: string }; readonly answer: Inspection };
  /** Attention weights (heads, T, T) of the last block of a loop, counted from 1; null if there are none. */
  readonly attention: {
    readonly question: { readonly text: string; readonly loop: number };
    readonly answer: Float32Array | null;
  };
  readonly exits: {
    readonly question: { readonly text: string; readonly criterion: ExitCriterion };
    readonly answer: ExitRuns;
  };
  /** The text comes in parts as it is made; the answer says why the text ended. */
  readonly generate: {
    readonly question: { readonly text: string; readonly loops: number; readonly temperature: number };
    readonly answer: string;
  };
}
export type Kind = keyof Asked;

export type Request = {
  readonly [K in Kind]: { readonly id: number; readonly kind: K; readonly question: Asked[K]['question'] };
}[Kind];
export interface Cancel {
  readonly cancel: number;
}

/** An answer, a part of one, or an error in words. */
export type Reply =
  | { readonly id: number; readonly answer: unknown }
  | { readonly id: number; readonly part: string }
  | { readonly id: number; readonly error: string };
