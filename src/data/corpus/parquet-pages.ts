/**
 * The pages of a parquet column in one row group, one after another, in memory that does not grow with the pages' size:
 * a large dictionary is kept in a temporary file. This file finds where pages begin and checks what their headers
 * claim; `parquet-unpack.ts` unpacks the bodies, and `parquet-values.ts` reads their values.
 */
import { type FileHandle, mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parquetHeader } from 'hyparquet/src/column.js';
import { writing } from '../../node/file-errors.js';
import { type Body, type Bytes, unpackedPage, WHOLE_PAGE_BYTES } from './parquet-unpack.js';
import { type Dictionary, Feed, LONGEST_TEXT, pageValues } from './parquet-values.js';

/** Where temporary files go, in messages. */
export const TEMPORARY_NOTE = 'TMPDIR names the folder';

/** Limits on what is held in memory, in bytes. */
export interface PageLimits {
  /** The largest page that is unpacked at once. */
  readonly whole: number;
  /** The largest dictionary that is not written to a file. */
  readonly dictionary: number;
}

export const PAGE_LIMITS: PageLimits = { whole: WHOLE_PAGE_BYTES, dictionary: 1 << 25 };

/** Bytes that are read for a page's header, at first and at most: it may hold the column's least and greatest text. */
const FIRST_HEADER_BYTES = 1 << 10;
const MOST_HEADER_BYTES = 1 << 26;
/** Most texts of a dictionary: the end of each is held in memory. */
const MOST_IN_DICTIONARY = 1 << 24;

/** A column's pages in one row group. */
export interface Chunk {
  readonly start: number;
  readonly end: number;
  readonly codec: string;
  readonly rows: number;
  /** Whether there may be nulls. */
  readonly optional: boolean;
}

/** A page of values. */
export interface Page {
  readonly rows: number;
  /** The values, null for a null. A caller that needs none of them may skip the call. */
  values(): AsyncGenerator<Uint8Array | null>;
}

type Header = ReturnType<typeof parquetHeader>;

/** Iterates over the pages of a chunk; throws Error. */
export class Pages {
  /** Bytes that the pages so far claim to take unpacked; texts that they repeat from a dictionary count once. */
  unpackedBytes = 0;
  #dictionary: (Dictionary & AsyncDisposable) | undefined;

  constructor(
    private readonly file: Bytes,
    private readonly chunk: Chunk,
    private readonly limits = PAGE_LIMITS,
  ) {}

  async *[Symbol.asyncIterator](): AsyncGenerator<Page> {
    const { start, end, rows } = this.chunk;
    let left = rows;
    try {
      for (let at = start; left > 0 && at < end; ) {
        const { header, bytes } = await this.#header(at);
        const { compressed_page_size: packed, uncompressed_page_size: unpacked } = header;
        at += bytes;
        if (!(packed >= 0 && packed <= end - at && unpacked >= 0))
          throw new Error(`a page of ${packed ?? 'an unknown number of'} bytes`);
        const body = { start: at, end: at + packed, codec: this.chunk.codec, unpackedBytes: unpacked };
        at += packed;
        this.unpackedBytes += unpacked;
        if (header.type === 'DICTIONARY_PAGE') await this.#readDictionary(header, body);
        else if (header.type === 'INDEX_PAGE') continue;
        else {
          const page = this.#page(header, body, left);
          left -= page.rows;
          yield page;
        }
      }
    } finally {
      await this.#dictionary?.[Symbol.asyncDispose]();
    }
  }

  /** A page's header, and its size in bytes. */
  async #header(at: number): Promise<{ header: Header; bytes: number }> {
    for (let size = FIRST_HEADER_BYTES; ; size *= 16) {
      const end = Math.min(this.chunk.end, at + size);
      const reader = { view: new DataView(await this.file.slice(at, end)), offset: 0 };
      try {
        return { header: parquetHeader(reader), bytes: reader.offset };
      } catch (error) {
        if (end === this.chunk.end || size >= MOST_HEADER_BYTES) throw error;
      }
    }
  }

  #page(header: Header, body: Body, left: number): Page {
    const { optional } = this.chunk;
    const { data_page_header: first, data_page_header_v2: second, type } = header;
    const described = type === 'DATA_PAGE' ? first : type === 'DATA_PAGE_V2' ? second : undefined;
    if (described === undefined) throw new Error(`a page of an unknown kind: ${type}`);
    const { num_values: rows, encoding } = described;
    // A flat column has a value for each row.
    for (const count of [rows, second?.num_rows]) {
      if (count !== undefined && !(count >= 0 && count <= left)) {
        throw new Error(`a page of ${count} values where ${left} are left`);
      }
    }
    if (second === undefined || type === 'DATA_PAGE') {
      return {
        rows,
        values: () => this.#values(body, { values: rows, encoding, levels: undefined, optional }),
      };
    }
    const { repetition_levels_byte_length: before, definition_levels_byte_length: size } = second;
    const from = body.start + before;
    const start = from + size;
    if (!(before >= 0 && size >= 0 && start <= body.end && before + size <= body.unpackedBytes)) {
      throw new Error(`levels of ${before + size} bytes in a page of ${body.end - body.start}`);
    }
    const unpackedBytes = body.unpackedBytes - before - size;
    const codec = second.is_compressed === false ? 'UNCOMPRESSED' : body.codec;
    const values = async function* (this: Pages) {
      const levels = new Uint8Array(await this.file.slice(from, start));
      const rest = { start, end: body.end, codec, unpackedBytes };
      yield* this.#values(rest, { values: rows, encoding, levels, optional });
    };
    return { rows, values: values.bind(this) };
  }

  async *#values(body: Body, header: Parameters<typeof pageValues>[1]): AsyncGenerator<Uint8Array | null> {
    const feed = new Feed(unpackedPage(this.file, body, this.limits.whole));
    try {
      yield* pageValues(feed, header, this.#dictionary);
    } finally {
      await feed.close();
    }
  }

  async #readDictionary(header: Header, body: Body): Promise<void> {
    const count = header.dictionary_page_header?.num_values ?? 0;
    // A text in a dictionary takes four bytes for its length, and its own bytes.
    if (!(count >= 0 && count <= body.unpackedBytes / 4 && count <= MOST_IN_DICTIONARY)) {
      throw new Error(`a dictionary of ${count} texts in ${body.unpackedBytes} bytes`);
    }
    await this.#dictionary?.[Symbol.asyncDispose]();
    const chunks = unpackedPage(this.file, body, this.limits.whole);
    this.#dictionary =
      body.unpackedBytes <= this.limits.dictionary
        ? await dictionaryInMemory(chunks, body.unpackedBytes, count)
        : await dictionaryInFile(chunks, count);
  }
}

