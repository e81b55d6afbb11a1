/**
 * Text documents from files and folders: one document per file, or many from a file of records. `kind.ts` decides what
 * a file is; tokenizers must not be imported. A folder's files are sorted by name, with folders in their place among
 * them, so that a corpus has one order on every machine. Names that begin with a dot are skipped, and so are links to
 * folders that are read anyway. Links out of the folder are refused, or followed.
 */
import type { Dirent } from 'node:fs';
import { readdir, realpath, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { ConfigError, DataError } from '../../errors.js';
import { csvDocuments } from './csv.js';
import { jsonDocuments } from './json.js';
import { jsonlDocuments } from './jsonl.js';
import { KIND_NAMES, type Recognised, recognise } from './kind.js';
import { followLink, isWithin, linkRoot } from '../../node/links.js';
import { type Packing, readChunks } from './packing.js';
import { belongsTo, splitsOf } from '../split-names.js';
import {
  BROKEN_SHOWN,
  FIELD_DEFAULTS,
  type FieldOptions,
  type TextDocument,
  type TextSource,
  type TextWarnings,
} from './source.js';
import { cutPieces, decodeUtf8, piecesOf } from './text.js';
import { countMarks, splitOn } from './marks.js';
import { LONGEST_RECORD } from './records.js';
import { END_OF_TEXT } from '../../tokenizer/tokenizer.js';

/** Loaded on demand: most commands read no parquet. */
const parquet = () => import('./parquet.js');

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
    pieces: () => cutPieces(countEndsOfText(textsOf(path, packing, warnings), warnings)),
  };
}

/** A file's text as it is read. */
function textsOf(path: string, packing: Packing, warnings: TextWarnings): AsyncGenerator<string> {
  return decodeUtf8(readChunks(path, packing, warnings), () => {
    warnings.invalidUtf8++;
  });
}

function countEndsOfText(texts: AsyncIterable<string>, warnings: TextWarnings): AsyncGenerator<string> {
  return countMarks(texts, END_OF_TEXT, (times) => {
    warnings.marks += times;
    warnings.marked++;
  });
}

/** The documents of a text file, separated by a mark; documents of only white space are skipped. */
async function* partedDocuments(
  path: string,
  packing: Packing,
  mark: string,
  warnings: TextWarnings,
): AsyncGenerator<TextDocument> {
  const texts = textsOf(path, packing, warnings);
  const counted = mark === END_OF_TEXT ? texts : countEndsOfText(texts, warnings);
  let number = 0;
  for await (const text of splitOn(counted, mark, path, LONGEST_RECORD)) {
    number++;
    if (text.trim() === '') continue;
    yield {
      name: `${path}, document ${number}`,
      size: Buffer.byteLength(text),
      pieces: () => piecesOf(text),
    };
  }
  if (number === 1) warnings.unparted++;
}

/**
 * Opens one file of text, which may be packed.
 *
 * @throws DataError if the file is missing, a folder, empty, binary, or holds records
 */
export async function openFile(path: string, warnings: TextWarnings): Promise<TextDocument> {
  const size = await sizeOfFile(path);
  if (size === undefined) throw new DataError(path, 'must be a file', 'a folder');
  const found = await recogniseNamed(path, FIELD_DEFAULTS);
  if (found.kind !== 'text') {
    const asText = found.kind === 'parquet' ? '' : ' (as plain text: --as text)';
    const hint = `loopnn prepare makes data of it${asText}, which loopnn eval --data scores`;
    throw new DataError(path, 'must be a file of text', KIND_NAMES[found.kind], hint);
  }
  return fileDocument(path, size, warnings, found.packing);
}

/**
 * Opens a file or a folder as a source.
 *
 * @throws DataError if the path is missing, empty, a binary file, not what `options.as` says, a parquet file without
 *   the column, or looks like records that cannot be read
 */
export async function openPath(path: string, options: FieldOptions = FIELD_DEFAULTS): Promise<TextSource> {
  const name = basename(path);
  const size = await sizeOfFile(path);
  if (size === undefined) {
    if (options.split !== undefined) await requireSplit(path, options.split, options);
    const shown = options.split === undefined ? name : `${name} (${options.split})`;
    return { name: shown, documents: (warnings) => folderDocuments(path, options, warnings) };
  }
  const found = await recogniseNamed(path, options);
  if (options.splitOn !== undefined && found.kind !== 'text') {
    throw new ConfigError('--split-on', 'is for files of text', `${path} (${KIND_NAMES[found.kind]})`);
  }
  if (found.kind === 'parquet' && found.packing === 'none') {
    const { openParquet } = await parquet();
    await (await openParquet(path, options.column)).close();
  }
  return { name, documents: (warnings) => fileDocuments(path, size, found, options, warnings) };
}

/** Throws DataError if no file of a folder belongs to a split. */
async function requireSplit(folder: string, split: string, options: FieldOptions): Promise<void> {
  const paths = (await pathsBelow(folder, options)) ?? [];
  if (paths.some((path) => belongsTo(path, split))) return;
  const there = [...new Set(paths.flatMap(splitsOf))].join(', ') || 'no file whose path names a split';
  throw new DataError(folder, `must have files of the split '${split}'`, there);
}

