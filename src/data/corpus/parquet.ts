/**
 * Parquet: one column of strings, page by page, so that memory grows neither with a file nor with a row group. This
 * file handles files and columns, and must not import tokenizers. hyparquet reads the format itself, `parquet-pages.ts`
 * its pages.
 */
import { isUtf8 } from 'node:buffer';
import { type FileHandle, open, rm, stat, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { type FileMetaData, parquetMetadataAsync, parquetSchema, type RowGroup } from 'hyparquet';
import { DataError, FileError } from '../../errors.js';
import { writing } from '../../node/file-errors.js';
import { type Packing, readChunks } from './packing.js';
import {
  type Chunk,
  PAGE_LIMITS,
  type PageLimits,
  Pages,
  readPlace,
  TEMPORARY_NOTE,
  temporaryFolder,
} from './parquet-pages.js';
import type { Bytes } from './parquet-unpack.js';
import { noteExpansion, noteNull, type TextDocument, type TextWarnings } from './source.js';
import { cutPieces } from './text.js';

/** Most bytes of a footer; a file with a larger one is damaged or hostile. */
const MAX_FOOTER_BYTES = 1 << 27;
/** Bytes of a long text that are decoded at a time. */
const DECODED_BYTES = 1 << 20;

/** A parquet file's column of text, open for reading. */
export interface ParquetText {
  /** Number of rows that hold a text; undefined if the file does not count its nulls. */
  readonly texts: number | undefined;
  /** Bytes of the column, unpacked: slightly more than the text. */
  readonly bytes: number;
  /** The texts from number `skip` on; whole row groups before it are not read if the file counts their texts. */
  documents(warnings: TextWarnings, skip?: number): AsyncGenerator<TextDocument>;
  close(): Promise<void>;
}

/**
 * The documents of a parquet file, one a row, without nulls; a packed file is unpacked to a temporary file first.
 * Throws DataError.
 */
export async function* parquetDocuments(
  path: string,
  packing: Packing,
  column: string,
  warnings: TextWarnings,
  skip = 0,
): AsyncGenerator<TextDocument> {
  if (packing !== 'none') {
    yield* withUnpacked(path, packing, (file, times) =>
      readDocuments(openParquet(file, column, path, times), warnings, skip),
    );
    return;
  }
  yield* readDocuments(openParquet(path, column), warnings, skip);
}

async function* readDocuments(
  opened: Promise<ParquetText>,
  warnings: TextWarnings,
  skip: number,
): AsyncGenerator<TextDocument> {
  const text = await opened;
  try {
    yield* text.documents(warnings, skip);
  } finally {
    await text.close();
  }
}

/**
 * Unpacks a file into a temporary one, for random access.
 *
 * @param read receives the unpacked file, and how many times larger than the packed one it is
 */
async function* withUnpacked<Item>(
  path: string,
  packing: Packing,
  read: (file: string, times: number) => AsyncIterable<Item>,
): AsyncGenerator<Item> {
  const folder = await temporaryFolder();
  try {
    const file = join(folder, basename(path));
    await writing(file, () => writeFile(file, readChunks(path, packing)), TEMPORARY_NOTE);
    yield* read(file, (await stat(file)).size / (await stat(path)).size);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/**
 * Opens a column of strings.
 *
 * @param name the file's name in messages
 * @param times how many times larger the file is than the packed file that it comes from
 * @param limits what is held in memory; the result does not depend on them
 * @throws DataError if the file is damaged, or the column is missing, nested or of another type
 */
export async function openParquet(
  path: string,
  column: string,
  name = path,
  times = 1,
  limits: PageLimits = PAGE_LIMITS,
): Promise<ParquetText> {
  const file = await open(path, 'r').catch((error: unknown) => {
    throw new DataError(name, 'must be readable', messageOf(error));
  });
  try {
    const buffer = await sliceable(file, name);
    const metadata = await readMetadata(buffer, name);
    const bytes = checkColumn(metadata, column, name);
    return new OpenParquet(file, buffer, metadata, column, name, times, limits, bytes);
  } catch (error) {
    await file.close();
    if (error instanceof DataError) throw error;
    // Any part of a damaged file's metadata may be missing.
    throw new DataError(name, 'must be a parquet file', messageOf(error), DAMAGED);
  }
}

class OpenParquet implements ParquetText {
  readonly texts: number | undefined;

  constructor(
    private readonly file: FileHandle,
    private readonly buffer: Bytes,
    private readonly metadata: FileMetaData,
    private readonly column: string,
    private readonly name: string,
    private readonly times: number,
    private readonly limits: PageLimits,
    readonly bytes: number,
  ) {
    let texts: number | undefined = 0;
    for (const group of metadata.row_groups) {
      const count = this.#textsOf(group);
      texts = texts === undefined || count === undefined ? undefined : texts + count;
    }
    this.texts = texts;
  }

  async *documents(warnings: TextWarnings, skip = 0): AsyncGenerator<TextDocument> {
    let row = 0;
    let passed = 0;
    const sizes = { packed: 0, unpacked: 0 };
    for (const group of this.metadata.row_groups) {
      const first = row;
      const before = passed;
      const end = row + Number(group.num_rows);
      const texts = this.#textsOf(group);
      if (texts !== undefined && passed + texts <= skip) {
        row = end;
        passed += texts;
        continue;
      }
      let text = 0;
      const chunk = this.#chunk(group);
      const pages = new Pages(this.buffer, chunk, this.limits);
      try {
        for await (const page of pages) {
          // Without nulls, a page's rows are counted without unpacking it.
          if (texts === end - first && passed + page.rows <= skip) {
            row += page.rows;
            passed += page.rows;
            continue;
          }
          for await (const value of page.values()) {
            if (value === null) {
              if (passed >= skip) noteNull(warnings, this.#row(row));
            } else {
              text += value.length;
              if (passed++ >= skip) yield this.#document(value, row, warnings);
            }
            row++;
          }
        }
      } catch (error) {
        if (error instanceof FileError) throw error;
        throw new DataError(this.name, `must hold rows ${first} to ${end - 1}`, messageOf(error), DAMAGED);
      }
      if (row !== end || (texts !== undefined && passed - before !== texts)) {
        const rule = `must hold rows ${first} to ${end - 1}`;
        const got =
          row === end ? `${passed - before} texts where it counts ${texts}` : `${row - first} of them`;
        throw new DataError(this.name, rule, got, DAMAGED);
      }
      sizes.packed += chunk.end - chunk.start;
      sizes.unpacked += Math.max(pages.unpackedBytes, text);
    }
    noteExpansion(warnings, this.name, sizes.packed / this.times, sizes.unpacked);
  }

  /** Rows of a group that are not null; undefined if the file does not count them. */
  #textsOf(group: RowGroup): number | undefined {
    const rows = Number(group.num_rows);
    if (!isOptional(this.metadata, this.column)) return rows;
    const nulls = columnOf(group, this.column)?.statistics?.null_count;
    return nulls === undefined ? undefined : rows - Number(nulls);
  }

  /** The column's place in the file, by the rule that hyparquet follows. */
  #chunk(group: RowGroup): Chunk {
    const column = columnOf(group, this.column)!; // `checkColumn` has found it
    const start = Number(column.dictionary_page_offset || column.data_page_offset);
    const end = start + Number(column.total_compressed_size);
    const optional = isOptional(this.metadata, this.column);
    return { start, end, codec: String(column.codec), rows: Number(group.num_rows), optional };
  }

  #row(row: number): string {
    return `${this.name}, row ${row}`;
  }

  #document(value: Uint8Array, row: number, warnings: TextWarnings): TextDocument {
    const valid = isUtf8(value);
    if (!valid) warnings.invalidUtf8++;
    return {
      name: this.#row(row),
      size: valid ? value.length : Buffer.byteLength(utf8.decode(value)),
      pieces: () => cutPieces(decoded(value)),
    };
  }

  close(): Promise<void> {
    return this.file.close();
  }
}