async function dictionaryInMemory(chunks: AsyncIterable<Uint8Array>, size: number, count: number) {
  const bytes = new Uint8Array(size);
  const ends = new TextEnds(count);
  let at = 0;
  for await (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.length;
    ends.see(chunk);
  }
  ends.check();
  return {
    count,
    at: (place: number) => bytes.subarray(ends.start(place), ends.end(place)),
    [Symbol.asyncDispose]: async () => {},
  };
}

/** A dictionary that is too large for memory, in a temporary file for random access. */
async function dictionaryInFile(chunks: AsyncIterable<Uint8Array>, count: number) {
  const folder = await temporaryFolder();
  const path = join(folder, 'dictionary');
  let file: FileHandle | undefined;
  const dispose = async () => {
    await file?.close();
    await rm(folder, { recursive: true, force: true });
  };
  try {
    const ends = new TextEnds(count);
    const opened = await writing(path, () => open(path, 'w+'), TEMPORARY_NOTE);
    file = opened;
    for await (const chunk of chunks) {
      ends.see(chunk);
      await writing(path, () => opened.appendFile(chunk), TEMPORARY_NOTE);
    }
    ends.check();
    return {
      count,
      at: (place: number) => readPlace(opened, ends.start(place), ends.end(place)),
      [Symbol.asyncDispose]: dispose,
    };
  } catch (error) {
    await dispose();
    throw error;
  }
}

/** The bytes of a file from `start` to `end`; throws Error if it has fewer. */
export async function readPlace(
  file: FileHandle,
  start: number,
  end: number,
): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = new Uint8Array(end - start);
  for (let done = 0; done < bytes.length; ) {
    const { bytesRead } = await file.read(bytes, done, bytes.length - done, start + done);
    if (bytesRead === 0) throw new Error('a file that became shorter while it was read');
    done += bytesRead;
  }
  return bytes;
}

/** Makes a new folder for temporary files; throws FileError. */
export function temporaryFolder(): Promise<string> {
  return writing(tmpdir(), () => mkdtemp(join(tmpdir(), 'loopnn-parquet-')), TEMPORARY_NOTE);
}

/** Finds, chunk by chunk, where the texts of a dictionary end; each text follows the four bytes of its length. */
class TextEnds {
  readonly #ends: Uint32Array;
  #found = 0;
  /** The offset of the next bytes in the dictionary. */
  #at = 0;
  /** The offset of the next text's length, and the part of that length that has been read. */
  #next = 0;
  #length = 0;

  constructor(private readonly count: number) {
    this.#ends = new Uint32Array(count);
  }

  see(chunk: Uint8Array): void {
    const end = this.#at + chunk.length;
    while (this.#found < this.count && this.#next < end) {
      const from = Math.max(this.#next, this.#at);
      const until = Math.min(this.#next + 4, end);
      for (let i = from; i < until; i++) this.#length += chunk[i - this.#at] * 2 ** (8 * (i - this.#next));
      if (this.#next + 4 > end) break;
      if (this.#length > LONGEST_TEXT)
        throw new Error(`a text of ${this.#length} bytes, above ${LONGEST_TEXT}`);
      this.#next += 4 + this.#length;
      this.#length = 0;
      this.#ends[this.#found++] = this.#next;
    }
    this.#at = end;
  }

  check(): void {
    if (this.#found < this.count || (this.count > 0 && this.#next > this.#at)) {
      throw new Error(`a dictionary that ends within ${this.count} texts`);
    }
  }

  start(place: number): number {
    return place === 0 ? 4 : this.#ends[place - 1] + 4;
  }

  end(place: number): number {
    return this.#ends[place];
  }
}
