/**
 * Files of token ids: finds the type of the ids, and reads them at any offset without holding the file in memory. The
 * type comes from the file's own header (numpy's or llm.c's), else from the caller that opens the file, and is never
 * guessed. A file that plainly is something else (`formats/disguise.ts`) is refused. This file must not handle folders
 * (`dataset.ts`).
 */
import { type FileHandle, open } from 'node:fs/promises';
import { basename, extname, join } from 'node:path';
import { DataError } from '../errors.js';
import { type Disguise, disguiseOf, type FileSample } from '../formats/disguise.js';
import {
  alwaysFits,
  INTEGER_TYPES,
  integerAt,
  type IntegerFormat,
  type IntegerType,
  toHostOrder,
  toIds,
} from '../formats/integers.js';
import { isNpy, MAX_NPY_HEADER_BYTES, parseNpyHeader } from '../formats/npy.js';
import { checkRange, type TokenShard } from './shard.js';

/** llm.c's token files by magic number: with GPT-2's ids, and with Llama's. */
const LLMC_FILES = new Map<number, { readonly type: IntegerType; readonly version: number }>([
  [20240520, { type: 'uint16', version: 1 }],
  [20240801, { type: 'uint32', version: 7 }],
]);
const LLMC_HEADER_BYTES = 256 * 4;
/** Bytes of a file that are sampled: all of a short file, else stretches spread from its beginning to its end. */
const SAMPLE_BYTES = 1 << 18;
const STRETCHES = 64;
/** Bytes that are converted at a time. */
const CHUNK_BYTES = 1 << 20;
const MAKE = 'make it with `loopnn prepare`';

/** What the caller knows of a token file. */
export interface TokenFileOptions {
  /** The type of the ids, if the user gives it. */
  readonly dtype?: IntegerType | undefined;
  /** The type of the ids in a file without a header if the user gives none; undefined if the user must give it. */
  readonly usual?: IntegerType | undefined;
  /** The number of tokens that `meta.json` gives; the file then is known to hold tokens. */
  readonly tokens?: number | undefined;
  /** A hint for an evaluation or a training that needs more tokens. */
  readonly tooShort?: string | undefined;
}

/** A sequence of integers in a file. */
interface Layout extends IntegerFormat {
  readonly start: number;
  readonly count: number;
}

/**
 * Opens a token file. If its type allows integers that are too large for ids, the whole file is checked once.
 *
 * @throws DataError if the file is missing, empty, truncated or no token file, if the type of its ids is not known, or
 *   for an integer that is no id
 */
