/**
 * Token shards, and shards made of shards. This file must not handle files (`token-file.ts`) or folders (`dataset.ts`).
 */
import { DataError } from '../errors.js';
import type { TokenSource } from '../evaluate/batches.js';

/** A shard that is open for reading at any offset, and not held in memory. */
export interface TokenShard extends TokenSource {
  /** Reads `count` ids from token `offset` on; throws DataError outside the shard or if its file has shrunk. */
  read(offset: number, count: number): Promise<Uint16Array>;
  close(): Promise<void>;
}

/** Throws DataError unless `count` tokens from `offset` on lie within the shard. */
export function checkRange({ name, length }: TokenShard, offset: number, count: number): void {
  const whole = Number.isSafeInteger(offset) && Number.isSafeInteger(count);
  if (!whole || offset < 0 || count < 0 || offset + count > length) {
    const rule = `must be read within its ${length} tokens`;
    throw new DataError(name, rule, `${count} tokens from ${offset} on`);
  }
}

/** Several shards one after another, as one. */
export class JoinedShards implements TokenShard {
  readonly name: string;
  readonly length: number;
  readonly #parts: readonly TokenShard[];
  /** Where each part begins, and the end. */
  readonly #starts: readonly number[];

  constructor(name: string, parts: readonly TokenShard[]) {
    this.name = name;
    this.#parts = parts;
    const starts = [0];
    for (const part of parts) starts.push(starts[starts.length - 1] + part.length);
    this.#starts = starts;
    this.length = starts[parts.length];
  }

  async read(offset: number, count: number): Promise<Uint16Array> {
    checkRange(this, offset, count);
    const ids = new Uint16Array(count);
    for (let done = 0; done < count; ) {
      const at = offset + done;
      const index = this.#starts.findIndex((start, i) => at >= start && at < this.#starts[i + 1]);
      const here = Math.min(count - done, this.#starts[index + 1] - at);
      ids.set(await this.#parts[index].read(at - this.#starts[index], here), done);
      done += here;
    }
    return ids;
  }

  async close(): Promise<void> {
    for (const part of this.#parts) await part.close();
  }
}

/** A range of a shard. Closing it does nothing: whatever opened the shard closes the shard. */
export class ShardRange implements TokenShard {
  readonly name: string;

  constructor(
    private readonly whole: TokenShard,
    private readonly start: number,
    readonly length: number,
  ) {
    this.name = whole.name;
  }

  async read(offset: number, count: number): Promise<Uint16Array> {
    checkRange(this, offset, count);
    return this.whole.read(this.start + offset, count);
  }

  async close(): Promise<void> {}
}
