/** What documents and their sources are, and what a pass over them leaves out or mends. Knows no files and no tokens. */

/** One text. */
export interface TextDocument {
  /** For messages: the file's path, with the line or row where it holds several, or a name within its corpus. */
  readonly name: string;
  /** Size of the text in bytes where it is known before reading; a file's may be a little off. */
  readonly size: number | undefined;
  /** The text, cut by `cutPieces`. */
  pieces(): AsyncIterable<string>;
}

/** The whole text of a document. */
export async function textOf(document: TextDocument): Promise<string> {
  let text = '';
  for await (const piece of document.pieces()) text += piece;
  return text;
}

/** Where documents come from; they can be gone through more than once, in the same order. */
export interface TextSource {
  /** Without folders: a corpus's name or a file's or folder's last name. */
  readonly name: string;
  /**
   * The documents from number `skip` on. A source whose number of documents is not known beforehand is always
   * gone through from the beginning.
   */
  documents(warnings: TextWarnings, skip?: number): AsyncIterable<TextDocument>;
  /** Given where the size is known without reading the text. */
  readonly census?: SourceCensus;
}

/** The size of a source. */
export interface SourceCensus {
  readonly documents: number;
  /** Bytes of text, or an estimate of them. */
  readonly bytes: number;
  /** Changes whenever a document may have changed, so that broken-off work can be taken up only if it has not. */
  readonly fingerprint: string;
}

/** How files with fields are read. */
export interface FieldOptions {
  /** The field of a JSONL line that holds the text. */
  readonly field: string;
  /** The column of a parquet file that holds the text. */
  readonly column: string;
  /** Broken JSONL lines in one pass that are left out before it stops. */
  readonly maxBroken: number;
}

export const FIELD_DEFAULTS: FieldOptions = { field: 'text', column: 'text', maxBroken: 100 };

/** What was left out or mended in one pass. */
export interface TextWarnings {
  /** Files left out because they are not text. */
  binary: number;
  /** Files left out because they are empty. */
  empty: number;
  /** Documents in which bytes that are not UTF-8 became U+FFFD. */
  invalidUtf8: number;
  /** Lines of JSONL left out because they hold no text. */
  broken: number;
  /** The first of them, as 'file, line n (reason)'. */
  readonly brokenAt: string[];
}

/** Broken lines that are shown. */
export const BROKEN_SHOWN = 5;

export function noWarnings(): TextWarnings {
  return { binary: 0, empty: 0, invalidUtf8: 0, broken: 0, brokenAt: [] };
}

/** The warnings as sentences, none if all counts are 0. */
export function describeWarnings(warnings: TextWarnings): string[] {
  const counted = (n: number, noun: string): string => `${n} ${noun}${n === 1 ? '' : 's'}`;
  const lines: string[] = [];
  if (warnings.binary > 0) lines.push(`left out ${counted(warnings.binary, 'file')}: not text`);
  if (warnings.empty > 0) lines.push(`left out ${counted(warnings.empty, 'file')}: empty`);
  if (warnings.invalidUtf8 > 0) {
    const documents = counted(warnings.invalidUtf8, 'document');
    lines.push(`replaced bytes that are not UTF-8 by U+FFFD in ${documents}`);
  }
  if (warnings.broken > 0) {
    const more = warnings.broken > warnings.brokenAt.length ? '; …' : '';
    lines.push(`left out ${counted(warnings.broken, 'broken line')}: ${warnings.brokenAt.join('; ')}${more}`);
  }
  return lines;
}
