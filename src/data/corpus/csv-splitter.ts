/**
 * Splits the bytes of CSV into rows and cells, and holds at most one row. It handles delimiters, quotes as in RFC 4180
 * and the three kinds of line ends; callers interpret the rows.
 */
import { LONGEST_RECORD } from './records.js';

/** The delimiter of cells. */
export type Delimiter = ',' | '\t' | ';';

/** A row; a row that cannot be read has a fault instead of cells. */
export interface CsvRow {
  /** The line on which it begins, counted from 1. */
  readonly line: number;
  readonly cells: readonly Uint8Array[];
  readonly fault?: string;
}

/** Most cells of a row; a longer row is broken. */
const MOST_CELLS = 1 << 16;

const NEWLINE = 0x0a;
const RETURN = 0x0d;
const QUOTE = 0x22;
const EMPTY = new Uint8Array(0);

/** Takes bytes chunk by chunk and returns each row as soon as it is complete. */
export class CsvSplitter {
  /** The line on which the row that is being read begins. */
  rowLine = 1;
  readonly #delimiter: number;
  #state: 'start' | 'plain' | 'quoted' | 'closed' | 'faulty' = 'start';
  #line = 1;
  #afterReturn = false;
  #cells: Uint8Array[] = [];
  /** The current cell's bytes from earlier chunks and before escaped quotes. */
  #parts: Uint8Array[] = [];
  #heldBytes = 0;
  #fault = '';

  constructor(
    delimiter: Delimiter,
    private readonly longest = LONGEST_RECORD,
  ) {
    this.#delimiter = delimiter.charCodeAt(0);
  }

  /** Bytes of the row that is being read, if the reading is inside quotes; else 0. */
  get quotedBytes(): number {
    return this.#state === 'quoted' ? Math.max(1, this.#heldBytes) : 0;
  }

  /** The rows that a chunk completes; blank lines are skipped. */
  *push(chunk: Uint8Array): Generator<CsvRow> {
    let from = 0;
    let rowFrom = 0;
    for (let i = 0; i < chunk.length; i++) {
      if (this.#state === 'quoted') {
        // A fast path: most bytes of a corpus are in quotes.
        for (; i < chunk.length && chunk[i] !== QUOTE; i++) if (chunk[i] === NEWLINE) this.#line++;
        if (i === chunk.length) break;
        this.#parts.push(chunk.subarray(from, i));
        this.#state = 'closed';
        continue;
      }
      const byte = chunk[i];
      const lineFeed = byte === NEWLINE && this.#afterReturn;
      this.#afterReturn = byte === RETURN;
      if (lineFeed) continue;
      if (byte === NEWLINE || byte === RETURN) {
        if (this.#state === 'plain') this.#parts.push(chunk.subarray(from, i));
        this.#line++;
        yield* this.end();
        rowFrom = i + 1;
      } else if (this.#state === 'faulty') {
        // The rest of the line is skipped with the row.
      } else if (byte === this.#delimiter) {
        if (this.#state === 'plain') this.#parts.push(chunk.subarray(from, i));
        this.#endCell();
      } else if (this.#state === 'start') {
        this.#state = byte === QUOTE ? 'quoted' : 'plain';
        from = byte === QUOTE ? i + 1 : i;
      } else if (this.#state === 'closed') {
        // A doubled quote is one quote, and the cell continues.
        if (byte === QUOTE) {
          this.#state = 'quoted';
          from = i;
        } else this.#fail('text after a closing quote');
      }
    }
    if (this.#state === 'plain' || this.#state === 'quoted') this.#parts.push(chunk.subarray(from));
    this.#heldBytes += chunk.length - rowFrom;
    if (this.#state !== 'quoted' && this.#heldBytes > this.longest) {
      this.#fail(`longer than ${this.longest} bytes`);
    }
  }

  /** The row that is being read, as if the file ended; none if its line is blank. */
  *end(): Generator<CsvRow> {
    const { rowLine: line } = this;
    const blank = this.#state === 'start' && this.#cells.length === 0;
    if (this.#state === 'faulty') yield { line, cells: [], fault: this.#fault };
    else if (!blank) {
      this.#endCell();
      yield { line, cells: this.#cells };
    }
    this.#state = 'start';
    this.#cells = [];
    this.#heldBytes = 0;
    this.rowLine = this.#line;
  }

  #endCell(): void {
    const [first = EMPTY, ...others] = this.#parts;
    this.#cells.push(others.length === 0 ? first : Buffer.concat(this.#parts));
    this.#parts = [];
    this.#state = 'start';
    if (this.#cells.length > MOST_CELLS) this.#fail(`more than ${MOST_CELLS} cells`);
  }

  /** Skips the row, up to the end of its line. */
  #fail(fault: string): void {
    this.#state = 'faulty';
    this.#fault = fault;
    this.#parts = [];
    this.#cells = [];
  }
}
