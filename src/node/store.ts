/** Node's store and clock: runs as folders of the file system, written so that a crash leaves nothing half-done. */
import { type FileHandle, open, readdir, rename, rm } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import type { Clock, FileContent, Store } from '../platform.js';
import { crc32c } from './checksum.js';
import { codeOf, fileError, isMissing, writeError } from './file-errors.js';
import { FolderLock } from './folder-lock.js';
import { makeFolder, removeEmpty } from './make-folder.js';
import { NodeFile } from './file.js';

export const nodeClock: Clock = {
  now: () => performance.now(),
  yield: () => setImmediate(),
};

/** Suffix of names being written or removed; the next write in a folder removes leftovers of a crash. */
const PARTIAL = '.partial';

/** A store in a folder, which is created when first written to. */
export class NodeStore implements Store {
  readonly crc32c = crc32c;
  #lock: FolderLock | null = null;

  /**
   * @param outer the store of a folder around this one, whose lock the writes here need too
   * @param signal stops the writing of files, which are then removed
   */
  constructor(
    readonly folder: string,
    private readonly outer: NodeStore | null = null,
    private readonly signal?: AbortSignal,
  ) {}

  /** The store of a folder in this one. */
  within(name: string): NodeStore {
    return new NodeStore(join(this.folder, name), this);
  }

  async read(path: string): Promise<Uint8Array> {
    await using file = await this.open(path);
    const content = new Uint8Array(file.size);
    await file.read(content, 0);
    return content;
  }

  open(path: string): Promise<NodeFile> {
    const whole = join(this.folder, path);
    return NodeFile.open(whole, whole);
  }

  async has(path: string): Promise<boolean> {
    return (await this.list(dirname(path))).includes(basename(path));
  }

  async list(path: string): Promise<string[]> {
    try {
      const names = await readdir(join(this.folder, path));
      return names.filter((name) => !name.endsWith(PARTIAL)).sort();
    } catch (error) {
      if (isMissing(error)) return [];
      throw fileError(error);
    }
  }

  append(path: string, content: string | Uint8Array): Promise<void> {
    const target = join(this.folder, path);
    return this.writing(target, async () => {
      const file = await this.openFor(target, 'a');
      try {
        await this.requireOwn(); // the opened file may be another process's by then
        await file.writeFile(content);
      } finally {
        await file.close();
      }
    });
  }

  async replace(path: string, content: string | Uint8Array | FileContent): Promise<void> {
    const target = join(this.folder, path);
    const whole = typeof content === 'string' || content instanceof Uint8Array;
    const pieces = whole ? [Buffer.from(content)] : content;
    await this.aside(target, (partial) => this.writeFile(partial, pieces));
  }

  async createFolder(path: string, files: Iterable<readonly [string, FileContent]>): Promise<void> {
    const target = join(this.folder, path);
    await this.aside(target, async (partial) => {
      await this.makeFolder(partial);
      for (const [name, content] of files) await this.writeFile(join(partial, name), content);
      await syncFolder(partial);
      await this.requireOwn();
      await setAside(target);
    });
  }

  remove(path: string): Promise<void> {
    const target = join(this.folder, path);
    return this.writing(target, () => setAside(target));
  }

  /**
   * Claims the folder for this process until the claim is disposed of: two trainings would remove each other's
   * checkpoints. Meanwhile this store writes to this very folder or not at all, even if it is moved, removed or
   * replaced. A folder created for the claim is removed with it if it is empty. Throws LockError if another process
   * holds it, and FileError if it can not be written to.
   */
  async lock(): Promise<AsyncDisposable> {
    let made: string | undefined;
    const lock = await this.writing(join(this.folder, 'lock'), async () => {
      made = await this.makeFolder(this.folder);
      return FolderLock.take(this.folder);
    });
    this.#lock = lock;
    return {
      [Symbol.asyncDispose]: async () => {
        this.#lock = null;
        await lock[Symbol.asyncDispose]();
        await removeEmpty(this.folder, made);
      },
    };
  }

  /** Throws LockError if a lock that this store relies on is no longer this process's. */
  private async requireOwn(): Promise<void> {
    await this.outer?.requireOwn();
    await this.#lock?.requireOwn();
  }

  /** Whether a folder is held by a lock, and therefore must exist. */
  private holds(path: string): boolean {
    return (
      (this.#lock !== null && resolve(path) === resolve(this.folder)) || this.outer?.holds(path) === true
    );
  }

  /** Writes `target` if its folder is this process's; errors of the file system name it, and the remedy. */
  private async writing<Result>(target: string, write: () => Promise<Result>): Promise<Result> {
    await this.requireOwn();
    try {
      return await write();
    } catch (error) {
      await this.requireOwn(); // a missing folder causes other errors too
      throw writeError(error, target, 'what was there before is intact');
    }
  }

  /** Lets `write` create a file or folder under a temporary name, then renames it; removes it if `write` fails. */
  private aside(target: string, write: (partial: string) => Promise<void>): Promise<void> {
    const partial = target + PARTIAL;
    return this.writing(target, async () => {
      try {
        await removeLeftovers(dirname(target));
        await write(partial);
        await this.requireOwn();
        await rename(partial, target);
        await syncFolder(dirname(target));
      } catch (error) {
        await this.requireOwn(); // another process's file may have this name
        await rm(partial, { recursive: true, force: true }).catch(() => {});
        throw error;
      }
    });
  }

  private async writeFile(path: string, content: FileContent): Promise<void> {
    await this.requireOwn();
    const file = await this.openFor(path, 'wx');
    try {
      await this.writePieces(file, content);
      await file.sync();
    } finally {
      await file.close();
    }
  }

  /** Writes each piece while the next one is made. */
  private async writePieces(file: FileHandle, content: FileContent): Promise<void> {
    const options = this.signal ? { signal: this.signal } : {};
    let written = Promise.resolve();
    try {
      for await (const piece of content) {
        await written;
        written = file.writeFile(piece, options);
        written.catch(() => {}); // awaited after the next piece
      }
    } finally {
      await written;
    }
  }

  private async openFor(path: string, flags: string): Promise<FileHandle> {
    try {
      return await open(path, flags);
    } catch (error) {
      if (!isMissing(error)) throw error;
      await this.makeFolder(dirname(path));
      return open(path, flags);
    }
  }

  private makeFolder(path: string): Promise<string | undefined> {
    return makeFolder(path, (above) => this.holds(above));
  }
}

/** Removes a folder so that it exists whole or not at all, even after a crash. */
async function setAside(target: string): Promise<void> {
  const leftover = `${target}.old${PARTIAL}`;
  try {
    await rename(target, leftover);
  } catch (error) {
    if (isMissing(error)) return;
    throw error;
  }
  await rm(leftover, { recursive: true, force: true });
}

async function removeLeftovers(folder: string): Promise<void> {
  let names: string[] = [];
  try {
    names = await readdir(folder);
  } catch (error) {
    if (!isMissing(error)) throw error;
  }
  for (const name of names.filter((n) => n.endsWith(PARTIAL))) {
    await rm(join(folder, name), { recursive: true, force: true });
  }
}

/** Makes a rename in a folder survive a power cut; not every file system lets a folder be synced. */
export async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } catch (error) {
    if (!['EINVAL', 'EPERM', 'EISDIR'].includes(codeOf(error))) throw error;
  } finally {
    await folder.close();
  }
}
