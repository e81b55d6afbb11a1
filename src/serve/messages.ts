/** The messages between the HTTP thread and the engine's thread. */
import type { LoadOptions } from '../node/run.js';
import type { SentError } from '../node/thread-errors.js';
import type { GenerationEnd, GenerationRequest } from '../generate/request.js';
import type { ModelConfig } from '../models/config.js';
import type { TokenNames } from '../tokenizer/special-tokens.js';

/** The start data of the engine's thread. */
export interface EngineOptions {
  /** Folder of the run. */
  readonly folder: string;
  /** How it is opened. */
  readonly run: Omit<LoadOptions, 'onWarning'>;
  /**
   * A chat template in Jinja that overrides the model's own; null for the model's own, or a plain dialogue without one.
   */
  readonly chatTemplate: string | null;
  /** Loops, steps or layers for each token of requests without the field; null for all. */
  readonly loops: number | null;
  /** Sequences that run at once. */
  readonly maxSequences: number;
}

export interface ChatMessage {
  readonly role: 'system' | 'developer' | 'user' | 'assistant' | 'tool';
  readonly content: string;
}

/** A prompt as it was sent: it is encoded in the engine's thread, because that may take long. */
export type Prompt =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'ids'; readonly ids: Int32Array }
  | { readonly kind: 'chat'; readonly messages: readonly ChatMessage[] };

export type GenerationOptions = Omit<GenerationRequest, 'prompt'>;

/** One answer to generate. */
export interface Task {
  readonly prompt: Prompt;
  readonly options: GenerationOptions;
}

/** A token by its bytes, which may be a part of a character. */
export interface BytesLogprob {
  readonly bytes: readonly number[];
  readonly logprob: number;
}

export interface ServedLogprobs {
  readonly bytes: readonly number[];
  /** Null for the first token of a prompt, which nothing comes before. */
  readonly logprob: number | null;
  /** Code points of the answer's text before the token; before the character of which it is a part. */
  readonly offset: number;
  readonly top: readonly BytesLogprob[];
  /** Loops, steps or layers spent on the token; 0 for one of the prompt. */
  readonly loops: number;
}

/** A generated token, or an echoed one of the prompt. */
export interface ServedToken {
  /** The text that is now certain to belong to the answer. */
  readonly text: string;
  /** The token and the most probable ones in its place; null unless requested. */
  readonly logprobs: ServedLogprobs | null;
  /** Loops, steps or layers spent on it; 0 for one of the prompt. */
  readonly steps: number;
  /** Whether it is a token of the prompt. */
  readonly echoed: boolean;
}

/** An event of the task with number `id`. */
export type TaskEvent = { readonly id: number } & (
  | { readonly token: ServedToken }
  | { readonly end: GenerationEnd }
  | { readonly error: SentError }
);

/** Facts of a loaded model. */
export interface ModelInfo {
  readonly config: ModelConfig;
  /** Update that the weights are from. */
  readonly step: number;
  /** The backend, in one line. */
  readonly backend: string;
  /** As EngineOptions has it. */
  readonly loops: number | null;
  /** Ids of the tokenizer, as far as the model has them. */
  readonly vocabSize: number;
  /** Differs if answers to the same request may differ: by the weights, the tokenizer, the template or the backend. */
  readonly fingerprint: string;
  /** The special tokens by their names in templates. */
  readonly tokens: TokenNames;
  /** The chat template in Jinja; null for a plain dialogue. */
  readonly chatTemplate: string | null;
}

/** A question to the tokenizer: a prompt's ids, or the text of ids. */
export type Question = { readonly encode: Prompt } | { readonly decode: Int32Array };
/** Its answer: ids with their texts, or a text. */
export interface Encoded {
  readonly ids: readonly number[];
  readonly texts: readonly string[];
}

/** Numbers of sequences that run, and that wait for a place. */
export interface Load {
  readonly running: number;
  readonly waiting: number;
}

/** A task and its number. */
export interface NumberedTask {
  readonly id: number;
  readonly task: Task;
}

/** All tasks of a request are one message, so that a prompt that they share is sent once. */
export type ToEngine =
  | { readonly kind: 'generate'; readonly tasks: readonly NumberedTask[] }
  | { readonly kind: 'abort'; readonly id: number }
  | { readonly kind: 'ask'; readonly id: number; readonly question: Question }
  | { readonly kind: 'close' };

export type FromEngine =
  | { readonly kind: 'notice'; readonly line: string }
  | { readonly kind: 'ready'; readonly info: ModelInfo }
  | { readonly kind: 'failed'; readonly error: SentError }
  | {
      readonly kind: 'answer';
      readonly id: number;
      readonly answer: Encoded | string | { readonly error: SentError };
    }
  | { readonly kind: 'events'; readonly load: Load; readonly events: readonly TaskEvent[] };
