/**
 * Continuous batching: requests join and leave the running batch at token boundaries, and each answer is the one of the
 * request computed alone. It handles tokens and text; it must not import files or protocols.
 *
 * A step is one call of the decoder: every sequence with a complete prompt is extended by one token, and up to
 * `prefillChunk` tokens of incomplete prompts are added, so that a long prompt does not delay the others. A common
 * beginning of several prompts is computed once: requests that have not begun copy it from a running one.
 */
import { ConfigError } from '../errors.js';
import type { Clock } from '../platform.js';
import { type Tokenizer, tokensBeyond } from '../tokenizer/tokenizer.js';
import { Candidates } from './candidates.js';
import { type Decoder, type Extension, groupsOf } from './decoder.js';
import { Generation } from './generation.js';
import type { GeneratedToken, GenerationEnd, GenerationRequest } from './request.js';
import { speculate } from './speculation.js';

export interface EngineOptions {
  /** Maximum of running sequences; further requests wait in order. 8 by default. */
  readonly maxSequences?: number;
  /** Maximum of prompt tokens in one step. 256 by default. */
  readonly prefillChunk?: number;
  /** Maximum of bytes of keys and values that running requests may need together; no bound by default. */
  readonly maxCacheBytes?: number;
  /** Ids that end an answer, besides the tokenizer's end-of-text id. */
  readonly eos?: readonly number[];
}

export class Engine {
  private readonly maxSequences: number;
  private readonly prefillChunk: number;
  private readonly maxCacheBytes: number;
  private readonly ends: ReadonlySet<number>;
  private readonly candidates: Candidates;
  private running: Generation[] = [];
  private waiting: Generation[] = [];
  /** Settles when there is no more work; null while there is none. */
  private work: Promise<void> | null = null;
  private disposed = false;
  /** Logits of the current step. */
  private logits = new Float32Array();

  /**
   * Throws ConfigError for options out of range, and for a tokenizer that encodes text with ids that the model does not
   * have.
   */
  constructor(
    private readonly decoder: Decoder,
    private readonly tokenizer: Tokenizer,
    private readonly clock: Clock,
    {
      maxSequences = 8,
      prefillChunk = 256,
      maxCacheBytes = Number.POSITIVE_INFINITY,
      eos = [],
    }: EngineOptions = {},
  ) {
    requireCount('maxSequences', maxSequences);
    requireCount('prefillChunk', prefillChunk);
    const { config } = decoder.model;
    if (tokensBeyond(tokenizer, config.vocabSize) === undefined) {
      throw new ConfigError(
        `tokenizer ${tokenizer.name}`,
        `must have at most the model's vocabSize = ${config.vocabSize} tokens`,
        tokenizer.vocabSize,
      );
    }
    this.maxSequences = maxSequences;
    this.prefillChunk = prefillChunk;
    this.maxCacheBytes = maxCacheBytes;
    this.ends = new Set(tokenizer.eot === null ? eos : [tokenizer.eot, ...eos]);
    this.candidates = new Candidates(Math.min(tokenizer.vocabSize, config.vocabSize));
  }

  /** Numbers of running and of waiting requests. */
  get load(): { running: number; waiting: number } {
    return { running: this.running.length, waiting: this.waiting.length };
  }

  /**
   * Answers a request, yielding tokens as they are made; the answer is a function of the request alone. A reader may be
   * slow or stop reading: other requests do not wait for it. An aborted request ends with the reason `aborted` before
   * the next step.
   *
   * Throws ConfigError for a wrong request before anything is computed, and any error of the computation.
   */
  async *generate(
    request: GenerationRequest,
    signal?: AbortSignal,
  ): AsyncGenerator<GeneratedToken, GenerationEnd> {
    if (this.disposed) throw new ConfigError('engine', 'must not be used after it was disposed of');
    const generation = this.open(request);
    const abort = () => generation.abort();
    if (signal?.aborted) abort();
    signal?.addEventListener('abort', abort);
    this.waiting.push(generation);
    this.work ??= this.run();
    try {
      return yield* generation.events();
    } finally {
      signal?.removeEventListener('abort', abort);
      generation.abort();
    }
  }

  /** Aborts every request and refuses new ones; settles when the decoder is no longer in use. */
  async dispose(): Promise<void> {
    this.disposed = true;
    for (const generation of [...this.running, ...this.waiting]) generation.abort();
    await this.work;
  }

