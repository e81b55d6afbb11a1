/**
 * Draws tokens from logits by the sampling options, in their order. The arithmetic is in `candidates.ts`.
 *
 * The order is that of Hugging Face's processors, with OpenAI's penalties where vLLM has them: logitBias,
 * repetitionPenalty, frequencyPenalty and presencePenalty; then temperature, topK, topP, minP, each among the tokens
 * that the former ones keep.
 */
import { ConfigError } from '../errors.js';
import { hashWords } from '../random.js';
import type { Candidates } from './candidates.js';

export interface SamplingOptions {
  /**
   * Divides the scores; 0 always takes the most probable token, and 1, the default, is the model's own distribution.
   */
  readonly temperature?: number;
  /** Only the k most probable tokens. */
  readonly topK?: number;
  /**
   * Only the fewest most probable tokens that together reach probability p (Holtzman et al. 2019, arXiv 1904.09751).
   */
  readonly topP?: number;
  /** Only tokens at least `minP` times as probable as the most probable one (Nguyen et al. 2024, arXiv 2407.01082). */
  readonly minP?: number;
  /**
   * Divides positive scores of tokens in the prompt or answer, multiplies negative ones (Keskar et al. 2019, arXiv
   * 1909.05858).
   */
  readonly repetitionPenalty?: number;
  /** Subtracted from a token's score for each occurrence in the answer (OpenAI's API). */
  readonly frequencyPenalty?: number;
  /** Subtracted once from the score of every token in the answer (OpenAI's API). */
  readonly presencePenalty?: number;
  /** Added to the scores of single ids; −Infinity for never. */
  readonly logitBias?: Readonly<Record<number, number>>;
  /**
   * Seed of the random numbers, any safe integer: the same seed and prompt give the same text. 1337 by default.
   */
  readonly seed?: number;
}

const DEFAULT_SEED = 1337;

/** Draws the tokens of one sequence. */
export class Sampler {
  private readonly bias: readonly (readonly [id: number, bias: number])[];
  /** Occurrences of each token in the answer, 0 for prompt tokens; null if no penalty needs them. */
  private readonly counts: Map<number, number> | null;

  /**
   * `candidates` has the vocabulary's size and may be shared by samplers that take turns.
   * Throws ConfigError for options outside their range.
   */
  constructor(
    private readonly options: SamplingOptions,
    prompt: ArrayLike<number>,
    private readonly candidates: Candidates,
  ) {
    const V = candidates.scores.length;
    checkSampling(options, V);
    this.bias = Object.entries(options.logitBias ?? {}).map(([id, bias]) => [Number(id), bias]);
    const { repetitionPenalty = 1, frequencyPenalty = 0, presencePenalty = 0 } = options;
    const penalised = repetitionPenalty !== 1 || frequencyPenalty !== 0 || presencePenalty !== 0;
    this.counts = penalised ? new Map() : null;
    if (repetitionPenalty === 1) return;
    for (let i = 0; i < prompt.length; i++) if (prompt[i] < V) this.counts!.set(prompt[i], 0);
  }

  /**
   * Draws the token at place `position` of the sequence from `logits (V)`: a function of these, the seed and the tokens
   * taken before. Ties go to the lower id. Throws CheckpointError if logits are not finite, ConfigError if logitBias
   * leaves no token.
   */
  draw(logits: Float32Array, position: number): number {
    this.candidates.reset(logits);
    this.adjust();
    return this.choose(position);
  }

  /** Counts a token of the answer, for the penalties. The returned function undoes that; undo the last token first. */
  take(id: number): () => void {
    const { counts } = this;
    if (!counts) return () => {};
    const before = counts.get(id);
    counts.set(id, (before ?? 0) + 1);
    return () => (before === undefined ? counts.delete(id) : counts.set(id, before));
  }

  private adjust(): void {
    const { scores } = this.candidates;
    const { repetitionPenalty = 1, frequencyPenalty = 0, presencePenalty = 0 } = this.options;
    for (const [id, bias] of this.bias) scores[id] += bias;
    for (const [id, count] of this.counts ?? []) {
      const score = scores[id] > 0 ? scores[id] / repetitionPenalty : scores[id] * repetitionPenalty;
      scores[id] = count > 0 ? score - count * frequencyPenalty - presencePenalty : score;
    }
    if (this.bias.length > 0 && scores.every((score) => score === Number.NEGATIVE_INFINITY)) {
      throw new ConfigError('logitBias', 'must leave a token that may come');
    }
  }

  private choose(position: number): number {
    const { candidates } = this;
    const { temperature = 1, topK, topP, minP, seed = DEFAULT_SEED } = this.options;
    const best = candidates.best();
    if (temperature === 0) return best;
    const [a, b] = [hashWords(seed, position, 0), hashWords(seed, position, 1)];
    if (topK === undefined && topP === undefined && minP === undefined) {
      return candidates.drawWeighed(best, temperature, a, b);
    }
    if (topK !== undefined) candidates.keepTop(topK);
    candidates.weigh(temperature);
    if (topP !== undefined) candidates.keepShare(topP);
    if (minP !== undefined) candidates.keepAbove(minP);
    return candidates.draw(a, b);
  }
}

function checkSampling(options: SamplingOptions, V: number): void {
  const check = (name: keyof SamplingOptions, rule: string, holds: (value: number) => boolean) => {
    const value = options[name] as number | undefined;
    if (value !== undefined && !holds(value)) throw new ConfigError(name, rule, value);
  };
  check('temperature', 'must be at least 0', (t) => t >= 0 && t < Number.POSITIVE_INFINITY);
  check('topK', 'must be a whole number of at least 1', (k) => Number.isInteger(k) && k >= 1);
  check('topP', 'must lie in (0, 1]', (p) => p > 0 && p <= 1);
  check('minP', 'must lie in [0, 1]', (p) => p >= 0 && p <= 1);
  check('repetitionPenalty', 'must be above 0', (x) => x > 0 && x < Number.POSITIVE_INFINITY);
  check('frequencyPenalty', 'must be finite', Number.isFinite);
  check('presencePenalty', 'must be finite', Number.isFinite);
  check('seed', 'must be a whole number within ±(2⁵³ − 1)', Number.isSafeInteger);
  for (const [id, bias] of Object.entries(options.logitBias ?? {})) {
    if (!(Number.isInteger(Number(id)) && Number(id) >= 0 && Number(id) < V)) {
      throw new ConfigError('logitBias', `must be for token ids from 0 to ${V - 1}`, id);
    }
    if (!(bias < Number.POSITIVE_INFINITY)) {
      throw new ConfigError(`logitBias[${id}]`, 'must be finite, or −Infinity for never', bias);
    }
  }
}
