/**
 * One text file as a sequence of tokens in memory, two bytes per token, for the evaluation of any text. This file must
 * not import models.
 */
import type { Tokenizer } from '../../tokenizer/tokenizer.js';
import { type TokenSource, tokensOf } from '../../evaluate/batches.js';
import { openFile } from './documents.js';
import { encodeStretch } from '../encoder.js';
import { stretches } from '../split-writers.js';
import { describeWarnings, noWarnings } from './source.js';

export interface TextFile {
  readonly tokens: TokenSource;
  /** Bytes of the text in UTF-8, as encoded: without a byte order mark, and with U+FFFD for damaged characters. */
  readonly bytes: number;
  /** Corrections, as sentences. */
  readonly warnings: readonly string[];
}

/** Reads and encodes a file; throws DataError if it is missing, a folder, empty or not text. */
export async function encodeTextFile(path: string, tokenizer: Tokenizer): Promise<TextFile> {
  const warnings = noWarnings();
  const document = await openFile(path, warnings);
  const pieces = document.pieces();
  const parts: Uint16Array[] = [];
  let bytes = 0;
  for await (const stretch of stretches(pieces, path, tokenizer)) {
    parts.push(encodeStretch(tokenizer, stretch));
    bytes += Buffer.byteLength(stretch.text);
  }
  const ids = new Uint16Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    ids.set(part, at);
    at += part.length;
  }
  return {
    tokens: tokensOf(path, ids),
    bytes,
    warnings: describeWarnings(warnings).map((line) => `${path}: ${line}`),
  };
}
