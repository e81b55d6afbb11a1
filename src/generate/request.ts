/** The request for a generation, and its results. It must not import the engine. */
import type { SequenceOptions } from './decoder.js';
import type { SamplingOptions } from './sampler.js';
import type { DraftOptions } from './speculation.js';

export interface GenerationRequest extends SamplingOptions, SequenceOptions {
  /** Token ids, at least one and at most the block size; one more if `maxTokens` is 0. */
  readonly prompt: ArrayLike<number>;
  /** Maximum of tokens to generate; 0 to score the prompt only. */
  readonly maxTokens: number;
  /** Texts before which generation stops; they are not part of the answer. */
  readonly stop?: readonly string[];
  /** How many of the most probable tokens to report at each place; absent for no log-probabilities. */
  readonly topLogprobs?: number;
  /**
   * Reports the prompt's tokens too, from this place on, before the generated ones, with their log-probabilities if
   * `topLogprobs` is set. Absent for none.
   */
  readonly echo?: number;
  /** Drafts tokens with fewer loops; changes the time of an answer, never the answer. */
  readonly draft?: DraftOptions;
}

/** A candidate at one place. */
export interface TokenLogprob {
  readonly id: number;
  /** Natural logarithm of its probability in the model's own distribution, before any sampling option. */
  readonly logprob: number;
}

export interface GeneratedToken {
  readonly id: number;
  /** The text that is now certain to belong to the answer; empty inside a character or a possible stop text. */
  readonly text: string;
  /** As in TokenLogprob; null if `topLogprobs` is absent, and for the first token of a prompt. */
  readonly logprob: number | null;
  /** The most probable tokens in falling order; null likewise. */
  readonly top: readonly TokenLogprob[] | null;
  /** Loops, steps or layers that the model spent on this token; 0 for a prompt token. */
  readonly steps: number;
  /** Whether it is a token of the prompt. */
  readonly echoed: boolean;
}

export type StopReason = 'tokens' | 'end of text' | 'stop text' | 'block size' | 'aborted';

/** How a generation ended. */
export interface GenerationEnd {
  readonly reason: StopReason;
  /** Text that was held back and belongs to the answer after all. */
  readonly text: string;
  readonly promptTokens: number;
  /** Generated tokens, without an end-of-text token. */
  readonly tokens: number;
  /** Loops, steps or layers spent on the generated tokens. */
  readonly steps: number;
  /** Drafted tokens up to the answer's end, and how many of them were accepted. */
  readonly drafted: number;
  readonly accepted: number;
}
