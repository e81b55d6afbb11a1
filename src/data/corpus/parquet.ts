/**
 * Parquet: one column of strings, row group by row group, so that memory grows with a group and not with a file.
 * Knows files and columns; knows no tokens. The format itself is hyparquet's.
 */
import { isUtf8 } from 'node:buffer';
import { type FileHandle, mkdtemp, open, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import {
  type FileMetaData,
  parquetMetadataAsync,
  parquetRead,
  parquetSchema,
  type RowGroup,
} from 'hyparquet';
import { DataError } from '../../errors.js';
import { writing } from '../../node/file-errors.js';
import { type Packing, readChunks } from './packing.js';
import { MAX_GROUP_BYTES, PageChecks } from './parquet-pages.js';
import { noteExpansion, type TextDocument, type TextWarnings } from './source.js';

/** Rows of one row group: a column may say the same text again in no bytes at all, and every row has its place in memory. */
export const MAX_GROUP_ROWS = 1 << 23;
/** Bytes of a footer, above which a file is damaged or hostile. */
const MAX_FOOTER_BYTES = 1 << 27;

/** A parquet file's column of text, open for reading. */
export interface ParquetText {
  readonly rows: number;
  /** Bytes of the column, unpacked: a little more than the text. */
  readonly bytes: number;
  /** The rows from number `skip` on; whole row groups before it are not read. */
  documents(warnings: TextWarnings, skip?: number): AsyncGenerator<TextDocument>;
  close(): Promise<void>;
}

/** The documents of a parquet file, one a row; a packed one is unpacked to a temporary file first. Throws DataError. */
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
 * Random access needs a file: the packed one is written out where temporary files go.
 *
 * @param read is given the unpacked file, and how many times larger it is
 */
async function* withUnpacked<Item>(
  path: string,
  packing: Packing,
  read: (file: string, times: number) => AsyncIterable<Item>,
): AsyncGenerator<Item> {
  const note = 'TMPDIR names the folder';
  const folder = await writing(tmpdir(), () => mkdtemp(join(tmpdir(), 'loopnn-parquet-')), note);
  try {
    const file = join(folder, basename(path));
    await writing(file, () => writeFile(file, readChunks(path, packing)), note);
    yield* read(file, (await stat(file)).size / (await stat(path)).size);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/**
 * Opens a column of strings.
 *
 * @param name the file's name in messages
 * @param times how many times larger the file is than what it was unpacked from
 * @throws DataError if the file is damaged, or the column is missing, nested, of another type, or has nulls
 */
export async function openParquet(
  path: string,
  column: string,
  name = path,
  times = 1,
): Promise<ParquetText> {
  const file = await open(path, 'r').catch((error: unknown) => {
    throw new DataError(name, 'must be readable', messageOf(error));
  });
  try {
    const buffer = await sliceable(file, name);
    const metadata = await readMetadata(buffer, name);
    const bytes = checkColumn(metadata, column, name);
    return new OpenParquet(file, buffer, metadata, column, name, times, bytes);
  } catch (error) {
    await file.close();
    if (error instanceof DataError) throw error;
    // Any part of a damaged file's description may be missing.
    throw new DataError(name, 'must be a parquet file', messageOf(error), DAMAGED);
  }
}

class OpenParquet implements ParquetText {
  readonly rows: number;

  constructor(
    private readonly file: FileHandle,
    private readonly buffer: Sliceable,
    private readonly metadata: FileMetaData,
    private readonly column: string,
    private readonly name: string,
    private readonly times: number,
    readonly bytes: number,
  ) {
    this.rows = metadata.row_groups.reduce((sum, group) => sum + Number(group.num_rows), 0);
  }

  async *documents(warnings: TextWarnings, skip = 0): AsyncGenerator<TextDocument> {
    let row = 0;
    const sizes = { packed: 0, unpacked: 0 };
    for (const group of this.metadata.row_groups) {
      const end = row + Number(group.num_rows);
      if (end <= skip) {
        row = end;
        continue;
      }
      for (const value of await this.#group(group, row, end, sizes)) {
        if (row >= skip) yield this.#document(value, row, warnings);
        row++;
      }
    }
    noteExpansion(warnings, this.name, sizes.packed / this.times, sizes.unpacked);
  }

  /** A group's values; adds what its pages take in the file, and what they or their texts take unpacked, to `sizes`. */
  async #group(
    group: RowGroup,
    start: number,
    end: number,
    sizes: { packed: number; unpacked: number },
  ): Promise<unknown[]> {
    const values: unknown[] = [];
    try {
      const chunk = await readChunk(this.buffer, columnOf(group, this.column));
      const pages = new PageChecks(chunk.bytes, end - start, isOptional(this.metadata, this.column));
      if (chunk.codec === 'UNCOMPRESSED') pages.checkPlain();
      await parquetRead({
        file: chunk.within(this.buffer),
        metadata: this.metadata,
        columns: [this.column],
        rowStart: start,
        rowEnd: end,
        compressors: pages.compressors,
        // Bytes stay bytes until their turn comes: they need no copy, and what is not UTF-8 can be told.
        parsers: { stringFromBytes: (bytes) => bytes },
        onChunk: ({ columnData }) => {
          for (const value of columnData) values.push(value);
        },
      });
      let text = 0;
      for (const value of values) if (value instanceof Uint8Array) text += value.length;
      sizes.packed += chunk.bytes.byteLength;
      sizes.unpacked += Math.max(pages.unpackedBytes, text);
    } catch (error) {
      throw new DataError(this.name, `must hold rows ${start} to ${end - 1}`, messageOf(error), DAMAGED);
    }
    if (values.length !== end - start) {
      const rule = `must hold rows ${start} to ${end - 1}`;
      throw new DataError(this.name, rule, `${values.length} of them`, DAMAGED);
    }
    return values;
  }

  #document(value: unknown, row: number, warnings: TextWarnings): TextDocument {
    const name = `${this.name}, row ${row}`;
    if (!(value instanceof Uint8Array)) {
      const got = value === null || value === undefined ? 'a null' : typeof value;
      throw new DataError(name, `column '${this.column}' must hold text`, got, NULLS);
    }
    const valid = isUtf8(value);
    if (!valid) warnings.invalidUtf8++;
    return {
      name,
      size: valid ? value.length : Buffer.byteLength(utf8.decode(value)),
      async *pieces() {
        if (value.length > 0) yield utf8.decode(value);
      },
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

/** A column's bytes in one row group, and the file with these bytes at hand. */
async function readChunk(buffer: Sliceable, column: ColumnMetaData | undefined) {
  if (column === undefined) throw new Error('a row group without the column');
  // As hyparquet finds it: what is checked is what it reads.
  const start = Number(column.dictionary_page_offset || column.data_page_offset);
  const end = start + Number(column.total_compressed_size);
  const bytes = await buffer.slice(start, end);
  return {
    bytes,
    codec: column.codec,
    within: (file: Sliceable): Sliceable => ({
      byteLength: file.byteLength,
      slice: async (from, to) => (from === start && to === end ? bytes : file.slice(from, to)),
    }),
  };
}

const utf8 = new TextDecoder('utf-8', { ignoreBOM: true });
const DAMAGED = 'the file is damaged: fetch or write it again';
const SMALLER = 'write the file with smaller row groups';
const NULLS = 'leave out the rows without text when the file is written';

interface Sliceable {
  readonly byteLength: number;
  slice(start: number, end?: number): Promise<ArrayBuffer>;
}

/** The file as hyparquet reads one. Ranges come from the file itself, so they are checked before memory is reserved. */
async function sliceable(file: FileHandle, name: string): Promise<Sliceable> {
  const status = await file.stat();
  if (!status.isFile()) throw new DataError(name, 'must be a parquet file', 'no file');
  const byteLength = status.size;
  return {
    byteLength,
    async slice(start, end = byteLength) {
      if (!(start >= 0 && start <= end && end <= byteLength)) {
        throw new Error(`bytes ${start} to ${end} of a file of ${byteLength}`);
      }
      if (end - start > MAX_GROUP_BYTES) {
        throw new Error(`${end - start} bytes in one piece, above ${MAX_GROUP_BYTES}`);
      }
      const bytes = new Uint8Array(end - start);
      for (let done = 0; done < bytes.length; ) {
        const { bytesRead } = await file.read(bytes, done, bytes.length - done, start + done);
        if (bytesRead === 0) throw new Error('a file that became shorter while it was read');
        done += bytesRead;
      }
      return bytes.buffer;
    },
  };
}

async function readMetadata(buffer: Sliceable, name: string): Promise<FileMetaData> {
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

/** Checks that a column can be read as text, and gives its unpacked size. */
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
      'loopnn prepare takes another with --column',
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
  let row = 0;
  for (const [index, group] of metadata.row_groups.entries()) {
    const chunk = columnOf(group, column);
    const rows = Number(group.num_rows);
    if (chunk === undefined || !(rows >= 0) || Number(chunk.num_values) !== rows) {
      throw damaged(`row group ${index} without its column '${column}'`);
    }
    const size = Number(chunk.total_uncompressed_size);
    if (!(size >= 0 && size <= MAX_GROUP_BYTES)) {
      const rule = `must have at most ${MAX_GROUP_BYTES} bytes in a row group`;
      throw new DataError(where, rule, size, SMALLER);
    }
    if (rows > MAX_GROUP_ROWS) {
      throw new DataError(where, `must have at most ${MAX_GROUP_ROWS} rows in a row group`, rows, SMALLER);
    }
    const nulls = Number(chunk.statistics?.null_count ?? 0n);
    if (nulls > 0) {
      const got = `${nulls} null${nulls === 1 ? '' : 's'} in rows ${row} to ${row + rows - 1}`;
      throw new DataError(where, 'must hold text', got, NULLS);
    }
    bytes += size;
    row += rows;
  }
  return bytes;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
