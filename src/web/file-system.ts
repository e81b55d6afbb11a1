/**
 * The browser's file system, as far as loopnn uses it: its types, which neither Node's types nor all versions of the
 * DOM's have, and words for its errors.
 */
import { ConfigError, FileError } from '../errors.js';

/** A folder of a page: in the Origin Private File System, or picked by the user. */
export interface DirectoryHandle {
  readonly kind: 'directory';
  readonly name: string;
}

export interface Folder extends DirectoryHandle {
  values(): AsyncIterable<Folder | OneFile>;
  getDirectoryHandle(name: string, options?: { readonly create: boolean }): Promise<Folder>;
  getFileHandle(name: string, options?: { readonly create: boolean }): Promise<OneFile>;
  removeEntry(name: string, options?: { readonly recursive: boolean }): Promise<void>;
}

export interface OneFile {
  readonly kind: 'file';
  readonly name: string;
  getFile(): Promise<Blob>;
  /** Renames the file, and replaces a file of that name. */
  move(name: string): Promise<void>;
  createWritable(options?: { readonly keepExistingData: boolean }): Promise<Writable>;
  /** In dedicated workers only. */
  createSyncAccessHandle?(): Promise<SyncAccess>;
}

interface Writable {
  write(piece: Uint8Array): Promise<void>;
  seek(position: number): Promise<void>;
  close(): Promise<void>;
  abort(): Promise<void>;
}

interface SyncAccess {
  write(piece: Uint8Array, options: { readonly at: number }): number;
  getSize(): number;
  truncate(size: number): void;
  flush(): void;
  close(): void;
}

interface Navigator {
  readonly storage?: {
    getDirectory?(): Promise<Folder>;
  };
}
const { navigator = {} } = globalThis as unknown as { readonly navigator?: Navigator };

/** The root of the Origin Private File System. Throws ConfigError if the browser has none. */
export async function privateRoot(): Promise<Folder> {
  const rule = 'needs the Origin Private File System';
  if (!navigator.storage?.getDirectory) {
    throw new ConfigError('OpfsStore', rule, 'none', 'serve the page by https, or from localhost');
  }
  try {
    return await navigator.storage.getDirectory();
  } catch (error) {
    const hint =
      'private windows and blocked site data have none: MemoryStore keeps a run until the page closes';
    throw new ConfigError('OpfsStore', rule, messageOf(error), hint);
  }
}

/**
 * Writes pieces to a file, at its end or in place of its content. All pieces are on the disk when this returns. In a
 * worker the file is locked during the write; elsewhere a copy of the file is written.
 */
export async function writeInto(
  file: OneFile,
  content: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
  { append = false } = {},
): Promise<void> {
  if (file.createSyncAccessHandle === undefined) return writeCopy(file, content, append);
  const access = await file.createSyncAccessHandle();
  try {
    let at = append ? access.getSize() : 0;
    if (!append) access.truncate(0);
    for await (const piece of content) {
      for (let begin = 0; begin < piece.length; ) {
        const written = access.write(piece.subarray(begin), { at });
        if (written === 0) throw new DOMException('nothing more could be written', 'QuotaExceededError');
        begin += written;
        at += written;
      }
    }
    access.flush();
  } finally {
    access.close();
  }
}

async function writeCopy(
  file: OneFile,
  content: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
  append: boolean,
): Promise<void> {
  const writable = await file.createWritable({ keepExistingData: append });
  try {
    if (append) await writable.seek((await file.getFile()).size);
    for await (const piece of content) await writable.write(piece);
  } catch (error) {
    await writable.abort().catch(() => {});
    throw error;
  }
  await writable.close();
}

export const isMissing = (error: unknown): boolean => nameOf(error) === 'NotFoundError';

/** The error to throw if `path` could not be written; errors that are not the browser's are unchanged. */
export function refusal(error: unknown, path: string): unknown {
  const intact = 'what was there before is intact';
  const refused = (reason: string, hint: string) =>
    new FileError(path, `could not be written, ${reason}`, `${hint}: ${intact}`, error as Error);
  switch (nameOf(error)) {
    case 'QuotaExceededError':
      return refused('this site may store no more', 'remove a run, or free room on the disk, and try again');
    case 'NoModificationAllowedError':
      return refused('another tab or worker has it open', 'close that and try again');
    case 'NotAllowedError':
    case 'SecurityError':
      return refused('the browser denies it', 'let this site store data, or pick another folder');
    case 'TypeMismatchError':
    case 'InvalidModificationError':
      return refused('a folder is there, or a file in place of a folder', 'choose another name');
    default:
      return error;
  }
}

const nameOf = (error: unknown): string => (error instanceof Error ? error.name : '');

export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