/** The size of a file in bytes, undefined for a folder; throws DataError for anything else, or an empty file. */
async function sizeOfFile(path: string): Promise<number | undefined> {
  const status = await stat(path).catch((error: unknown) => {
    throw new DataError(path, 'must be a file or a folder', error instanceof Error ? error.message : error);
  });
  if (status.isDirectory()) return undefined;
  if (!status.isFile()) throw new DataError(path, 'must be a file or a folder', 'something else');
  if (status.size === 0) throw new DataError(path, 'must hold text', KIND_NAMES.empty);
  return status.size;
}

/** The kind of a file that the user named, which therefore must contain text. */
async function recogniseNamed(path: string, options: FieldOptions): Promise<Recognised> {
  const found = await recognise(path, options);
  if (found.kind === 'binary') throw new DataError(path, 'must be text in UTF-8', found.fault);
  if (found.kind === 'empty') throw new DataError(path, 'must hold text', KIND_NAMES.empty);
  return found;
}

async function* fileDocuments(
  path: string,
  size: number,
  found: Recognised,
  options: FieldOptions,
  warnings: TextWarnings,
): AsyncGenerator<TextDocument> {
  const { kind, packing } = found;
  if (!found.expected) {
    warnings.unexpected++;
    const shown = `${path} (${KIND_NAMES[kind]})`;
    if (warnings.unexpectedAt.length < BROKEN_SHOWN) warnings.unexpectedAt.push(shown);
  }
  if (kind === 'empty') warnings.empty++;
  else if (kind === 'binary') warnings.binary++;
  else if (kind === 'jsonl') yield* jsonlDocuments(path, packing, options, warnings);
  else if (kind === 'json') yield* jsonDocuments(path, packing, found.layout, options, warnings);
  else if (kind === 'csv') yield* csvDocuments(path, packing, found.delimiter, options, warnings);
  else if (kind === 'parquet') {
    const { parquetDocuments } = await parquet();
    yield* parquetDocuments(path, packing, options.column, warnings);
  } else if (options.splitOn !== undefined) yield* partedDocuments(path, packing, options.splitOn, warnings);
  else yield fileDocument(path, size, warnings, packing);
}

/** A file below a folder. */
interface FolderFile {
  readonly path: string;
  /** Its path below the folder. */
  readonly within: string;
  readonly size: number;
}

/** The real paths that a pass over a folder has visited. */
interface Walk {
  /** Where links may lead. */
  readonly roots: string[];
  /** Folders whose files are read. */
  readonly read: string[];
  /** Files that links have led to. */
  readonly linked: Set<string>;
}

/** The documents below a folder; if a split is given, the split's only. */
async function* folderDocuments(
  folder: string,
  options: FieldOptions,
  warnings: TextWarnings,
): AsyncGenerator<TextDocument> {
  for await (const { path, within, size } of folderFiles(folder, options)) {
    if (options.split !== undefined && !belongsTo(within, options.split)) continue;
    if (size === 0) warnings.empty++;
    else yield* fileDocuments(path, size, await recognise(path, options), options, warnings);
  }
}

/** The paths of the files below a folder, relative to it; undefined if `folder` is no folder. */
export async function pathsBelow(
  folder: string,
  options: Pick<FieldOptions, 'followLinks'>,
): Promise<string[] | undefined> {
  if (!(await stat(folder).catch(() => undefined))?.isDirectory()) return undefined;
  const paths: string[] = [];
  for await (const { within } of folderFiles(folder, options)) paths.push(within);
  return paths;
}

async function* folderFiles(
  folder: string,
  options: Pick<FieldOptions, 'followLinks'>,
): AsyncGenerator<FolderFile> {
  const walk = { roots: [await linkRoot(folder)], read: [await realpath(folder)], linked: new Set<string>() };
  yield* filesBelow(folder, '', options.followLinks, walk);
}

/** The files below a folder. Each file comes once, even if links lead to it too. */
async function* filesBelow(
  folder: string,
  before: string,
  followLinks: boolean,
  walk: Walk,
): AsyncGenerator<FolderFile> {
  for (const entry of await listFolder(folder)) {
    const path = join(folder, entry.name);
    const within = `${before}${entry.name}`;
    const target = entry.isSymbolicLink() ? await followLink(path, walk.roots, followLinks) : undefined;
    const status = await stat(path).catch(() => undefined);
    if (status?.isDirectory()) {
      if (target !== undefined && isWithin(target, walk.roots)) continue;
      if (target !== undefined) {
        walk.roots.push(target);
        walk.read.push(target);
      }
      yield* filesBelow(path, `${within}/`, followLinks, walk);
      continue;
    }
    if (!status?.isFile()) continue;
    if (target !== undefined) {
      if (isReadAnyway(target, walk.read) || walk.linked.has(target)) continue;
      walk.linked.add(target);
    }
    yield { path, within, size: status.size };
  }
}

/** Whether a file lies in one of the folders, and no part of its path below that folder is hidden. */
function isReadAnyway(path: string, folders: readonly string[]): boolean {
  return folders.some((folder) => isWithin(path, [folder]) && !/[/\\]\./.test(path.slice(folder.length)));
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