export async function openTokenFile(path: string, options: TokenFileOptions = {}): Promise<TokenShard> {
  let file: FileHandle;
  try {
    file = await open(path, 'r');
  } catch (error) {
    throw new DataError(path, 'must be a token shard', error instanceof Error ? error.message : error, MAKE);
  }
  try {
    const status = await file.stat();
    if (!status.isFile()) throw new DataError(path, 'must be a token shard', 'no file', MAKE);
    if (status.size === 0) throw new DataError(path, 'must hold tokens', 'an empty file', MAKE);
    const layout = await findLayout(file, path, status.size, options);
    if (options.tokens !== undefined && options.tokens !== layout.count) {
      throw new DataError(
        path,
        `must hold the ${options.tokens} tokens that meta.json names`,
        `${layout.count} tokens`,
        'it is truncated or of another run: prepare the data again',
      );
    }
    const shard = new TokenFile(path, layout, file, options.tooShort);
    if (!alwaysFits(layout.type)) await shard.checkAll();
    return shard;
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** The layout that the header gives, else the one that the options and the file's size give. */
async function findLayout(
  file: FileHandle,
  path: string,
  size: number,
  { dtype, usual, tokens }: TokenFileOptions,
): Promise<Layout> {
  const head = await readAt(file, 0, Math.min(size, MAX_NPY_HEADER_BYTES));
  const declared = isNpy(head) ? npyLayout(head, path, size) : llmcLayout(head, path, size);
  if (declared !== null) {
    if (dtype === undefined || dtype === declared.type) return declared;
    throw new DataError(
      path,
      `must hold ${dtype}, as --dtype says`,
      `${declared.type} by its header`,
      'leave --dtype out',
    );
  }
  const type = dtype ?? usual;
  const width = INTEGER_TYPES[type ?? 'uint16'].bytes;
  const disguise = tokens === undefined ? disguiseOf(await takeSample(file, size, head), width) : null;
  if (disguise !== null) throw disguised(path, disguise);
  if (type === undefined) {
    const rule = 'must state the type of its ids, as .npy and llm.c’s files do';
    throw new DataError(path, rule, 'no header', 'give --dtype, e.g. uint16 where numpy.uint16 was written');
  }
  if (size % width !== 0) {
    const rule = `its size must be a multiple of ${width} bytes`;
    throw new DataError(path, rule, `${size} bytes`, 'it is truncated, or holds ids of another type');
  }
  return { type, bigEndian: false, start: 0, count: size / width };
}

function disguised(path: string, { what, hint }: Disguise): DataError {
  const name = basename(path, extname(path));
  return new DataError(
    path,
    'must hold token ids',
    what,
    hint ?? `prepare it: loopnn prepare ${path} --out ${join('data', name)}`,
  );
}

function npyLayout(head: Uint8Array, path: string, size: number): Layout {
  const { type, bigEndian, start, count } = parseNpyHeader(head, path);
  return counted({ type, bigEndian, start, count }, path, size, 'numpy');
}

/** llm.c's header has 256 int32; the first three are a magic number, the version and the number of ids. */
function llmcLayout(head: Buffer, path: string, size: number): Layout | null {
  const known = head.length < 4 ? undefined : LLMC_FILES.get(head.readInt32LE(0));
  if (known === undefined) return null;
  const version = head.length < 8 ? 'none' : head.readInt32LE(4);
  if (version !== known.version) {
    throw new DataError(path, `its llm.c header must have version ${known.version}`, version);
  }
  const count = head.length < 12 ? -1 : head.readInt32LE(8);
  return counted(
    { type: known.type, bigEndian: false, start: LLMC_HEADER_BYTES, count },
    path,
    size,
    'llm.c',
  );
}

/** Checks that a file holds as many tokens as its header says. */
function counted(layout: Layout, path: string, size: number, whose: string): Layout {
  const { count, start, type } = layout;
  if (count === 0) throw new DataError(path, 'must hold tokens', `none by its ${whose} header`);
  const { bytes } = INTEGER_TYPES[type];
  if (count < 0 || size !== start + count * bytes) {
    const rule = `must hold the ${count} tokens that its ${whose} header names`;
    const found = Math.max(0, (size - start) / bytes);
    throw new DataError(path, rule, `${found} tokens`, 'fetch or write it again');
  }
  return layout;
}

async function takeSample(file: FileHandle, size: number, head: Uint8Array): Promise<FileSample> {
  const length = SAMPLE_BYTES / STRETCHES;
  const starts =
    size <= SAMPLE_BYTES
      ? [0]
      : Array.from({ length: STRETCHES }, (_, i) => {
          const at = (i / (STRETCHES - 1)) * (size - length);
          return Math.floor(at / 16) * 16;
        });
  const blocks: Uint8Array[] = [];
  for (const start of starts) blocks.push(await readAt(file, start, size <= SAMPLE_BYTES ? size : length));
  const [last] = await readAt(file, size - 1, 1);
  return { size, head, last, blocks };
}

/** Up to `length` bytes from offset `place` on. */
async function readAt(file: FileHandle, place: number, length: number): Promise<Buffer<ArrayBuffer>> {
  const bytes = Buffer.from(new ArrayBuffer(length));
  let done = 0;
  while (done < length) {
    const { bytesRead } = await file.read(bytes, done, length - done, place + done);
    if (bytesRead === 0) break;
    done += bytesRead;
  }
  return bytes.subarray(0, done);
}

class TokenFile implements TokenShard {
  readonly length: number;
  readonly #width: number;

  constructor(
    readonly name: string,
    private readonly layout: Layout,
    private readonly file: FileHandle,
    readonly tooShort: string | undefined,
  ) {
    this.length = layout.count;
    this.#width = INTEGER_TYPES[layout.type].bytes;
  }

  async read(offset: number, count: number): Promise<Uint16Array> {
    checkRange(this, offset, count);
    const ids = new Uint16Array(count);
    const { layout } = this;
    if (layout.type === 'uint16') {
      const bytes = new Uint8Array(ids.buffer);
      await this.#fill(bytes, offset);
      toHostOrder(bytes, layout);
    } else await this.#convert(offset, count, (found, at) => ids.set(found, at));
    return ids;
  }

  /** Throws DataError for the first integer that is no id. */
  async checkAll(): Promise<void> {
    await this.#convert(0, this.length, () => {});
  }

  close(): Promise<void> {
    return this.file.close();
  }

  /** Converts integers to ids, a stretch at a time; `take` receives each stretch and its offset from `offset`. */
  async #convert(offset: number, count: number, take: (ids: Uint16Array, at: number) => void): Promise<void> {
    const most = Math.min(count, CHUNK_BYTES / this.#width);
    const ids = new Uint16Array(most);
    for (let at = 0; at < count; at += most) {
      const here = Math.min(most, count - at);
      const bytes = new Uint8Array(here * this.#width);
      await this.#fill(bytes, offset + at);
      const made = toIds(bytes, this.layout, ids);
      if (made < here) throw await this.#noId(offset + at + made);
      take(ids.subarray(0, here), at);
    }
  }

  async #noId(place: number): Promise<DataError> {
    const bytes = new Uint8Array(this.#width);
    await this.#fill(bytes, place);
    const { type, start } = this.layout;
    const other = start === 0 ? `if they are no ${type}, say so with --dtype; ` : '';
    const hint = `${other}ids of larger vocabularies cannot be read`;
    return new DataError(
      `${this.name}, token ${place}`,
      'must be an id from 0 to 65535',
      integerAt(bytes, this.layout),
      hint,
    );
  }

  /** Fills `bytes` with the file's bytes from the integer at `offset` on. */
  async #fill(bytes: Uint8Array, offset: number): Promise<void> {
    for (let done = 0; done < bytes.length; ) {
      const place = this.layout.start + offset * this.#width + done;
      const { bytesRead } = await this.file.read(bytes, done, bytes.length - done, place);
      if (bytesRead === 0) {
        throw new DataError(
          this.name,
          `must keep its ${this.length} tokens while it is read`,
          'a shorter file',
        );
      }
      done += bytesRead;
    }
  }
}
