/** A store in memory: runs that end with the page. */
import { CheckpointError } from '../errors.js';
import { crc32c } from '../formats/crc32c.js';
import type { FileContent, RandomAccessFile, Store } from '../platform.js';

export class MemoryStore implements Store {
  readonly crc32c = crc32c;
  /** Files by their path. */
  readonly files = new Map<string, Uint8Array>();

  async read(path: string): Promise<Uint8Array> {
    const content = this.files.get(path);
    if (!content) throw new CheckpointError(path, 'must be a file of this store');
    return content;
  }

  async open(path: string): Promise<RandomAccessFile> {
    const content = await this.read(path);
    return {
      size: content.length,
      async read(into, offset) {
        if (offset + into.length > content.length) {
          throw new CheckpointError(path, `must have at least ${offset + into.length} bytes`, content.length);
        }
        into.set(content.subarray(offset, offset + into.length));
      },
      async [Symbol.asyncDispose]() {},
    };
  }

  async has(path: string): Promise<boolean> {
    return [...this.files.keys()].some((name) => name === path || name.startsWith(`${path}/`));
  }

  async list(path: string): Promise<string[]> {
    const prefix = path === '.' ? '' : `${path}/`;
    const below = [...this.files.keys()].filter((name) => name.startsWith(prefix));
    return [...new Set(below.map((name) => name.slice(prefix.length).split('/')[0]))].sort();
  }

  async append(path: string, content: string | Uint8Array): Promise<void> {
    this.files.set(path, joined([this.files.get(path) ?? new Uint8Array(), bytesOf(content)]));
  }

  async replace(path: string, content: string | Uint8Array): Promise<void> {
    this.files.set(path, bytesOf(content).slice());
  }

  async createFolder(path: string, files: Iterable<readonly [string, FileContent]>): Promise<void> {
    for (const [name, content] of files) {
      const pieces: Uint8Array[] = [];
      for await (const piece of content) pieces.push(piece.slice());
      this.files.set(`${path}/${name}`, joined(pieces));
    }
  }

  async removeFolder(path: string): Promise<void> {
    for (const name of this.files.keys()) if (name.startsWith(`${path}/`)) this.files.delete(name);
  }

  /** Nobody else has a store in memory. */
  async lock(): Promise<AsyncDisposable> {
    return { [Symbol.asyncDispose]: async () => {} };
  }
}

const bytesOf = (content: string | Uint8Array): Uint8Array =>
  typeof content === 'string' ? new TextEncoder().encode(content) : content;

function joined(pieces: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(pieces.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const piece of pieces) {
    all.set(piece, at);
    at += piece.length;
  }
  return all;
}
