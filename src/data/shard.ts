/**
 * Token shards: files of little-endian unsigned 16-bit ids, without a header as nanoGPT writes them or with llm.c's.
 * Knows ids and positions; knows no text, and no folders (`dataset.ts`).
 */
import { type FileHandle, open } from 'node:fs/promises';
import { endianness } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { DataError } from '../errors.js';
import { readJSON } from './json-file.js';
import { DATA_FILES, type DatasetMeta, parseMeta } from './meta.js';

const ID_BYTES = 2;
/** llm.c's token files, and those with 32-bit ids that it writes for other vocabularies. */
const LLMC_MAGIC = 20240520;
const LLMC_MAGIC_32 = 20240801;
const LLMC_VERSION = 1;
const LLMC_HEADER_BYTES = 256 * 4;
const SWAP = endianness() === 'BE';

/** A shard open for reading at any place, without holding it in memory. */
export interface TokenShard {
  /** The file's path. */
  readonly name: string;
  /** Number of tokens. */
  readonly length: number;
  /** Reads `count` ids from token `offset` on; throws DataError outside the shard or if the file has shrunk. */
  read(offset: number, count: number): Promise<Uint16Array>;
  close(): Promise<void>;
}

/**
 * Opens a shard; throws DataError if it is missing, empty, has an odd number of bytes, or another number of tokens
 * than `meta.json` beside it says.
 */
export async function openTokenShard(path: string): Promise<TokenShard> {
  return openShard(path, await readMeta(dirname(path)));
}

/** Opens a shard whose folder's `meta.json` is known, or null. */
export async function openShard(path: string, meta: DatasetMeta | null): Promise<TokenShard> {
  const hint = 'make it with `loopnn prepare`';
  let file: FileHandle;
  try {
    file = await open(path, 'r');
  } catch (error) {
    throw new DataError(path, 'must be a token shard', error instanceof Error ? error.message : error, hint);
  }
  try {
    const status = await file.stat();
    if (!status.isFile()) throw new DataError(path, 'must be a token shard', 'no file', hint);
    if (status.size === 0) throw new DataError(path, 'must hold tokens', 'an empty file', hint);
    if (status.size % ID_BYTES !== 0) {
      const rule = `its size must be a multiple of ${ID_BYTES} bytes`;
      throw new DataError(path, rule, `${status.size} bytes`, 'it is truncated: prepare the data again');
    }
    const start = await headerBytes(file, path, status.size);
    const length = (status.size - start) / ID_BYTES;
    const expected = expectedTokens(path, meta);
    if (expected !== undefined && expected !== length) {
      throw new DataError(
        path,
        `must hold the ${expected} tokens that ${DATA_FILES.meta} names`,
        `${length} tokens`,
        'it is truncated or of another run: prepare the data again',
      );
    }
    return new FileShard(path, start, length, file);
  } catch (error) {
    await file.close();
    throw error;
  }
}

function expectedTokens(path: string, meta: DatasetMeta | null): number | undefined {
  const name = basename(path);
  if (name === DATA_FILES.train) return meta?.train.tokens;
  return name === DATA_FILES.val ? meta?.val.tokens : undefined;
}

/**
 * The length of llm.c's header, 0 if there is none: 256 int32, of which the first three are a magic number, the
 * version and the number of ids. The magic number read as two 16-bit ids is beyond GPT-2's vocabulary.
 */
async function headerBytes(file: FileHandle, path: string, size: number): Promise<number> {
  const { bytesRead, buffer } = await file.read(Buffer.alloc(12), 0, 12, 0);
  if (bytesRead < 4) return 0;
  const magic = buffer.readInt32LE(0);
  if (magic === LLMC_MAGIC_32) {
    throw new DataError(path, 'must hold 16-bit ids', "llm.c's 32-bit ones", 'prepare the text with gpt2');
  }
  if (magic !== LLMC_MAGIC) return 0;
  const version = bytesRead < 8 ? 'none' : buffer.readInt32LE(4);
  if (version !== LLMC_VERSION) {
    throw new DataError(path, `its llm.c header must have version ${LLMC_VERSION}`, version);
  }
  const tokens = bytesRead < 12 ? -1 : buffer.readInt32LE(8);
  if (tokens < 1 || size !== LLMC_HEADER_BYTES + tokens * ID_BYTES) {
    const rule = `must hold the ${tokens} tokens that its llm.c header names`;
    const found = Math.max(0, (size - LLMC_HEADER_BYTES) / ID_BYTES);
    throw new DataError(path, rule, `${found} tokens`, 'fetch or write it again');
  }
  return LLMC_HEADER_BYTES;
}

class FileShard implements TokenShard {
  readonly name: string;
  readonly length: number;
  readonly #file: FileHandle;
  /** Bytes before the first id. */
  readonly #start: number;

  constructor(name: string, start: number, length: number, file: FileHandle) {
    this.name = name;
    this.#start = start;
    this.length = length;
    this.#file = file;
  }

  async read(offset: number, count: number): Promise<Uint16Array> {
    checkRange(this, offset, count);
    const ids = new Uint16Array(count);
    const bytes = Buffer.from(ids.buffer);
    for (let done = 0; done < bytes.length; ) {
      const place = this.#start + offset * ID_BYTES + done;
      const { bytesRead } = await this.#file.read(bytes, done, bytes.length - done, place);
      if (bytesRead === 0) {
        throw new DataError(
          this.name,
          `must keep its ${this.length} tokens while it is read`,
          'a shorter file',
        );
      }
      done += bytesRead;
    }
    if (SWAP) bytes.swap16();
    return ids;
  }

  close(): Promise<void> {
    return this.#file.close();
  }
}

/** Throws DataError unless `count` tokens from `offset` on lie within the shard. */
function checkRange({ name, length }: TokenShard, offset: number, count: number): void {
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

/** A stretch of a shard; closing it is left to who opened the whole. */
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

/** Reads the folder's `meta.json`; null if there is none. nanoGPT's `meta.pkl` is not read. */
export async function readMeta(folder: string): Promise<DatasetMeta | null> {
  const path = join(folder, DATA_FILES.meta);
  const json = await readJSON(path);
  return json === undefined ? null : parseMeta(json, path);
}
