/**
 * The kind of a text file: its content decides, and its name only if the content is ambiguous. This file reads the
 * heads of files and chooses their reader; it reads no documents.
 */
import { ConfigError, DataError } from '../../errors.js';
import { namedDelimiter, shownDelimiter } from './csv.js';
import type { Delimiter } from './csv-splitter.js';
import type { JsonLayout } from './json.js';
import { jsonShape } from './json-shape.js';
import { type Head, type Packing, readHead, unpackedName } from './packing.js';
import type { FieldOptions } from './source.js';

/** The kind of a file's content. */
export type Content =
  | { readonly kind: 'text' | 'jsonl' | 'parquet' | 'empty' }
  | { readonly kind: 'json'; readonly layout: JsonLayout }
  | { readonly kind: 'csv'; readonly delimiter: Delimiter }
  | { readonly kind: 'binary'; readonly fault: string };

/** A file's content, how the file is packed, and whether its name leads one to expect that content. */
export type Recognised = Content & { readonly packing: Packing; readonly expected: boolean };

/** Names of the kinds, for messages. */
export const KIND_NAMES: Readonly<Record<Content['kind'], string>> = {
  text: 'text',
  jsonl: 'JSON Lines',
  json: 'records in JSON',
  csv: 'CSV',
  parquet: 'parquet',
  empty: 'an empty file',
  binary: 'a binary file',
};

/** Bytes at the beginning of a file that decide its kind. */
const HEAD_BYTES = 1 << 18;
/** Number of the head's bytes that decide between text and binary data. */
const TEXT_BYTES = 8192;
/** Share of control characters above which bytes are not text; compressed data has about 0.1. */
const MAX_CONTROL_SHARE = 0.02;

const UTF16 = 'UTF-16; convert it first';
/** Formats that messages name where a file must be text, each with the bytes that it has at an offset. */
const FOREIGN: readonly (readonly [name: string, at: number, magic: string])[] = [
  ['packed by bzip2; unpack it first', 0, 'BZh'],
  ['packed by xz; unpack it first', 0, '\xfd7zXZ\0'],
  ['packed by lz4; unpack it first', 0, '\x04"M\x18'],
  ['a zip file; unpack it first', 0, 'PK\x03\x04'],
  ['a tar file; unpack it first', 257, 'ustar'],
  [UTF16, 0, '\xff\xfe'],
  [UTF16, 0, '\xfe\xff'],
];

/**
 * Determines what a file is.
 *
 * @throws DataError if the file cannot be read, is not packed as its name says, is not what `options.as` says, or looks
 *   like records that cannot be read
 */
export async function recognise(path: string, options: FieldOptions): Promise<Recognised> {
  const head = await readHead(path, HEAD_BYTES);
  const content = options.as === undefined ? contentOf(head, options.field) : contentAs(head, options);
  const { packing } = head;
  return { ...content, packing, expected: options.as !== undefined || isExpected(path, content.kind) };
}

function isExpected(path: string, kind: Content['kind']): boolean {
  if (kind !== 'jsonl' && kind !== 'json' && kind !== 'csv') return true;
  const endings = kind === 'csv' ? /\.(csv|tsv)$/i : /\.(jsonl?|ndjson|jl)$/i;
  return endings.test(unpackedName(path));
}

function contentOf(head: Head, field: string): Content {
  const name = unpackedName(head.path);
  const fault = binaryFault(head.bytes);
  if (head.bytes.length === 0) return { kind: 'empty' };
  if (/\.parquet$/i.test(name) || (fault !== undefined && startsWith(head.bytes, 0, 'PAR1'))) {
    return { kind: 'parquet' };
  }
  if (fault === UTF16) return { kind: 'binary', fault };
  const shape = jsonShape(head, field);
  if (shape?.kind === 'jsonl' || shape?.kind === 'json') return shape;
  if (/\.(jsonl|ndjson)$/i.test(name)) return { kind: 'jsonl' };
  if (shape?.kind === 'refused') throw shape.error;
  if (fault !== undefined) return { kind: 'binary', fault };
  if (shape !== null) return shape;
  const delimiter = /\.(csv|tsv)$/i.test(name) ? namedDelimiter(head, field) : shownDelimiter(head, field);
  return delimiter === null ? { kind: 'text' } : { kind: 'csv', delimiter };
}

/** The content of a file whose kind the user names with `--as`. */
function contentAs(head: Head, options: FieldOptions): Content {
  const { path, bytes } = head;
  const { as, field } = options;
  const fault = binaryFault(bytes);
  if (bytes.length === 0) return { kind: 'empty' };
  if (fault !== undefined) return { kind: 'binary', fault };
  if (as === 'text') return { kind: 'text' };
  const shape = jsonShape(head, field);
  const isArray = shape?.kind === 'json' && shape.layout.cut === 'members' && !shape.layout.within;
  if (isArray || (as === 'csv' && (shape?.kind === 'json' || shape?.kind === 'jsonl'))) {
    const rule = `must be ${as === 'csv' ? 'CSV' : 'JSON Lines'}, as --as ${as} says`;
    throw new DataError(path, rule, KIND_NAMES[shape.kind], 'without --as its content decides');
  }
  return as === 'csv' ? { kind: 'csv', delimiter: namedDelimiter(head, field) } : { kind: 'jsonl' };
}

/** Refuses `--as` and `--split-on` for a source that is neither a file nor a folder. */
export function checkNotSaid({ as, splitOn }: FieldOptions, source: string): void {
  if (splitOn !== undefined) {
    throw new ConfigError('--split-on', 'is for files and folders', source, 'leave it out');
  }
  if (as !== undefined) throw new ConfigError('--as', 'is for files and folders', source, 'leave it out');
}

/** Why bytes are not text; undefined if they look like it. */
function binaryFault(bytes: Uint8Array): string | undefined {
  const head = bytes.subarray(0, TEXT_BYTES);
  const foreign = FOREIGN.find(([, at, magic]) => startsWith(head, at, magic));
  const zero = head.indexOf(0);
  const controls = head.filter((byte) => byte < 0x20 && !(byte >= 0x07 && byte <= 0x0d) && byte !== 0x1b);
  const tooMany = controls.length > MAX_CONTROL_SHARE * head.length;
  if (foreign !== undefined && (zero >= 0 || tooMany || head[0] >= 0xfd)) return foreign[0];
  if (zero >= 0) return `a binary file (a zero byte at ${zero})`;
  return tooMany ? `a binary file (${controls.length} control bytes of ${head.length})` : undefined;
}

function startsWith(bytes: Uint8Array, at: number, magic: string): boolean {
  return (
    Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString(
      'latin1',
      at,
      at + magic.length,
    ) === magic
  );
}
