/**
 * Reads one batch ahead, so that a slow disk and a step work at the same time. It uses the keys of batches; their order
 * and the place of tokens are the caller's.
 */
import type { Batch, BatchKey } from '../evaluate/batches.js';

export class ReadAhead {
  #ahead: { readonly key: BatchKey; readonly batch: Promise<Batch> } | null = null;

  constructor(private readonly read: (key: BatchKey) => Promise<Batch>) {}

  /** The batch of `key`; that of `next` is read from then on, and its errors are thrown when it is asked for. */
  async take(key: BatchKey, next: BatchKey | null): Promise<Batch> {
    if (this.#ahead !== null && !sameKey(this.#ahead.key, key)) await this.close();
    const reading = this.#ahead?.batch ?? this.read(key);
    this.#ahead = null;
    const batch = await reading;
    if (next !== null) {
      this.#ahead = { key: next, batch: this.read(next) };
      this.#ahead.batch.catch(() => {});
    }
    return batch;
  }

  /** Waits for the current read, and drops its result. */
  async close(): Promise<void> {
    await this.#ahead?.batch.catch(() => {});
    this.#ahead = null;
  }
}

const sameKey = (a: BatchKey, b: BatchKey): boolean =>
  a.seed === b.seed && a.step === b.step && a.microStep === b.microStep;
