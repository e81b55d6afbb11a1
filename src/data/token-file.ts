/**
 * Files of token ids: of what type the ids are, and reading them at any place without holding the file in memory. The
 * type comes from the file's own header (numpy's or llm.c's), else from the caller that opens it, and is never guessed;
 * what plainly is something else (`formats/disguise.ts`) is refused. Knows no folders (`dataset.ts`).
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

/** llm.c's token files by magic number: those of GPT-2's ids, and those of Llama's. */
const LLMC_FILES = new Map<number, { readonly type: IntegerType; readonly version: number }>([
  [20240520, { type: 'uint16', version: 1 }],
  [20240801, { type: 'uint32', version: 7 }],
]);
const LLMC_HEADER_BYTES = 256 * 4;
/** How much of a file is looked at: all of a short one, else stretches of a page from the first to the last. */
const SAMPLE_BYTES = 1 << 18;
const STRETCHES = 64;
/** Bytes that are converted at once. */
const CHUNK_BYTES = 1 << 20;
const MAKE = 'make it with `loopnn prepare`';

/** The caller's facts of a token file. */
export interface TokenFileOptions {
  /** The type of the ids, as the user says. */
  readonly dtype?: IntegerType | undefined;
  /** The type of a file without a header where nobody says; undefined if it must be said. */
  readonly usual?: IntegerType | undefined;
  /** The number of tokens that `meta.json` names; then it is known what the file holds. */
  readonly tokens?: number | undefined;
  /** What to do where an evaluation or a training wants more tokens. */
  readonly tooShort?: string | undefined;
}

/** A row of integers in a file. */
interface Layout extends IntegerFormat {
  readonly start: number;
  readonly count: number;
}

/**
 * Opens a token file. One whose integers may be too large for ids is gone through once.
 *
 * @throws DataError if it is missing, empty, truncated or no token file, if its type is not known, or for an integer
 *   that is no id
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

/** What the header says, or else what is known without. */
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
    const rule = 'must say of what type its ids are, as .npy and llm.c’s files do';
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

/** llm.c's header: 256 int32, of which the first three are a magic number, the version and the number of ids. */
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

/** Checks that a file holds what its header says. */
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

/** Up to `length` bytes from a place on. */
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

  /** Goes through integers as ids, a stretch at a time, each with its place among them. */
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
    const hint = `${other}ids of larger vocabularies can not be read`;
    return new DataError(
      `${this.name}, token ${place}`,
      'must be an id from 0 to 65535',
      integerAt(bytes, this.layout),
      hint,
    );
  }

  /** Fills `bytes` with the integers from `offset` on, as they lie in the file. */
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
