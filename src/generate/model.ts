/** A trained model with its tokenizer, for users of the library: text in, text out. It must not import files. */
import { type OptionNames, requireOptionNames } from '../fields.js';
import type { ExitOptions } from '../models/exits/options.js';
import type { ModelConfig } from '../models/config.js';
import type { GPT } from '../models/gpt.js';
import type { Clock } from '../platform.js';
import type { Tokenizer } from '../tokenizer/tokenizer.js';
import { Decoder } from './decoder.js';
import { Engine } from './engine.js';
import type { GeneratedToken, GenerationEnd, GenerationRequest } from './request.js';
import type { DraftOptions } from './speculation.js';
import { NO_TEXT_IDS, startedWith, type TextIds } from './text-ids.js';

export interface GenerateOptions extends Omit<GenerationRequest, 'prompt' | 'maxTokens'> {
  /** Maximum of tokens to generate; by default as many as the block size has room for. */
  readonly maxTokens?: number;
  readonly signal?: AbortSignal;
}

const GENERATE_OPTIONS: OptionNames<GenerateOptions> = {
  temperature: true,
  topK: true,
  topP: true,
  minP: true,
  repetitionPenalty: true,
  frequencyPenalty: true,
  presencePenalty: true,
  logitBias: true,
  seed: true,
  loops: true,
  exit: true,
  stop: true,
  topLogprobs: true,
  echo: true,
  draft: true,
  maxTokens: true,
  signal: true,
};

const EXIT_OPTIONS: OptionNames<ExitOptions> = {
  criterion: true,
  threshold: true,
};

const DRAFT_OPTIONS: OptionNames<DraftOptions> = {
  loops: true,
  tokens: true,
};

/** A token as it is generated; a null id marks text that was held back until the end of the answer. */
export interface GeneratedText extends Omit<GeneratedToken, 'id'> {
  readonly id: number | null;
}

export class Model implements Disposable, AsyncDisposable {
  readonly config: ModelConfig;
  private readonly decoder: Decoder;
  private readonly engine: Engine;
  private freed: Promise<void> | null = null;

  /**
   * `gpt` and its runtime's memory are disposed of with the model. Throws ConfigError if the tokenizer has ids that the
   * model does not have.
   */
  constructor(
    private readonly gpt: GPT,
    readonly tokenizer: Tokenizer,
    clock: Clock,
    private readonly textIds: TextIds = NO_TEXT_IDS,
  ) {
    this.config = gpt.config;
    this.decoder = new Decoder(gpt);
    this.engine = new Engine(this.decoder, tokenizer, clock, { eos: textIds.eos });
  }

  /**
   * Continues a prompt, text or token ids; yields tokens as they are generated, and returns how the answer ended. An
   * empty prompt starts a new document. Several answers may run at once without changing each other.
   *
   * Throws ConfigError for a prompt longer than the block size, and for options unknown or out of range.
   */
  async *generate(
    prompt: string | ArrayLike<number>,
    { signal, ...options }: GenerateOptions = {},
  ): AsyncGenerator<GeneratedText, GenerationEnd> {
    requireOptionNames('generate', options, GENERATE_OPTIONS);
    if (options.exit) requireOptionNames('exit', options.exit, EXIT_OPTIONS);
    if (options.draft) requireOptionNames('draft', options.draft, DRAFT_OPTIONS);
    const { tokenizer, config, textIds } = this;
    const given = typeof prompt === 'string' ? tokenizer.encode(prompt) : prompt;
    const ids = startedWith(textIds.bos ?? tokenizer.eot, given);
    const request = { maxTokens: config.blockSize, ...options, prompt: ids };
    const end = yield* this.engine.generate(request, signal);
    if (end.text === '') return end;
    yield { id: null, text: end.text, logprob: null, top: null, steps: 0, echoed: false };
    return { ...end, text: '' };
  }

  /**
   * Ends running answers and releases the memory; settles when that is done. `generate` throws ConfigError from then
   * on.
   */
  dispose(): Promise<void> {
    this.freed ??= this.free();
    return this.freed;
  }

  [Symbol.dispose](): void {
    void this.dispose();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  /** The same, but leaves the weights to their owner. */
  async release(): Promise<void> {
    await this.engine.dispose();
    this.decoder.dispose();
  }

  private async free(): Promise<void> {
    await this.release();
    this.gpt.dispose();
    this.gpt.runtime.pool.trim();
  }
}
