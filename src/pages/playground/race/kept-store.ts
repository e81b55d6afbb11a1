/** A store in the browser's file system while that has room, and in memory from then on. */
import { FileError } from '../../../errors.js';
import type { FileContent, RandomAccessFile, Store } from '../../../platform.js';
import { MemoryStore } from '../../../web/memory-store.js';

export class KeptStore implements Store {
  private current: Store;

  /** `onFull` receives, once, the reason why nothing more is kept. */
  constructor(
    private readonly kept: Store,
    private readonly onFull: (reason: string) => void,
  ) {
    this.current = kept;
  }

  read(path: string): Promise<Uint8Array> {
    return this.current.read(path);
  }

  open(path: string): Promise<RandomAccessFile> {
    return this.current.open(path);
  }

  has(path: string): Promise<boolean> {
    return this.current.has(path);
  }

  list(path: string): Promise<string[]> {
    return this.current.list(path);
  }

  append(path: string, content: string | Uint8Array): Promise<void> {
    return this.writing((store) => store.append(path, content));
  }

  replace(path: string, content: string | Uint8Array): Promise<void> {
    return this.writing((store) => store.replace(path, content));
  }

  async createFolder(path: string, files: Iterable<readonly [string, FileContent]>): Promise<void> {
    // The contents can be read only once, and may have to be written twice.
    const whole: [string, Uint8Array[]][] = [];
    for (const [name, content] of files) {
      const pieces: Uint8Array[] = [];
      for await (const piece of content) pieces.push(piece.slice());
      whole.push([name, pieces]);
    }
    return this.writing((store) => store.createFolder(path, whole));
  }

  remove(path: string): Promise<void> {
    return this.writing((store) => store.remove(path));
  }

  lock(): Promise<AsyncDisposable> {
    return this.kept.lock();
  }

  crc32c(bytes: Uint8Array, before?: number): number {
    return this.kept.crc32c(bytes, before);
  }

  private async writing(write: (store: Store) => Promise<void>): Promise<void> {
    try {
      await write(this.current);
    } catch (error) {
      if (!(error instanceof FileError) || this.current !== this.kept) throw error;
      const memory = new MemoryStore();
      for (const path of await filesOf(this.kept)) await memory.replace(path, await this.kept.read(path));
      this.current = memory;
      this.onFull(error.message);
      await write(memory);
    }
  }
}

/** The paths of all files in a store. */
export async function filesOf(store: Store, path = '.'): Promise<string[]> {
  const found: string[] = [];
  for (const name of await store.list(path)) {
    const own = path === '.' ? name : `${path}/${name}`;
    const below = await filesOf(store, own);
    found.push(...(below.length === 0 ? [own] : below));
  }
  return found;
}
