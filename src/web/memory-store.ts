/** A store in memory: its runs last until the page is closed. */
import { CheckpointError } from '../errors.js';
import { crc32c } from '../formats/crc32c.js';
import { joined } from '../formats/joined.js';
import type { FileContent, RandomAccessFile, Store } from '../platform.js';
import { bytesOf, fileOf, hasPath, namesIn } from './content.js';

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
    return fileOf(path, content.length, (begin, end) => content.subarray(begin, end));
  }

  async has(path: string): Promise<boolean> {
    return hasPath(this.files.keys(), path);
  }

  async list(path: string): Promise<string[]> {
    return namesIn(this.files.keys(), path);
  }

  async append(path: string, content: string | Uint8Array): Promise<void> {
    this.files.set(path, joined([this.files.get(path) ?? new Uint8Array(), bytesOf(content)]));
  }

  async replace(path: string, content: string | Uint8Array): Promise<void> {
    this.files.set(path, bytesOf(content).slice());
  }

  async createFolder(path: string, files: Iterable<readonly [string, FileContent]>): Promise<void> {
    const contents: [string, Uint8Array][] = [];
    for (const [name, content] of files) {
      const pieces: Uint8Array[] = [];
      for await (const piece of content) pieces.push(piece.slice());
      contents.push([`${path}/${name}`, joined(pieces)]);
    }
    await this.remove(path);
    for (const [name, content] of contents) this.files.set(name, content);
  }

  async remove(path: string): Promise<void> {
    this.files.delete(path);
    for (const name of this.files.keys()) if (name.startsWith(`${path}/`)) this.files.delete(name);
  }

  /** A store in memory has no other users. */
  async lock(): Promise<AsyncDisposable> {
    return { [Symbol.asyncDispose]: async () => {} };
  }
}
