/**
 * Text documents from files and folders: one document a file, or many where it is JSONL or parquet. Knows the file
 * system, endings and what looks like text; knows no tokens. A folder's files come sorted by name, folders in their place among them, so that a corpus has
 * one order everywhere; names that begin with a dot and links to folders are left out.
 */
import type { Dirent } from 'node:fs';
import { open, readdir, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { DataError } from '../errors.js';
import { jsonlDocuments } from './jsonl.js';
import { type Packing, packingOf, readChunks } from './packing.js';
import { openParquet, parquetDocuments } from './parquet.js';
import {
  FIELD_DEFAULTS,
  type FieldOptions,
  type TextDocument,
  type TextSource,
  type TextWarnings,
} from './source.js';
import { cutPieces, decodeUtf8 } from './text.js';

/** Bytes at the beginning of a file by which it is judged. */
const HEAD_BYTES = 8192;
/** Share of control characters above which bytes are no text; compressed data has about 0.1. */
const MAX_CONTROL_SHARE = 0.02;

/** A document that is one file. */
export function fileDocument(
  path: string,
  size: number,
  warnings: TextWarnings,
  packing: Packing = 'none',
): TextDocument {
  return {
    name: path,
    size: packing === 'none' ? size : undefined,
    pieces: () =>
      cutPieces(
        decodeUtf8(readChunks(path, packing), () => {
          warnings.invalidUtf8++;
        }),
      ),
  };
}

/** Opens one file of text, which may be packed; throws DataError if it is missing, a folder, empty or no text. */
export async function openFile(path: string, warnings: TextWarnings): Promise<TextDocument> {
  await openPath(path);
  const status = await stat(path);
  if (!status.isFile()) throw new DataError(path, 'must be a file', 'a folder');
  const { kind, packing } = kindOf(path);
  if (kind !== 'text') throw new DataError(path, 'must be a file of text', kind);
  return fileDocument(path, status.size, warnings, packing);
}

/**
 * Opens a file or a folder as a source.
 *
 * @throws DataError if it is missing, empty, a binary file, or a parquet file without the column
 */
export async function openPath(path: string, options: FieldOptions = FIELD_DEFAULTS): Promise<TextSource> {
  const status = await stat(path).catch((error: unknown) => {
    throw new DataError(path, 'must be a file or a folder', error instanceof Error ? error.message : error);
  });
  const name = basename(path);
  if (status.isDirectory())
    return { name, documents: (warnings) => folderDocuments(path, options, warnings) };
  if (!status.isFile()) throw new DataError(path, 'must be a file or a folder', 'something else');
  if (status.size === 0) throw new DataError(path, 'must hold text', 'an empty file');
  const { kind, packing } = kindOf(path);
  if (kind === 'text') {
    const fault = await binaryFault(path, packing);
    if (fault !== undefined) throw new DataError(path, 'must be text in UTF-8', fault);
  }
  if (kind === 'parquet' && packing === 'none') await (await openParquet(path, options.column)).close();
  return { name, documents: (warnings) => fileDocuments(path, status.size, options, warnings) };
}

/** What a file holds, by its name. */
function kindOf(path: string): { kind: 'text' | 'jsonl' | 'parquet'; packing: Packing } {
  const { packing, inner } = packingOf(path);
  const kind = /\.(jsonl|ndjson)$/i.test(inner) ? 'jsonl' : /\.parquet$/i.test(inner) ? 'parquet' : 'text';
  return { kind, packing };
}

async function* fileDocuments(
  path: string,
  size: number,
  options: FieldOptions,
  warnings: TextWarnings,
): AsyncGenerator<TextDocument> {
  const { kind, packing } = kindOf(path);
  if (kind === 'jsonl') yield* jsonlDocuments(path, packing, options, warnings);
  else if (kind === 'parquet') yield* parquetDocuments(path, packing, options.column, warnings);
  else yield fileDocument(path, size, warnings, packing);
}

async function* folderDocuments(
  folder: string,
  options: FieldOptions,
  warnings: TextWarnings,
): AsyncGenerator<TextDocument> {
  for (const entry of await listFolder(folder)) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) {
      yield* folderDocuments(path, options, warnings);
      continue;
    }
    const status = await stat(path).catch(() => undefined);
    if (!status?.isFile()) continue;
    const { kind, packing } = kindOf(path);
    if (status.size === 0) warnings.empty++;
    else if (kind === 'text' && (await binaryFault(path, packing)) !== undefined) warnings.binary++;
    else yield* fileDocuments(path, status.size, options, warnings);
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

/** Why a file is not text, judged by its beginning, unpacked; undefined if it looks like text. */
async function binaryFault(path: string, packing: Packing): Promise<string | undefined> {
  const head = await readHead(path, packing);
  if ((head[0] === 0xff && head[1] === 0xfe) || (head[0] === 0xfe && head[1] === 0xff)) {
    return 'UTF-16; convert it first';
  }
  const zero = head.indexOf(0);
  if (zero >= 0) return `a binary file (a zero byte at ${zero})`;
  const controls = head.filter((byte) => byte < 0x20 && !(byte >= 0x07 && byte <= 0x0d) && byte !== 0x1b);
  const tooMany = controls.length > MAX_CONTROL_SHARE * head.length;
  return tooMany ? `a binary file (${controls.length} control bytes of ${head.length})` : undefined;
}

async function readHead(path: string, packing: Packing): Promise<Uint8Array> {
  if (packing !== 'none') {
    let head: Uint8Array = new Uint8Array(0);
    for await (const chunk of readChunks(path, packing)) {
      head = head.length === 0 ? chunk : Buffer.concat([head, chunk]);
      if (head.length >= HEAD_BYTES) break;
    }
    return head.subarray(0, HEAD_BYTES);
  }
  try {
    const file = await open(path);
    try {
      const { bytesRead, buffer } = await file.read(Buffer.alloc(HEAD_BYTES), 0, HEAD_BYTES, 0);
      return buffer.subarray(0, bytesRead);
    } finally {
      await file.close();
    }
  } catch (error) {
    throw new DataError(path, 'must be readable', error instanceof Error ? error.message : error);
  }
}
