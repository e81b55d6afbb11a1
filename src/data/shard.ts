/**
 * Token shards: files of little-endian unsigned 16-bit ids without a header, nanoGPT's layout. Knows ids and
 * positions; knows no text.
 */
import { type FileHandle, open, readFile, stat } from 'node:fs/promises';
import { endianness } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { DataError } from '../errors.js';
import { parseJSON } from '../formats/json.js';
import { tokenizerFromJSON } from '../tokenizer/load.js';
import type { Tokenizer } from '../tokenizer/tokenizer.js';
import { DATA_FILES, type DatasetMeta, parseMeta } from './meta.js';

const ID_BYTES = 2;
/** Of a `meta.json` or `tokenizer.json`: many times what a vocabulary of 16-bit ids takes. */
const MOST_JSON_BYTES = 1 << 26;
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

/** A prepared data folder, or one of nanoGPT's. */
export interface Dataset {
  readonly train: TokenShard;
  readonly val: TokenShard;
  /** null if the folder has no `meta.json`. */
  readonly meta: DatasetMeta | null;
  /** null if the folder has no `tokenizer.json`. */
  readonly tokenizer: Tokenizer | null;
  close(): Promise<void>;
  /** `await using data = await openDataset(…)` closes it at the end of the block. */
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * Opens a shard; throws DataError if it is missing, empty, has an odd number of bytes, or another number of tokens
 * than `meta.json` beside it says.
 */
export async function openTokenShard(path: string): Promise<TokenShard> {
  return openShard(path, await readMeta(dirname(path)));
}

/** Opens a folder with `train.bin` and `val.bin`; throws DataError if either is missing or damaged. */
export async function openDataset(folder: string): Promise<Dataset> {
  const meta = await readMeta(folder);
  const json = await readJSON(join(folder, DATA_FILES.tokenizer));
  const tokenizer =
    json === undefined ? null : await tokenizerFromJSON(json, join(folder, DATA_FILES.tokenizer));
  if (meta !== null && tokenizer !== null && meta.tokenizer.vocabSize !== tokenizer.vocabSize) {
    throw new DataError(
      join(folder, DATA_FILES.tokenizer),
      `must have the ${meta.tokenizer.vocabSize} ids that ${DATA_FILES.meta} names`,
      tokenizer.vocabSize,
      'prepare the data again',
    );
  }
  const train = await openShard(join(folder, DATA_FILES.train), meta);
  try {
    const val = await openShard(join(folder, DATA_FILES.val), meta);
    const close = async (): Promise<void> => {
      await train.close();
      await val.close();
    };
    return { train, val, meta, tokenizer, close, [Symbol.asyncDispose]: close };
  } catch (error) {
    await train.close();
    throw error;
  }
}

async function openShard(path: string, meta: DatasetMeta | null): Promise<TokenShard> {
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
    const length = status.size / ID_BYTES;
    const expected = expectedTokens(path, meta);
    if (expected !== undefined && expected !== length) {
      throw new DataError(
        path,
        `must hold the ${expected} tokens that ${DATA_FILES.meta} names`,
        `${length} tokens`,
        'it is truncated or of another run: prepare the data again',
      );
    }
    return new FileShard(path, length, file);
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

class FileShard implements TokenShard {
  readonly name: string;
  readonly length: number;
  readonly #file: FileHandle;

  constructor(name: string, length: number, file: FileHandle) {
    this.name = name;
    this.length = length;
    this.#file = file;
  }

  async read(offset: number, count: number): Promise<Uint16Array> {
    const whole = Number.isSafeInteger(offset) && Number.isSafeInteger(count);
    if (!whole || offset < 0 || count < 0 || offset + count > this.length) {
      const rule = `must be read within its ${this.length} tokens`;
      throw new DataError(this.name, rule, `${count} tokens from ${offset} on`);
    }
    const ids = new Uint16Array(count);
    const bytes = Buffer.from(ids.buffer);
    for (let done = 0; done < bytes.length; ) {
      const { bytesRead } = await this.#file.read(bytes, done, bytes.length - done, offset * ID_BYTES + done);
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

/** Reads the folder's `meta.json`; null if there is none. nanoGPT's `meta.pkl` is not read. */
async function readMeta(folder: string): Promise<DatasetMeta | null> {
  const path = join(folder, DATA_FILES.meta);
  const json = await readJSON(path);
  return json === undefined ? null : parseMeta(json, path);
}

/** Parses a JSON file; undefined if it is missing. */
export async function readJSON(path: string): Promise<unknown> {
  let text: string;
  let size = 0;
  try {
    size = (await stat(path)).size;
    text = size > MOST_JSON_BYTES ? '' : await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new DataError(path, 'must be readable', error instanceof Error ? error.message : error);
  }
  if (size > MOST_JSON_BYTES) {
    throw new DataError(path, `must have at most ${MOST_JSON_BYTES} bytes`, `${size} bytes`);
  }
  try {
    return parseJSON(text);
  } catch (error) {
    throw new DataError(path, 'must be JSON', error instanceof Error ? error.message : error);
  }
}

/** Writes a shard, a megabyte at a time. */
export class ShardWriter {
  tokens = 0;
  largestId = 0;
  readonly #file: FileHandle;
  readonly #buffer = new Uint16Array(1 << 19);
  #filled = 0;

  private constructor(file: FileHandle) {
    this.#file = file;
  }

  static async create(path: string): Promise<ShardWriter> {
    return new ShardWriter(await open(path, 'wx'));
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
    await this.#file.sync();
  }

  close(): Promise<void> {
    return this.#file.close();
  }

  async #flush(): Promise<void> {
    const bytes = Buffer.from(this.#buffer.buffer, 0, this.#filled * ID_BYTES);
    if (SWAP) bytes.swap16();
    await this.#file.writeFile(bytes);
    this.#filled = 0;
  }
}
