/** Writes token shards as nanoGPT does: little-endian unsigned 16-bit ids without a header. */
import { type FileHandle, open } from 'node:fs/promises';
import { endianness } from 'node:os';
import { DataError } from '../errors.js';
import { writing } from '../node/file-errors.js';

const ID_BYTES = 2;
const SWAP = endianness() === 'BE';

/** Writes a shard, a megabyte at a time. */
export class ShardWriter {
  tokens = 0;
  largestId = 0;
  readonly #path: string;
  readonly #file: FileHandle;
  readonly #buffer = new Uint16Array(1 << 19);
  #filled = 0;
  /** Tokens in the file. */
  #written = 0;

  private constructor(path: string, file: FileHandle) {
    this.#path = path;
    this.#file = file;
  }

  static async create(path: string): Promise<ShardWriter> {
    return new ShardWriter(path, await writing(path, () => open(path, 'wx')));
  }

  /**
   * Resumes a shard: cuts off what lies beyond the tokens known to be written. Throws DataError if some of them are
   * missing.
   */
  static async resume(path: string, known: { tokens: number; largestId: number }): Promise<ShardWriter> {
    const file = await writing(path, () => open(path, 'r+'));
    try {
      const { size } = await file.stat();
      if (size < known.tokens * ID_BYTES) {
        const rule = `must hold the ${known.tokens} tokens written before`;
        throw new DataError(path, rule, `${size} bytes`, 'delete its folder to start anew');
      }
      await writing(path, () => file.truncate(known.tokens * ID_BYTES));
      const writer = new ShardWriter(path, file);
      writer.tokens = known.tokens;
      writer.largestId = known.largestId;
      writer.#written = known.tokens;
      return writer;
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  async write(ids: ArrayLike<number>): Promise<void> {
    for (let i = 0; i < ids.length; i++) {
      if (ids[i] > this.largestId) this.largestId = ids[i];
      this.#buffer[this.#filled++] = ids[i];
      if (this.#filled === this.#buffer.length) await this.#flush();
    }
    this.tokens += ids.length;
  }

  /** Writes what is left and waits for the disk. */
  async finish(): Promise<void> {
    await this.#flush();
    await writing(this.#path, () => this.#file.sync());
  }

  close(): Promise<void> {
    return this.#file.close();
  }

  async #flush(): Promise<void> {
    const bytes = Buffer.from(this.#buffer.buffer, 0, this.#filled * ID_BYTES);
    if (SWAP) bytes.swap16();
    for (let done = 0; done < bytes.length; ) {
      const place = this.#written * ID_BYTES + done;
      const write = () => this.#file.write(bytes, done, bytes.length - done, place);
      done += (await writing(this.#path, write)).bytesWritten;
    }
    this.#written += this.#filled;
    this.#filled = 0;
  }
}
