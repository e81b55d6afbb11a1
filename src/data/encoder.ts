/**
 * Encodes texts on several cores, in worker threads. This file handles a tokenizer and batches of texts, not documents
 * or files. The ids are those of `tokenizer.encode`, for any number of workers.
 */
import { availableParallelism } from 'node:os';
import { setImmediate } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import type { Tokenizer, TokenizerJSON } from '../tokenizer/tokenizer.js';
import { receivedError, type SentError } from '../node/thread-errors.js';

/**
 * A worker takes some 0.11 GB with GPT-2's tokenizer, and the thread that reads and writes 0.25 GB: together they stay
 * below 1 GB.
 */
const MOST_WORKERS = 6;

/** A text, or the part of a text after a cut; then `before` is the end of the text before the cut. */
export interface Stretch {
  readonly text: string;
  readonly before?: string;
}

/** UTF-16 units of a text that take about as long as a signal may wait; a text that is one word takes longest. */
const LONG_UNITS = 1 << 18;

/** The ids of a batch of texts. */
export interface Encoded {
  /** The ids of all texts, one after another. */
  readonly ids: Uint16Array;
  /** Number of ids of each text. */
  readonly lengths: readonly number[];
  /** Bytes of each text in UTF-8. */
  readonly bytes: readonly number[];
}

/** The number of workers if the user names none: LOOPNN_NUM_THREADS if set, otherwise the number of processors. */
export function defaultWorkers(): number {
  const asked = Number(process.env.LOOPNN_NUM_THREADS);
  return Number.isInteger(asked) && asked > 0 ? asked : Math.min(MOST_WORKERS, availableParallelism());
}

/** Encodes texts one after another. */
export function encodeTexts(tokenizer: Tokenizer, texts: readonly Stretch[]): Encoded {
  const parts = texts.map((stretch) => encodeStretch(tokenizer, stretch));
  const ids = new Uint16Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    ids.set(part, at);
    at += part.length;
  }
  const bytes = texts.map(({ text }) => Buffer.byteLength(text));
  return { ids, lengths: parts.map(({ length }) => length), bytes };
}

export function encodeStretch(tokenizer: Tokenizer, { text, before }: Stretch): Uint16Array {
  return before === undefined ? tokenizer.encode(text) : tokenizer.cutter!.encodeAfter(before, text);
}

/** The data that a worker starts with. */
export interface EncodeTokenizer {
  readonly json: TokenizerJSON;
  /** The spelling of its end-of-text token. */
  readonly token: string | null;
}

/** What a worker receives, with null at the end, and what it answers; `encode-worker.ts` is the other side. */
export interface EncodeRequest {
  readonly batch: number;
  readonly texts: readonly Stretch[];
}
export type EncodeReply = { readonly batch: number } & (
  | { readonly encoded: Encoded }
  | { readonly error: SentError }
);

/** Takes batches of texts and returns their ids. */
export interface Encoding {
  /** The number of batches in progress that leaves no encoder waiting. */
  readonly capacity: number;
  encode(texts: readonly Stretch[]): Promise<Encoded>;
  close(): Promise<void>;
}

/** Encodes in this thread or in others; each batch goes to the worker with the fewest batches. */
export class Encoder implements Encoding {
  readonly capacity: number;
  readonly #tokenizer: Tokenizer;
  readonly #signal: AbortSignal | undefined;
  readonly #workers: Worker[] = [];
  readonly #ends: Promise<void>[] = [];
  readonly #load: number[] = [];
  readonly #pending = new Map<
    number,
    { resolve: (encoded: Encoded) => void; reject: (error: Error) => void }
  >();
  #batches = 0;
  #failure: Error | null = null;

  /**
   * With one worker everything is encoded in this thread, except texts so long that they would keep signals waiting.
   *
   * @param signal stops the workers during their batches; all batches that are waiting then fail with its reason
   */
  constructor(tokenizer: Tokenizer, workers: number, signal?: AbortSignal) {
    this.#tokenizer = tokenizer;
    this.#signal = signal;
    this.capacity = workers > 1 ? 2 * workers : 1;
    for (let i = 0; workers > 1 && i < workers; i++) this.#start(i);
    signal?.addEventListener('abort', this.#abort);
  }

  encode(texts: readonly Stretch[]): Promise<Encoded> {
    if (this.#workers.length === 0 && texts.some(({ text }) => text.length > LONG_UNITS)) this.#start(0);
    // Lets signals and progress be handled between two batches.
    if (this.#workers.length === 0) return setImmediate().then(() => encodeTexts(this.#tokenizer, texts));
    if (this.#failure !== null) return Promise.reject(this.#failure);
    const batch = this.#batches++;
    const index = this.#load.indexOf(Math.min(...this.#load));
    this.#load[index]++;
    const done = new Promise<Encoded>((resolve, reject) => this.#pending.set(batch, { resolve, reject }));
    // The caller may be waiting for an earlier batch when this one fails.
    done.catch(() => {});
    this.#workers[index].postMessage({ batch, texts } satisfies EncodeRequest);
    return done;
  }

  /** Stops the workers, each after its pending batches; at once if the signal is aborted. */
  async close(): Promise<void> {
    this.#fail(new Error('the encoder is closed'));
    this.#signal?.removeEventListener('abort', this.#abort);
    for (const worker of this.#workers) {
      if (this.#signal?.aborted) void worker.terminate();
      else worker.postMessage(null);
    }
    await Promise.all(this.#ends);
  }

  readonly #abort = (): void => this.#fail(this.#signal!.reason);

  /** Lets all pending batches, and all later ones, fail with the first error. */
  #fail(error: Error): void {
    this.#failure ??= error;
    for (const { reject } of this.#pending.values()) reject(error);
    this.#pending.clear();
  }

  #start(index: number): void {
    const worker = new Worker(new URL('./encode-worker.js', import.meta.url), {
      workerData: {
        json: this.#tokenizer.toJSON(),
        token: this.#tokenizer.eotToken,
      } satisfies EncodeTokenizer,
    });
    worker.on('message', (reply: EncodeReply) => {
      this.#load[index]--;
      const asked = this.#pending.get(reply.batch);
      this.#pending.delete(reply.batch);
      if ('encoded' in reply) asked?.resolve(reply.encoded);
      else asked?.reject(receivedError(reply.error));
    });
    worker.on('error', (error: Error) => this.#fail(error));
    const ended = new Promise<void>((resolve) => worker.once('exit', () => resolve()));
    ended.then(() => this.#fail(new Error('an encoding worker has exited')));
    this.#ends.push(ended);
    this.#workers.push(worker);
    this.#load.push(0);
  }
}
