/** One request in progress: its sequence, its drawn tokens, and the events that its reader has not taken yet. */
import type { Tokenizer } from '../tokenizer/tokenizer.js';
import type { Candidates } from './candidates.js';
import type { RowScores } from '../models/losses.js';
import type { Decoder, Extension, Sequence } from './decoder.js';
import { EventQueue } from './event-queue.js';
import { logprobsOf } from './logprobs.js';
import type {
  GeneratedToken,
  GenerationEnd,
  GenerationRequest,
  StopReason,
  TokenLogprob,
} from './request.js';
import { Sampler } from './sampler.js';
import { type DraftOptions, requireDraft, type Speculating } from './speculation.js';
import { TextStream } from './text-stream.js';

/** What the requests of an engine share. */
export interface Surroundings {
  readonly decoder: Decoder;
  readonly tokenizer: Tokenizer;
  readonly candidates: Candidates;
  /** Ids that end an answer and are not part of it. */
  readonly ends: ReadonlySet<number>;
}

/** Events of a request; the last one is an end or an error. */
type News =
  | { readonly token: GeneratedToken }
  | { readonly end: GenerationEnd }
  | { readonly error: unknown };

/** The log-probability of a prompt token, and the most probable tokens at its place. */
interface Told {
  readonly logprob: number | null;
  readonly top: readonly TokenLogprob[] | null;
}

/** A prompt that shares fewer leading tokens with another prompt does not wait for it. */
const LEAST_SHARED = 16;

export class Generation implements Speculating {
  readonly sequence: Sequence;
  /**
   * Number of prompt tokens that the model reads: without the last if no token is generated, and 0 if nothing needs to
   * be computed.
   */
  private readonly readTokens: number;
  /** Place of the first prompt token to score; Infinity for none. */
  private readonly scoredFrom: number;
  /** The scores of those tokens, by their places. */
  private readonly scores: Told[] = [];
  private readonly vocabSize: number;
  private readonly sampler: Sampler;
  private readonly text: TextStream;
  /** The token to extend the sequence by, once the prompt is complete. */
  drawn = -1;
  private made = 0;
  private steps = 0;
  /** Tokens drafted in this round, some of them checked; and in all rounds. */
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
    this.vocabSize = candidates.scores.length;
    this.sampler = new Sampler(request, request.prompt, candidates);
    const { loops, exit, draft, prompt, echo, maxTokens, topLogprobs } = request;
    const before = Array.prototype.slice.call(prompt, 0, echo) as number[];
    this.text = new TextStream(tokenizer.decoder(before), request.stop);
    const scored = echo !== undefined && topLogprobs !== undefined;
    this.scoredFrom = scored ? Math.max(1, echo) : Number.POSITIVE_INFINITY;
    const asked = this.scoredFrom < prompt.length ? prompt.length - 1 : 0;
    this.readTokens = maxTokens > 0 ? prompt.length : asked;
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

  /** Whether part of the prompt is not in the sequence yet. */
  get prefilling(): boolean {
    return this.sequence.length < this.readTokens;
  }

  /** Reports the prompt tokens that need no computation; ends the request if nothing else is requested. */
  begin(): void {
    const { prompt, echo = prompt.length } = this.request;
    const unscored = Math.min(this.scoredFrom, prompt.length);
    for (let place = echo; place < unscored; place++) this.tell(place, { logprob: null, top: null });
    if (this.readTokens === 0 && this.request.maxTokens === 0) this.end('tokens');
  }

  /**
   * How many leading tokens of another request's sequence, read or about to be read, this request can copy: the whole
   * prompt if the two prompts are equal, or else a common beginning, if that is long enough to wait for.
   */
  sharedWith(other: Generation): number {
    const [own, its] = [this.request, other.request];
    if (JSON.stringify(this.sequence.options) !== JSON.stringify(other.sequence.options)) return 0;
    const longest = Math.min(own.prompt.length, its.prompt.length);
    let common = 0;
    while (common < longest && own.prompt[common] === its.prompt[common]) common++;
    const scoredAlike = own.topLogprobs === its.topLogprobs && other.scoredFrom <= this.scoredFrom;
    const whole = common === own.prompt.length && common === its.prompt.length && other.drawn < 0;
    if (whole && this.readTokens === other.readTokens && (scoredAlike || !this.scoring)) {
      return this.readTokens;
    }
    if (!this.surroundings.decoder.divisible) return 0;
    // The last common token is read again: a different token follows it, or its logits were not requested.
    const shared = Math.min(common - 1, this.readTokens, other.readTokens);
    return shared < LEAST_SHARED || (shared >= this.scoredFrom && !scoredAlike) ? 0 : shared;
  }

