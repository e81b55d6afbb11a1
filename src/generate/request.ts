/** What is asked of a generation, and what comes of it. Knows no engine. */
import type { SequenceOptions } from './decoder.js';
import type { SamplingOptions } from './sampler.js';
import type { DraftOptions } from './speculation.js';

export interface GenerationRequest extends SamplingOptions, SequenceOptions {
  /** Token ids, at least one and at most the block size; one more where `maxTokens` is 0. */
  readonly prompt: ArrayLike<number>;
  /** Most tokens to make; 0 to be told of the prompt only. */
  readonly maxTokens: number;
  /** Texts before which generation stops; they are not part of the answer. */
  readonly stop?: readonly string[];
  /** How many of the most probable tokens to tell at each place; absent for no log-probabilities at all. */
  readonly topLogprobs?: number;
  /**
   * Tells the prompt's tokens too, from this place on, before those that are made; how probable they are, where
   * `topLogprobs` asks for that. Absent for none of them.
   */
  readonly echo?: number;
  /** Drafts tokens with fewer loops; changes the time an answer takes, never the answer. */
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
  /** As TokenLogprob has it; null where `topLogprobs` is absent, and for the first token of a prompt. */
  readonly logprob: number | null;
  /** The most probable tokens in falling order; null likewise. */
  readonly top: readonly TokenLogprob[] | null;
  /** Loops, steps or layers that the model spent on this token; 0 for one of the prompt. */
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
  /** Tokens made, an end-of-text token not counted. */
  readonly tokens: number;
  /** Loops, steps or layers spent on the tokens made. */
  readonly steps: number;
  /** Tokens that were drafted, but for those beyond the answer's end, and how many of them stood. */
  readonly drafted: number;
  readonly accepted: number;
}
