/** Documents and their sources, and what a pass over them skips or corrects. It must not read files or encode text. */

import { END_OF_TEXT } from '../../tokenizer/tokenizer.js';

/** One text. */
export interface TextDocument {
  /** For messages: the file's path, with a line or row if the file holds several, or a name within its corpus. */
  readonly name: string;
  /** Size of the text in bytes, if known before reading; a file's size may differ slightly from its text's. */
  readonly size: number | undefined;
  /** The text, split by `cutPieces`. */
  pieces(): AsyncIterable<string>;
}

/** The whole text of a document. */
export async function textOf(document: TextDocument): Promise<string> {
  let text = '';
  for await (const piece of document.pieces()) text += piece;
  return text;
}

/** A source of documents, which can be read more than once, in the same order. */
export interface TextSource {
  /** A corpus's name, or the last part of a file's or folder's path. */
  readonly name: string;
  /**
   * The documents from number `skip` on. A source without a census ignores `skip` and begins with the first.
   */
  documents(warnings: TextWarnings, skip?: number): AsyncIterable<TextDocument>;
  /** Undefined if the size is not known without reading the text. */
  readonly census?: SourceCensus;
}

/** The size of a source. */
export interface SourceCensus {
  readonly documents: number;
  /** Bytes of text, or an estimate of them. */
  readonly bytes: number;
  /** Changes whenever a document may have changed, so that interrupted work is resumed only if none has. */
  readonly fingerprint: string;
}

/** The kinds that a user can declare files to be, instead of detection by content. */
export const FILE_KINDS = ['text', 'jsonl', 'csv'] as const;
export type FileKind = (typeof FILE_KINDS)[number];

/** How files are read. */
export interface FieldOptions {
  /** The field of a JSON record or the column of CSV that holds the text. */
  readonly field: string;
  /** The column of a parquet file that holds the text. */
  readonly column: string;
  /** Most broken records that one pass skips; with more it stops. */
  readonly maxBroken: number;
  /** The kind of every file; undefined for detection by content. */
  readonly as?: FileKind | undefined;
  /** The mark between the documents of a text file; undefined if each file is one. */
  readonly splitOn?: string | undefined;
  /** Whether links in a folder may lead out of it. */
  readonly followLinks: boolean;
  /** The split whose files are read from a folder, by `split-names.ts`; undefined for all files. */
  readonly split?: string | undefined;
}

export const FIELD_DEFAULTS: FieldOptions = {
  field: 'text',
  column: 'text',
  maxBroken: 100,
  followLinks: false,
};

/** What was skipped or corrected in one pass. */
export interface TextWarnings {
  /** Files skipped because they are not text. */
  binary: number;
  /** Files skipped because they are empty. */
  empty: number;
  /** Documents in which bytes that are not UTF-8 became U+FFFD. */
  invalidUtf8: number;
  /** Occurrences of `<|endoftext|>` that are read as text, and the number of files with some. */
  marks: number;
  marked: number;
  /** Files of text without the mark that separates documents. */
  unparted: number;
  /** Records of JSON or CSV skipped because they hold no text. */
  broken: number;
  /** The first broken records, as 'file, line n (reason)'. */
  readonly brokenAt: string[];
  /** Records skipped because their text is null. */
  nulls: number;
  /** The first records with a null, as 'file, line n'. */
  readonly nullsAt: string[];
  /** Files whose content shows records that their names do not promise. */
  unexpected: number;
  /** The first unexpected files, as 'file (kind)'. */
  readonly unexpectedAt: string[];
  /** Files that hold `MUCH_LARGER` times their size or more. */
  expanded: number;
  /** The first expanded files, as 'file (n times)'. */
  readonly expandedAt: string[];
}

/** Most broken records, and most files of each kind, that a warning shows. */
export const BROKEN_SHOWN = 5;
/**
 * A file is reported from this many times its packed size on. Natural text shrinks to a third or a tenth; only much
 * repetition shrinks further.
 */
const MUCH_LARGER = 200;

export function noWarnings(): TextWarnings {
  const records = { broken: 0, brokenAt: [], nulls: 0, nullsAt: [], unexpected: 0, unexpectedAt: [] };
  const texts = { invalidUtf8: 0, marks: 0, marked: 0, unparted: 0 };
  return { binary: 0, empty: 0, ...texts, ...records, expanded: 0, expandedAt: [] };
}

/**
 * Counts a record whose text is null. Unlike broken records, any number of nulls is no sign of a fault.
 */
export function noteNull(warnings: TextWarnings, place: string): void {
  warnings.nulls++;
  if (warnings.nullsAt.length < BROKEN_SHOWN) warnings.nullsAt.push(place);
}

/** Counts a file that was read to its end, if it holds many times its size; sizes are in bytes. */
export function noteExpansion(warnings: TextWarnings, name: string, packed: number, unpacked: number): void {
  if (!(unpacked >= Math.max(1, MUCH_LARGER * packed))) return;
  warnings.expanded++;
  const times = `${name} (${Math.floor(unpacked / packed)} times)`;
  if (warnings.expandedAt.length < BROKEN_SHOWN) warnings.expandedAt.push(times);
}

/** The warnings as sentences; none if all counts are 0. */
export function describeWarnings(warnings: TextWarnings): string[] {
  const counted = (n: number, noun: string): string => `${n} ${noun}${n === 1 ? '' : 's'}`;
  const shown = (all: number, first: readonly string[]): string =>
    `${first.join('; ')}${all > first.length ? '; …' : ''}`;
  const lines: string[] = [];
  if (warnings.binary > 0) lines.push(`skipped ${counted(warnings.binary, 'file')}: not text`);
  if (warnings.empty > 0) lines.push(`skipped ${counted(warnings.empty, 'file')}: empty`);
  if (warnings.invalidUtf8 > 0) {
    const documents = counted(warnings.invalidUtf8, 'document');
    lines.push(`replaced bytes that are not UTF-8 with U+FFFD in ${documents}`);
  }
  const { marks, marked, unparted } = warnings;
  if (marks > 0) {
    const where = `${counted(marks, 'time')} in ${counted(marked, 'file')}`;
    lines.push(
      `read ${END_OF_TEXT} as text, ${where}: loopnn prepare --split-on '${END_OF_TEXT}' splits documents there`,
    );
  }
  if (unparted > 0) {
    lines.push(
      `read ${counted(unparted, 'file')} as one document each: they do not contain the mark of --split-on`,
    );
  }
  const { broken, brokenAt, nulls, nullsAt, unexpected, unexpectedAt, expanded, expandedAt } = warnings;
  if (broken > 0) lines.push(`skipped ${counted(broken, 'broken record')}: ${shown(broken, brokenAt)}`);
  if (nulls > 0)
    lines.push(`skipped ${counted(nulls, 'record')} whose text is null: ${shown(nulls, nullsAt)}`);
  if (unexpected > 0) {
    const files = `${counted(unexpected, 'file')} as records, by content and not by name`;
    lines.push(`read ${files}: ${shown(unexpected, unexpectedAt)}; --as text reads them as plain text`);
  }
  if (expanded > 0) {
    const files = `${counted(expanded, 'file')} to ${MUCH_LARGER} times the packed size or more`;
    lines.push(`unpacked ${files}: ${shown(expanded, expandedAt)}`);
  }
  return lines;
}
