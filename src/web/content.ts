/** What a page's stores have in common: bytes, and files that are read in parts from memory or from a Blob. */
import { CheckpointError } from '../errors.js';
import type { RandomAccessFile } from '../platform.js';

export const bytesOf = (content: string | Uint8Array): Uint8Array =>
  typeof content === 'string' ? new TextEncoder().encode(content) : content;

/** Whether one of the files is `path`, or lies in a folder of this name. */
export function hasPath(files: Iterable<string>, path: string): boolean {
  return [...files].some((name) => name === path || name.startsWith(`${path}/`));
}

/** The names in folder `path` of the files, sorted. */
export function namesIn(files: Iterable<string>, path: string): string[] {
  const prefix = path === '.' ? '' : `${path}/`;
  const below = [...files].filter((name) => name.startsWith(prefix));
  return [...new Set(below.map((name) => name.slice(prefix.length).split('/')[0]))].sort();
}

/** A file whose bytes `part` returns; `path` is its name for messages. */
export function fileOf(
  path: string,
  size: number,
  part: (begin: number, end: number) => Uint8Array | Promise<Uint8Array>,
): RandomAccessFile {
  return {
    size,
    async read(into, offset) {
      const end = offset + into.length;
      if (end > size) throw new CheckpointError(path, `must have at least ${end} bytes`, size);
      into.set(await part(offset, end));
    },
    async [Symbol.asyncDispose]() {},
  };
}

/** A file whose bytes a Blob has, such as a File. Reading throws CheckpointError if the Blob can no longer be read. */
export function blobFile(path: string, blob: Blob): RandomAccessFile {
  return fileOf(path, blob.size, async (begin, end) => {
    try {
      return new Uint8Array(await blob.slice(begin, end).arrayBuffer());
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      throw new CheckpointError(path, `must be readable (${reason})`, undefined, 'was it changed meanwhile?');
    }
  });
}

/** The whole content of a file, which is then closed. */
export async function contentOf(file: RandomAccessFile): Promise<Uint8Array<ArrayBuffer>> {
  await using opened = file;
  const content = new Uint8Array(opened.size);
  await opened.read(content, 0);
  return content;
}