type ColumnMetaData = NonNullable<RowGroup['columns'][number]['meta_data']>;

function columnOf(group: RowGroup, column: string): ColumnMetaData | undefined {
  return group.columns.find((part) => part.meta_data?.path_in_schema[0] === column)?.meta_data;
}

function isOptional(metadata: FileMetaData, column: string): boolean {
  const { children } = parquetSchema(metadata);
  return children.some(({ element }) => element.name === column && element.repetition_type === 'OPTIONAL');
}

/** A text, in pieces where it is long. */
async function* decoded(value: Uint8Array): AsyncGenerator<string> {
  if (value.length <= DECODED_BYTES) {
    yield utf8.decode(value);
    return;
  }
  const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
  for (let at = 0; at < value.length; at += DECODED_BYTES) {
    yield decoder.decode(value.subarray(at, at + DECODED_BYTES), { stream: true });
  }
  yield decoder.decode();
}

const utf8 = new TextDecoder('utf-8', { ignoreBOM: true });
const DAMAGED = 'the file is damaged: fetch or write it again';

/**
 * The file in the form that hyparquet reads. Ranges come from the file itself, so they are checked before memory is
 * reserved.
 */
async function sliceable(file: FileHandle, name: string): Promise<Bytes> {
  const status = await file.stat();
  if (!status.isFile()) throw new DataError(name, 'must be a parquet file', 'no file');
  const byteLength = status.size;
  return {
    byteLength,
    async slice(start, end = byteLength) {
      if (!(start >= 0 && start <= end && end <= byteLength)) {
        throw new Error(`bytes ${start} to ${end} of a file of ${byteLength}`);
      }
      return (await readPlace(file, start, end)).buffer;
    },
  };
}

