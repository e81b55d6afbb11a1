/**
 * Text documents from files and folders, one document a file. Knows the file system and what looks like text;
 * knows no tokens. A folder's files come sorted by name, folders in their place among them, so that a corpus has
 * one order everywhere; names that begin with a dot and links to folders are left out.
 */
import type { Dirent } from 'node:fs';
import { open, readdir, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { DataError } from '../errors.js';
import { cutPieces, decodeUtf8, readChunks } from './text.js';

/** Bytes at the beginning of a file by which it is judged. */
const HEAD_BYTES = 8192;
/** Share of control characters above which bytes are no text; compressed data has about 0.1. */
const MAX_CONTROL_SHARE = 0.02;

/** One text. */
export interface TextDocument {
  /** For messages: the file's path, or a name within its corpus. */
  readonly name: string;
  /** Size of the text in bytes where it is known before reading. */
  readonly size: number | undefined;
  /** The text, cut by `cutPieces`. */
  pieces(): AsyncIterable<string>;
}

/** Where documents come from; they can be gone through more than once, in the same order. */
export interface TextSource {
  /** Without folders: a corpus's name or a file's or folder's last name. */
  readonly name: string;
  documents(warnings: TextWarnings): AsyncIterable<TextDocument>;
}

/** What was left out or mended in one pass. */
export interface TextWarnings {
  /** Files left out because they are not text. */
  binary: number;
  /** Files left out because they are empty. */
  empty: number;
  /** Documents in which bytes that are not UTF-8 became U+FFFD. */
  invalidUtf8: number;
}

export function noWarnings(): TextWarnings {
  return { binary: 0, empty: 0, invalidUtf8: 0 };
}

/** The warnings as sentences, none if all counts are 0. */
export function describeWarnings(warnings: TextWarnings): string[] {
  const files = (n: number): string => `${n} ${n === 1 ? 'file' : 'files'}`;
  const lines: string[] = [];
  if (warnings.binary > 0) lines.push(`left out ${files(warnings.binary)}: not text`);
  if (warnings.empty > 0) lines.push(`left out ${files(warnings.empty)}: empty`);
  if (warnings.invalidUtf8 > 0) {
    lines.push(`replaced bytes that are not UTF-8 by U+FFFD in ${files(warnings.invalidUtf8)}`);
  }
  return lines;
}

/** A document that is one file; gzip is unpacked if asked to. */
export function fileDocument(path: string, size: number, warnings: TextWarnings, gzip = false): TextDocument {
  return {
    name: path,
    size: gzip ? undefined : size,
    pieces: () =>
      cutPieces(
        decodeUtf8(readChunks(path, gzip), () => {
          warnings.invalidUtf8++;
        }),
      ),
  };
}

/** Opens one file of text; throws DataError if it is missing, a folder, empty or a binary file. */
export async function openFile(path: string, warnings: TextWarnings): Promise<TextDocument> {
  const source = await openPath(path);
  const status = await stat(path);
  if (!status.isFile()) throw new DataError(path, 'must be a file', 'a folder');
  for await (const document of source.documents(warnings)) return document;
  throw new DataError(path, 'must hold text', 'nothing');
}

/** Opens a file or a folder as a source; throws DataError if it is missing, empty or a binary file. */
export async function openPath(path: string): Promise<TextSource> {
  const status = await stat(path).catch((error: unknown) => {
    throw new DataError(path, 'must be a file or a folder', error instanceof Error ? error.message : error);
  });
  const name = basename(path);
  if (status.isDirectory()) return { name, documents: (warnings) => folderDocuments(path, warnings) };
  if (!status.isFile()) throw new DataError(path, 'must be a file or a folder', 'something else');
  if (status.size === 0) throw new DataError(path, 'must hold text', 'an empty file');
  const fault = await binaryFault(path);
  if (fault !== undefined) throw new DataError(path, 'must be text in UTF-8', fault);
  return {
    name,
    async *documents(warnings) {
      yield fileDocument(path, status.size, warnings);
    },
  };
}

async function* folderDocuments(folder: string, warnings: TextWarnings): AsyncGenerator<TextDocument> {
  for (const entry of await listFolder(folder)) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) {
      yield* folderDocuments(path, warnings);
      continue;
    }
    const status = await stat(path).catch(() => undefined);
    if (!status?.isFile()) continue;
    if (status.size === 0) warnings.empty++;
    else if ((await binaryFault(path)) !== undefined) warnings.binary++;
    else yield fileDocument(path, status.size, warnings);
  }
}

/** A folder's visible entries, sorted by name in code units. */
export async function listFolder(folder: string): Promise<Dirent[]> {
  const entries = await readdir(folder, { withFileTypes: true }).catch((error: unknown) => {
    throw new DataError(folder, 'must be readable', error instanceof Error ? error.message : error);
  });
  return entries
    .filter((entry) => !entry.name.startsWith('.'))
    .sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
}

/** Why a file is not text, judged by its beginning; undefined if it looks like text. */
async function binaryFault(path: string): Promise<string | undefined> {
  let head: Buffer;
  try {
    const file = await open(path);
    try {
      const { bytesRead, buffer } = await file.read(Buffer.alloc(HEAD_BYTES), 0, HEAD_BYTES, 0);
      head = buffer.subarray(0, bytesRead);
    } finally {
      await file.close();
    }
  } catch (error) {
    throw new DataError(path, 'must be readable', error instanceof Error ? error.message : error);
  }
  if ((head[0] === 0xff && head[1] === 0xfe) || (head[0] === 0xfe && head[1] === 0xff)) {
    return 'UTF-16; convert it first';
  }
  const zero = head.indexOf(0);
  if (zero >= 0) return `a binary file (a zero byte at ${zero})`;
  const controls = head.filter((byte) => byte < 0x20 && !(byte >= 0x07 && byte <= 0x0d) && byte !== 0x1b);
  const tooMany = controls.length > MAX_CONTROL_SHARE * head.length;
  return tooMany ? `a binary file (${controls.length} control bytes of ${head.length})` : undefined;
}
