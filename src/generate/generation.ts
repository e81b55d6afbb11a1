/** One request under way: its sequence, what it has drawn, and the news that its reader has not taken yet. */
import type { Tokenizer } from '../tokenizer/tokenizer.js';
import type { Candidates } from './candidates.js';
import type { Decoder, Sequence } from './decoder.js';
import { EventQueue } from './event-queue.js';
import { logprobsOf } from './logprobs.js';
import type { GeneratedToken, GenerationEnd, GenerationRequest, StopReason } from './request.js';
import { Sampler } from './sampler.js';
import { type DraftOptions, requireDraft, type Speculating } from './speculation.js';
import { TextStream } from './text-stream.js';

/** What the requests of an engine share. */
export interface Surroundings {
  readonly decoder: Decoder;
  readonly tokenizer: Tokenizer;
  readonly candidates: Candidates;
  /** Ids that end an answer, and are no part of it. */
  readonly ends: ReadonlySet<number>;
}

/** What has come of a request; the last event is an end or an error. */
type News =
  | { readonly token: GeneratedToken }
  | { readonly end: GenerationEnd }
  | { readonly error: unknown };

export class Generation implements Speculating {
  readonly sequence: Sequence;
  private readonly vocabSize: number;
  private readonly sampler: Sampler;
  private readonly text: TextStream;
  /** The token to extend the sequence by, once the prompt is in. */
  drawn = -1;
  private made = 0;
  private steps = 0;
  /** Tokens drafted in this round, of which some have been checked; and in all rounds. */
  private drafts: { readonly id: number; readonly undo: () => void }[] = [];
  private checked = 0;
  private drafted = 0;
  private accepted = 0;
  private aborted = false;
  private over = false;
  private readonly news = new EventQueue<News>();

  /** Throws ConfigError for options out of range. */
  constructor(
    private readonly request: GenerationRequest,
    private readonly surroundings: Surroundings,
  ) {
    const { decoder, tokenizer, candidates } = surroundings;
    this.vocabSize = tokenizer.vocabSize;
    this.sampler = new Sampler(request, request.prompt, candidates);
    this.text = new TextStream(tokenizer.decoder(request.prompt), request.stop);
    const { loops, exit, draft } = request;
    if (draft) requireDraft(decoder.model.config, draft, { loops, exit });
    this.sequence = decoder.open({
      ...(loops === undefined ? {} : { loops }),
      ...(exit === undefined ? {} : { exit }),
    });
  }

  /** Bytes of the cache that the request may come to need. */
  get cacheBytes(): number {
    const { prompt, maxTokens } = this.request;
    const tokens = Math.min(prompt.length + maxTokens, this.blockSize);
    return this.surroundings.decoder.cacheBytes(tokens, this.sequence.options);
  }

  /** Whether the prompt is not in the sequence yet, or not all of it. */
  get prefilling(): boolean {
    return this.sequence.length < this.request.prompt.length;
  }

  /** Whether another one's sequence, once its prompt is in, is what this one's will be. */
  startsAs(other: Generation): boolean {
    const key = ({ sequence, request }: Generation) => JSON.stringify([sequence.options, request.prompt]);
    return this.request.prompt.length === other.request.prompt.length && key(this) === key(other);
  }

  /** The tokens to extend the sequence by next: a piece of the prompt, of at most `most` tokens, or the one drawn last. */
  next(most: number): ArrayLike<number> {
    if (!this.prefilling) return [this.drawn];
    const { length } = this.sequence;
    return (this.request.prompt as Int32Array).subarray(length, length + most);
  }

  /** Takes what follows the last token of the sequence: `logits (V)`, and the steps it took. */
  take(logits: Float32Array, steps: number): void {
    if (this.prefilling) return;
    try {
      this.draw(logits.subarray(0, this.vocabSize), steps);
    } catch (error) {
      this.fail(error);
    }
  }

  /** How to draft the next tokens; null where that was not asked for, before the prompt is in, and where there is no room. */
  get draft(): DraftOptions | null {
    const { draft } = this.request;
    if (!draft || this.prefilling) return null;
    return this.sequence.length + draft.tokens <= this.blockSize ? draft : null;
  }

  guess(logits: Float32Array): number {
    const place = this.position + this.drafts.length;
    const id = this.sampler.draw(logits.subarray(0, this.vocabSize), place);
    this.drafts.push({ id, undo: this.sampler.take(id) });
    return id;
  }

  check(logits: Float32Array, steps: number): boolean {
    if (this.checked === 0) for (const { undo } of [...this.drafts].reverse()) undo();
    const { id } = this.drafts[this.checked++];
    this.take(logits, steps);
    const goesOn = this.drawn === id && !this.over && this.checked < this.drafts.length;
    if (!goesOn) this.endRound();
    return goesOn;
  }

  /** Counts the tokens of a draft, the last of which to be checked may be the first that did not stand. */
  private endRound(): void {
    if (this.checked > 0) {
      const stands = this.drawn === this.drafts[this.checked - 1].id;
      this.drafted += stands ? this.checked : this.drafts.length;
      this.accepted += stands ? this.checked : this.checked - 1;
    }
    this.drafts = [];
    this.checked = 0;
  }

  /** Ends the request before the next step; the tokens made are not lost. */
  abort(): void {
    this.aborted = true;
  }

  fail(error: unknown): void {
    this.close({ error });
  }

  /** Whether the request is over; one that was aborted is from now on. */
  leave(): boolean {
    if (this.aborted) this.end('aborted');
    return this.over;
  }

  /** The tokens as they are made. Throws what `fail` was given. */
  async *events(): AsyncGenerator<GeneratedToken, GenerationEnd> {
    for (;;) {
      const event = await this.news.next();
      if ('token' in event) yield event.token;
      else if ('end' in event) return event.end;
      else throw event.error;
    }
  }

  /** Place of the next token in the sequence. */
  private get position(): number {
    return this.request.prompt.length + this.made;
  }

  private get blockSize(): number {
    return this.surroundings.decoder.model.config.blockSize;
  }

  private draw(logits: Float32Array, steps: number): void {
    const { request } = this;
    const { ends, candidates } = this.surroundings;
    const id = this.sampler.draw(logits, this.position);
    this.sampler.take(id);
    this.drawn = id;
    if (ends.has(id)) {
      this.end('end of text');
      return;
    }
    const { topLogprobs: k } = request;
    const told = k === undefined ? { logprob: null, top: null } : logprobsOf(logits, id, k, candidates);
    const text = this.text.push(id);
    this.made++;
    this.steps += steps;
    this.news.push({ token: { id, text, ...told, steps } });
    if (this.text.stopped) this.end('stop text');
    else if (this.made === request.maxTokens) this.end('tokens');
    else if (this.position > this.blockSize) this.end('block size');
  }

  private end(reason: StopReason): void {
    if (this.over) return;
    this.endRound();
    const { made: tokens, steps, drafted, accepted } = this;
    const text = this.text.end();
    const promptTokens = this.request.prompt.length;
    this.close({ end: { reason, text, promptTokens, tokens, steps, drafted, accepted } });
  }

  private close(event: News): void {
    if (this.over) return;
    this.over = true;
    this.sequence.dispose();
    this.news.push(event);
  }
}