async function readMetadata(buffer: Bytes, name: string): Promise<FileMetaData> {
  const rule = 'must be a parquet file';
  if (buffer.byteLength < 12) throw new DataError(name, rule, `${buffer.byteLength} bytes`);
  try {
    const tail = new DataView(await buffer.slice(buffer.byteLength - 8));
    if (tail.getUint32(4, false) !== 0x50415231) throw new Error("no 'PAR1' at its end");
    const footer = tail.getUint32(0, true);
    if (footer > MAX_FOOTER_BYTES) throw new Error(`a footer of ${footer} bytes`);
    return await parquetMetadataAsync(buffer, { geoparquet: false });
  } catch (error) {
    throw new DataError(name, rule, messageOf(error), 'it is truncated, damaged or of another format');
  }
}

/** Checks that a column can be read as text, and returns its unpacked size in bytes. */
function checkColumn(metadata: FileMetaData, column: string, name: string): number {
  const damaged = (got: string) => new DataError(name, 'must be a parquet file', got, DAMAGED);
  const { children } = parquetSchema(metadata);
  const found = children.find(({ element }) => element.name === column);
  if (found === undefined) {
    const names = children.map(({ element }) => element.name).slice(0, 20);
    const got = names.length > 0 ? names.join(', ') : 'none';
    throw new DataError(
      name,
      `must have the column '${column}'`,
      got,
      'loopnn prepare --column reads another',
    );
  }
  const { type, repetition_type, converted_type, logical_type } = found.element;
  const where = `${name}: column '${column}'`;
  if (found.children.length > 0 || repetition_type === 'REPEATED') {
    throw new DataError(where, 'must hold text', 'a nested column', 'write its text to a column of its own');
  }
  const kind = logical_type?.type ?? converted_type ?? type;
  if (type !== 'BYTE_ARRAY' || !['STRING', 'UTF8', 'BYTE_ARRAY'].includes(String(kind))) {
    throw new DataError(where, 'must hold text', String(kind), 'name another column with --column');
  }
  let bytes = 0;
  for (const [index, group] of metadata.row_groups.entries()) {
    const chunk = columnOf(group, column);
    const rows = Number(group.num_rows);
    const size = Number(chunk?.total_uncompressed_size);
    const nulls = Number(chunk?.statistics?.null_count ?? 0n);
    if (!(Number.isSafeInteger(rows) && rows >= 0 && Number(chunk?.num_values) === rows && size >= 0)) {
      throw damaged(`row group ${index} without its column '${column}'`);
    }
    if (!(nulls >= 0 && nulls <= rows)) throw damaged(`${nulls} nulls in ${rows} rows of row group ${index}`);
    bytes += size;
  }
  return bytes;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
