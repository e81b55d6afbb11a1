/**
 * CSV: rows of cells below a header, separated by commas, tabs or semicolons, with quotes as in RFC 4180. `records.ts`
 * decides what happens to a row without a text.
 *
 * A row that cannot be read, or has more or fewer cells than the header, is broken. A quote that is never closed would
 * swallow every row after it, so the file is refused.
 */
import { isUtf8 } from 'node:buffer';
import { DataError } from '../../errors.js';
import { CsvSplitter, type CsvRow, type Delimiter } from './csv-splitter.js';
import { type Head, type Packing, readChunks, unpackedName } from './packing.js';
import { LONGEST_RECORD, OTHER_FIELD, Records, textOfBytes } from './records.js';
import type { FieldOptions, TextDocument, TextWarnings } from './source.js';

/** Share of a file's first rows that must fit the header, where the header has the field and no file name says CSV. */
const FITTING_SHARE = 0.9;
const COLUMNS_SHOWN = 20;

/** The documents of a file: the cells of one column. Throws DataError. */
export async function* csvDocuments(
  path: string,
  packing: Packing,
  delimiter: Delimiter,
  options: FieldOptions,
  warnings: TextWarnings,
): AsyncGenerator<TextDocument> {
  const records = new Records(path, options, warnings);
  let columns = 0;
  let column = -1;
  for await (const { line, cells, fault } of fileRows(path, packing, delimiter, warnings)) {
    if (columns === 0) {
      if (fault !== undefined) throw new DataError(`${path}, line ${line}`, 'must be a header', fault);
      column = columnOf(`${path}, line ${line}`, cells, options.field);
      columns = cells.length;
      continue;
    }
    const place = `line ${line}`;
    if (fault !== undefined) records.broken(place, fault);
    else if (cells.length !== columns) {
      records.broken(place, `${counted(cells.length)} below a header of ${columns}`);
    } else yield records.document(place, textOfBytes(cells[column]), isUtf8(cells[column]));
  }
}

async function* fileRows(
  path: string,
  packing: Packing,
  delimiter: Delimiter,
  warnings: TextWarnings,
): AsyncGenerator<CsvRow> {
  const splitter = new CsvSplitter(delimiter);
  const unclosed = (line: number) =>
    new DataError(
      `${path}, line ${line}`,
      'must close its quotes',
      'a quote that stays open',
      'fix the line',
    );
  let first = true;
  for await (const chunk of readChunks(path, packing, warnings)) {
    yield* splitter.push(first ? withoutMark(chunk) : chunk);
    first = false;
    if (splitter.quotedBytes > LONGEST_RECORD) throw unclosed(splitter.rowLine);
  }
  if (splitter.quotedBytes > 0) throw unclosed(splitter.rowLine);
  yield* splitter.end();
}

/** The place of the column with a name; throws DataError if there is none, or more than one. */
function columnOf(where: string, header: readonly Uint8Array[], field: string): number {
  const names = header.map(textOfBytes);
  const found = names.indexOf(field);
  if (found >= 0 && names.lastIndexOf(field) === found) return found;
  const rule = `must have the column '${field}'${found < 0 ? '' : ' once'}`;
  throw new DataError(where, rule, names.slice(0, COLUMNS_SHOWN).join(', '), OTHER_FIELD);
}

function counted(cells: number): string {
  return `${cells} cell${cells === 1 ? '' : 's'}`;
}

function withoutMark(bytes: Uint8Array): Uint8Array {
  return bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf ? bytes.subarray(3) : bytes;
}

/**
 * The delimiter of a file that is called CSV or TSV: the first one that makes `field` a column, else the one that makes
 * most columns.
 */
export function namedDelimiter(head: Head, field: string): Delimiter {
  const isTsv = /\.tsv$/i.test(unpackedName(head.path));
  const delimiters = isTsv ? (['\t', ',', ';'] as const) : ([',', '\t', ';'] as const);
  const headers = delimiters.map((delimiter) => ({
    delimiter,
    names: headerOf(head, delimiter).map(textOfBytes),
  }));
  const found = headers.find(({ names }) => names.includes(field));
  return (found ?? headers.sort((a, b) => b.names.length - a.names.length)[0]).delimiter;
}

/**
 * The delimiter of a file that looks like CSV though its name does not say so; null for any other text. So that prose
 * is not taken for a table, the first line must hold names separated by commas or tabs without spaces, and every row
 * must have as many cells.
 */
export function shownDelimiter(head: Head, field: string): Delimiter | null {
  for (const delimiter of [',', '\t'] as const) {
    const names = headerOf(head, delimiter).map(textOfBytes);
    const hasField = names.includes(field);
    // The index column that pandas writes has no name.
    const named = hasField && names[0] === '' ? names.slice(1) : names;
    if (names.length < 2 || !areNames(named)) continue;
    const rows = [...rowsOf(head, delimiter)].slice(1);
    const fitting = rows.filter(
      ({ cells, fault }) =>
        fault === undefined && cells.length === names.length && (names[0] !== '' || cells[0].length > 0),
    );
    // A row that is longer than the beginning of the file is no fault.
    const enough = hasField ? (head.whole ? 1 : 0) : 2;
    if (rows.length < enough || fitting.length < (hasField ? FITTING_SHARE : 1) * rows.length) continue;
    return delimiter;
  }
  return null;
}

/** Whether strings can be the names of columns. */
function areNames(names: readonly string[]): boolean {
  const isName = (name: string) => /^[\p{L}_#][\p{L}\p{N}_ .:/#()-]{0,63}(?<! )$/u.test(name);
  return new Set(names).size === names.length && names.every(isName);
}

/** The cells of the first row; none if the row is not whole. */
function headerOf(head: Head, delimiter: Delimiter): readonly Uint8Array[] {
  for (const { cells } of rowsOf(head, delimiter)) return cells;
  return [];
}

/** The whole rows in a file's beginning. */
function* rowsOf({ bytes, whole }: Head, delimiter: Delimiter): Generator<CsvRow> {
  const splitter = new CsvSplitter(delimiter);
  yield* splitter.push(withoutMark(bytes));
  if (whole && splitter.quotedBytes === 0) yield* splitter.end();
}