  private open(request: GenerationRequest): Generation {
    const { decoder, tokenizer, candidates, ends } = this;
    const { vocabSize: V, blockSize } = decoder.model.config;
    const prompt = Int32Array.from(request.prompt);
    if (prompt.length === 0) {
      const hint = 'the end-of-text token begins a new document';
      throw new ConfigError('prompt', 'must have at least one token', undefined, hint);
    }
    // Without a token to generate, the prompt's last token is not read: the prompt may be one token longer.
    const most = request.maxTokens === 0 ? blockSize + 1 : blockSize;
    if (prompt.length > most) {
      const rule = `must have at most blockSize = ${blockSize} tokens`;
      throw new ConfigError('prompt', rule, prompt.length, 'shorten it');
    }
    for (let i = 0; i < prompt.length; i++) {
      const id = request.prompt[i];
      if (Number.isInteger(id) && id >= 0 && id < V) continue;
      throw new ConfigError(`prompt[${i}]`, `must be a token id from 0 to ${V - 1}`, id);
    }
    requireCount('maxTokens', request.maxTokens, 0);
    if (request.loops !== undefined) requireCount('loops', request.loops);
    if (request.topLogprobs !== undefined) requireCount('topLogprobs', request.topLogprobs, 0);
    if (request.echo !== undefined) requireCount('echo', request.echo, 0);
    const generation = new Generation({ ...request, prompt }, { decoder, tokenizer, candidates, ends });
    const { cacheBytes } = generation;
    if (cacheBytes <= this.maxCacheBytes) return generation;
    const megabytes = (bytes: number) => Math.round(bytes / 2 ** 20);
    const rule = `must need at most ${megabytes(this.maxCacheBytes)} MiB of keys and values`;
    throw new ConfigError('request', rule, `${megabytes(cacheBytes)} MiB`, 'ask for fewer tokens or loops');
  }

  private async run(): Promise<void> {
    while (this.running.length + this.waiting.length > 0) {
      await this.clock.yield();
      this.admit();
      await this.step();
    }
    this.work = null;
  }

  /** Removes finished requests, and admits the next ones. */
  private admit(): void {
    this.running = this.running.filter((generation) => !generation.leave());
    this.waiting = this.waiting.filter((generation) => !generation.leave());
    let room = this.maxCacheBytes - this.running.reduce((bytes, { cacheBytes }) => bytes + cacheBytes, 0);
    // In order, so that small requests do not overtake a large one forever.
    while (this.waiting.length > 0 && this.running.length < this.maxSequences) {
      room -= this.waiting[0].cacheBytes;
      if (room < 0) break;
      const generation = this.waiting.shift()!;
      this.running.push(generation);
      generation.begin();
    }
    this.running = this.running.filter((generation) => !generation.leave());
  }

  /**
   * The first of the requests that have begun, or begin in this step, that shares a beginning with `generation`; null
   * for none.
   */
  private leaderOf(generation: Generation, moving: readonly Generation[]): Generation | null {
    let leader: Generation | null = null;
    let most = 0;
    for (const other of this.running) {
      if (other.sequence.length === 0 && !moving.includes(other)) continue;
      const shared = generation.sharedWith(other);
      if (shared > most) [leader, most] = [other, shared];
    }
    return leader;
  }

  private async step(): Promise<void> {
    const moving: Generation[] = [];
    const batch: Extension[] = [];
    const drafting: Generation[] = [];
    const following = new Map<Generation, Generation[]>();
    let budget = this.prefillChunk;
    // A prompt is not cut if cuts would change its answer.
    const inOnePass = this.decoder.model.config.kvSharing === 'last-loop';
    for (const generation of this.running) {
      if (generation.draft) {
        drafting.push(generation);
        continue;
      }
      if (generation.sequence.length === 0) {
        const leader = this.leaderOf(generation, moving);
        if (leader && leader.sequence.length < generation.sharedWith(leader)) {
          following.set(leader, [...(following.get(leader) ?? []), generation]);
          continue;
        }
        if (leader) generation.follow(leader, generation.sharedWith(leader));
        if (generation.leave()) continue;
      }
      const { prefilling } = generation;
      const room = inOnePass && budget > 0 ? Number.POSITIVE_INFINITY : budget;
      const extension = generation.next(prefilling ? room : 1);
      const { length } = extension.tokens;
      if (length === 0) continue;
      if (prefilling) budget = Math.max(0, budget - length);
      moving.push(generation);
      batch.push(extension);
    }
    try {
      if (batch.length > 0) {
        const { vocabSize: V } = this.decoder.model.config;
        if (this.logits.length < batch.length * V) this.logits = new Float32Array(batch.length * V);
        const { logits, steps, scores } = await this.decoder.extend(batch, this.logits);
        for (const [b, generation] of moving.entries()) {
          const next = logits.subarray(b * V, b * V + V);
          const found = scores[b];
          if (found) generation.takeScores(found);
          const readers = [generation];
          // Copied before the leader can end and release its sequence.
          for (const follower of following.get(generation) ?? []) {
            const shared = follower.sharedWith(generation);
            if (generation.sequence.length < shared) continue;
            follower.follow(generation, shared);
            if (!follower.prefilling) readers.push(follower);
          }
          for (const reader of readers) reader.take(next, steps[b]);
        }
      }
      for (const group of groupsOf(drafting, ({ draft, sequence }) => [draft, sequence.options])) {
        await speculate(this.decoder, group, group[0].draft!);
      }
    } catch (error) {
      // The decoder's state after an incomplete step is unknown, for every sequence.
      for (const generation of this.running) generation.fail(error);
    }
    this.running = this.running.filter((generation) => !generation.leave());
  }
}

function requireCount(name: string, value: number, least = 1): void {
  if (Number.isInteger(value) && value >= least) return;
  throw new ConfigError(name, `must be a whole number of at least ${least}`, value);
}