  /** Copies leading tokens of another request's sequence, with their scores, to this request's, which must be empty. */
  follow(other: Generation, tokens: number): void {
    this.sequence.copy(other.sequence, tokens);
    const { prompt, maxTokens } = this.request;
    for (let place = this.scoredFrom; place <= tokens && place < prompt.length; place++) {
      this.tellScored(place, other.scores[place]);
    }
    if (!this.prefilling && maxTokens === 0) this.end('tokens');
  }

  /** The next extension of the sequence: a piece of the prompt, of at most `most` tokens, or the token drawn last. */
  next(most: number): Extension {
    const { sequence, prefilling } = this;
    if (!prefilling) return { sequence, tokens: [this.drawn] };
    const { length } = sequence;
    const prompt = this.request.prompt as Int32Array;
    const tokens = prompt.subarray(length, Math.min(length + most, this.readTokens));
    const goesOn = length + tokens.length === prompt.length;
    if (!this.scoring) return { sequence, tokens, goesOn };
    const targets = tokens.map((_, i) => {
      const place = length + i + 1;
      return place >= this.scoredFrom && place < prompt.length ? prompt[place] : -1;
    });
    return { sequence, tokens, goesOn, targets, targetLogits: !this.bestSuffices };
  }

  private get scoring(): boolean {
    return this.scoredFrom < this.request.prompt.length;
  }

  /** Whether only the most probable token is requested, so that the logits are not needed. */
  private get bestSuffices(): boolean {
    const { vocabSize } = this.surroundings.decoder.model.config;
    return this.request.topLogprobs! <= 1 && vocabSize === this.vocabSize;
  }

  /** Takes the scores of the prompt tokens from the first unreported one on. */
  takeScores({ losses, argmax, maxProb, logits }: RowScores): void {
    const { prompt, topLogprobs: k = 0 } = this.request;
    const V = logits === null ? 0 : logits.length / losses.length;
    const first = Math.max(this.scores.length, this.scoredFrom);
    for (let i = 0; i < losses.length; i++) {
      const id = prompt[first + i];
      if (logits) {
        const own = logits.subarray(i * V, i * V + this.vocabSize);
        this.tellScored(first + i, logprobsOf(own, id, k, this.surroundings.candidates));
        continue;
      }
      // The same number if both are the same token, so that they compare equal.
      const logprob = 0 - losses[i];
      const best = { id: argmax[i], logprob: argmax[i] === id ? logprob : Math.log(maxProb[i]) };
      this.tellScored(first + i, { logprob, top: k === 0 ? [] : [best] });
    }
  }

  private tellScored(place: number, told: Told): void {
    this.scores[place] = told;
    this.tell(place, told);
  }

  private tell(place: number, told: Told): void {
    const id = this.request.prompt[place];
    this.news.push({ token: { id, text: this.text.pass(id), ...told, steps: 0, echoed: true } });
  }

  /** Takes the `logits (V)` after the sequence's last token, and the steps that they took. */
  take(logits: Float32Array, steps: number): void {
    if (this.prefilling) return;
    if (this.request.maxTokens === 0) {
      this.end('tokens');
      return;
    }
    try {
      this.draw(logits.subarray(0, this.vocabSize), steps);
    } catch (error) {
      this.fail(error);
    }
  }

  /** How to draft the next tokens; null if not requested, before the prompt is complete, and without room. */
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

  /** Counts the drafted tokens; the last checked token may be the first rejected one. */
  private endRound(): void {
    if (this.checked > 0) {
      const stands = this.drawn === this.drafts[this.checked - 1].id;
      this.drafted += stands ? this.checked : this.drafts.length;
      this.accepted += stands ? this.checked : this.checked - 1;
    }
    this.drafts = [];
    this.checked = 0;
  }

  /** Ends the request before the next step; the generated tokens are kept. */
  abort(): void {
    this.aborted = true;
  }

  fail(error: unknown): void {
    this.close({ error });
  }

  /** Whether the request is over; an aborted request is over from now on. */
  leave(): boolean {
    if (this.aborted) this.end('aborted');
    return this.over;
  }

  /** The tokens as they are generated. Throws what `fail` was given. */
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
    this.news.push({ token: { id, text, ...told, steps, echoed: false } });
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
