/**
 * A store in the browser's own file system (OPFS). A tab that is closed, or crashes, leaves nothing half-written.
 *
 * A file is written beside its place and then moved there. Folders cannot be moved: a folder is written in place, with
 * a file `.partial` in it, and appears when that file is removed. Removing a folder begins by adding the file. A folder
 * that replaces another folder is `name~1`, `name~2` …; the last complete version counts. The next write in a folder
 * removes leftovers.
 */
import { CheckpointError, LockError } from '../errors.js';
import { crc32c } from '../formats/crc32c.js';
import type { FileContent, RandomAccessFile, Store } from '../platform.js';
import { blobFile, bytesOf, contentOf } from './content.js';
import { type DirectoryHandle, type Folder, isMissing, type OneFile, privateRoot } from './file-system.js';
import { refusal, writeInto } from './file-system.js';

/** Suffix of files being written; Chromium adds its own suffix, to these too. */
const PARTIAL = '.partial';
const isPartial = (name: string) => name.endsWith(PARTIAL) || name.endsWith('.crswap');

/**
 * Milliseconds to wait for a former holder to release the lock: a terminated worker, or a reloaded page, needs some.
 */
const LOCK_WAIT = 1000;

interface Locks {
  request(name: string, options: { readonly signal: AbortSignal }, held: () => Promise<void>): Promise<void>;
}

/**
 * A store in a folder of the origin's private file system, or in a folder that the user picked. The folder is created
 * by the first write. Workers write faster than pages.
 *
 * @example
 * const store = new OpfsStore('runs/mine');
 * await using _lock = await store.lock(); // throws LockError if another tab trains there
 */
export class OpfsStore implements Store {
  readonly crc32c = crc32c;
  /** The store's name, for messages and for its lock. */
  readonly name: string;
  private readonly root: () => Promise<Folder>;
  private readonly path: string;
  /** The last write: writes take turns, since each removes the leftovers of former writes. */
  private turn: Promise<unknown> = Promise.resolve();
  private lost: LockError | null = null;

  constructor(folder: string | DirectoryHandle) {
    const given = typeof folder !== 'string';
    this.name = given ? folder.name : folder;
    this.path = given ? '.' : folder;
    this.root = given ? async () => folder as Folder : privateRoot;
  }

  async read(path: string): Promise<Uint8Array> {
    return contentOf(await this.open(path));
  }

  async open(path: string): Promise<RandomAccessFile> {
    const { folder, name } = await this.placeOf(path);
    const file = folder && (await entriesOf(folder)).get(name);
    if (file?.kind !== 'file')
      throw new CheckpointError(`${this.name}/${path}`, 'must be a file of this store');
    return blobFile(`${this.name}/${path}`, await file.getFile());
  }

  async has(path: string): Promise<boolean> {
    const { folder, name } = await this.placeOf(path);
    return folder !== null && (await entriesOf(folder)).has(name);
  }

  async list(path: string): Promise<string[]> {
    const folder = await this.folderAt(partsOf(this.path, path), false);
    return folder ? [...(await entriesOf(folder)).keys()].sort() : [];
  }

  append(path: string, content: string | Uint8Array): Promise<void> {
    return this.writing(path, async () => {
      const { folder, name } = await this.placeToWrite(path);
      const file = await folder.getFileHandle(name, { create: true });
      await writeInto(file, [bytesOf(content)], { append: true });
    });
  }

  replace(path: string, content: string | Uint8Array | FileContent): Promise<void> {
    const pieces =
      typeof content === 'string' || content instanceof Uint8Array ? [bytesOf(content)] : content;
    return this.writing(path, async () => {
      const { folder, name } = await this.placeToWrite(path);
      await sweep(folder);
      const partial = await folder.getFileHandle(name + PARTIAL, { create: true });
      try {
        await writeInto(partial, pieces);
        this.requireOwn();
        await partial.move(name);
      } catch (error) {
        await folder.removeEntry(name + PARTIAL).catch(() => {});
        throw error;
      }
    });
  }

  createFolder(path: string, files: Iterable<readonly [string, FileContent]>): Promise<void> {
    return this.writing(path, async () => {
      const { folder, name } = await this.placeToWrite(path);
      await sweep(folder);
      const former = (await entriesOf(folder)).get(name);
      const ownName = former ? versioned(name, versionOf(former.name).version + 1) : name;
      const target = await folder.getDirectoryHandle(ownName, { create: true });
      await target.getFileHandle(PARTIAL, { create: true });
      try {
        for (const [fileName, content] of files) await writeBelow(target, fileName, content);
        this.requireOwn();
      } catch (error) {
        await removeWhole(folder, target).catch(() => {});
        throw error;
      }
      await target.removeEntry(PARTIAL);
      if (former?.kind === 'directory') await removeWhole(folder, former);
    });
  }

  remove(path: string): Promise<void> {
    return this.writing(path, async () => {
      const { folder, name } = await this.placeOf(path);
      if (!folder) return;
      await sweep(folder);
      const target = (await entriesOf(folder)).get(name);
      if (target?.kind === 'directory') await removeWhole(folder, target);
      else if (target) await folder.removeEntry(name);
    });
  }

  /**
   * Claims the store for this tab or worker until the claim is disposed of, with the browser's Web Locks, which end
   * with the tab or worker that holds them. Throws LockError if another tab or worker holds the store.
   */
  async lock(): Promise<AsyncDisposable> {
    await this.root(); // throws a clear error where the browser has neither OPFS nor locks
    const { locks } = (globalThis as unknown as { readonly navigator: { readonly locks: Locks } }).navigator;
    const rule = 'must not be in use by another tab or worker';
    const taken = new LockError(this.name, rule, undefined, 'stop the training there first');
    return new Promise((resolve, reject) => {
      let granted = false;
      const hold = () =>
        new Promise<void>((release) => {
          granted = true;
          const end = async () => {
            release();
            await request.catch(() => {});
            this.lost = null;
          };
          resolve({ [Symbol.asyncDispose]: end });
        });
      const signal = AbortSignal.timeout(LOCK_WAIT);
      const request = locks.request(`loopnn ${this.name}`, { signal }, hold);
      request.catch(() => {
        if (granted)
          this.lost = taken; // the lock was stolen
        else reject(taken);
      });
    });
  }

  private requireOwn(): void {
    if (this.lost) throw this.lost;
  }

  /** Writes in turn, and translates the browser's errors. */
  private writing(path: string, write: () => Promise<void>): Promise<void> {
    const own = async () => {
      try {
        this.requireOwn();
        await write();
      } catch (error) {
        throw refusal(error, `${this.name}/${path}`);
      }
    };
    const written = this.turn.then(own, own);
    this.turn = written.catch(() => {});
    return written;
  }

  /** The folder that contains a path's file or folder, or null, and the name in it. */
  private async placeOf(path: string): Promise<{ folder: Folder | null; name: string }> {
    const parts = partsOf(this.path, path);
    return { name: parts[parts.length - 1], folder: await this.folderAt(parts.slice(0, -1), false) };
  }

  private async placeToWrite(path: string): Promise<{ folder: Folder; name: string }> {
    const parts = partsOf(this.path, path);
    return { name: parts[parts.length - 1], folder: (await this.folderAt(parts.slice(0, -1), true))! };
  }

  private async folderAt(parts: readonly string[], create: boolean): Promise<Folder | null> {
    let folder = await this.root();
    const above = partsOf(this.path).length;
    for (const [depth, name] of parts.entries()) {
      const next = (await entriesOf(folder)).get(name);
      if (next?.kind === 'directory') folder = next;
      else if (!create) return null;
      else {
        if (depth >= above) await sweep(folder); // folders above the store are not its own
        folder = await folder.getDirectoryHandle(name, { create: true });
      }
    }
    return folder;
  }
}

const partsOf = (...paths: readonly string[]): string[] =>
  paths.flatMap((path) => path.split('/')).filter((part) => part !== '' && part !== '.');

const versioned = (name: string, version: number) => (version === 0 ? name : `${name}~${version}`);

/** The name and the version of a folder: `name~2` is version 2 of `name`. */
function versionOf(name: string): { readonly name: string; readonly version: number } {
  const match = /^(.+)~(\d+)$/.exec(name);
  return match ? { name: match[1], version: Number(match[2]) } : { name, version: 0 };
}

/** The complete entries of a folder, by name: files, and the last version of each folder. */
async function entriesOf(folder: Folder): Promise<Map<string, Folder | OneFile>> {
  const found = new Map<string, Folder | OneFile>();
  for await (const entry of folder.values()) {
    if (entry.kind === 'file') {
      if (!isPartial(entry.name)) found.set(entry.name, entry);
    } else {
      const { name, version } = versionOf(entry.name);
      const other = found.get(name);
      const newest = !other || versionOf(other.name).version < version;
      if (newest && (await stateOf(entry)) === 'whole') found.set(name, entry);
    }
  }
  return found;
}

/** Whether a folder is complete; an empty folder counts as missing. */
async function stateOf(folder: Folder): Promise<'whole' | 'partial' | 'empty'> {
  let state: 'whole' | 'empty' = 'empty';
  try {
    for await (const { name } of folder.values()) {
      if (name === PARTIAL) return 'partial';
      if (!isPartial(name)) state = 'whole';
    }
  } catch (error) {
    if (isMissing(error)) return 'empty'; // removed meanwhile
    throw error;
  }
  return state;
}

/**
 * Removes leftovers of interrupted writes in a folder, and replaced versions.
 */
async function sweep(folder: Folder): Promise<void> {
  const whole = await entriesOf(folder);
  const leftovers: (Folder | OneFile)[] = [];
  for await (const entry of folder.values()) {
    if (
      entry.kind === 'file' ? isPartial(entry.name) && entry.name !== PARTIAL : await isLeftover(entry, whole)
    )
      leftovers.push(entry);
  }
  for (const entry of leftovers) {
    if (entry.kind === 'directory') await removeWhole(folder, entry);
    // Fails if another tab is writing the file.
    else await folder.removeEntry(entry.name).catch(() => {});
  }
}

async function isLeftover(folder: Folder, whole: ReadonlyMap<string, Folder | OneFile>): Promise<boolean> {
  const state = await stateOf(folder);
  return (
    state === 'partial' || (state === 'whole' && whole.get(versionOf(folder.name).name)?.name !== folder.name)
  );
}

/** Removes a folder so that it counts as whole or not at all, even after a crash. */
async function removeWhole(parent: Folder, folder: Folder): Promise<void> {
  await folder.getFileHandle(PARTIAL, { create: true });
  const names: string[] = [];
  for await (const { name } of folder.values()) if (name !== PARTIAL) names.push(name);
  for (const name of names) await folder.removeEntry(name, { recursive: true });
  await parent.removeEntry(folder.name, { recursive: true });
}

async function writeBelow(folder: Folder, path: string, content: FileContent): Promise<void> {
  const parts = partsOf(path);
  let at = folder;
  for (const name of parts.slice(0, -1)) at = await at.getDirectoryHandle(name, { create: true });
  await writeInto(await at.getFileHandle(parts[parts.length - 1], { create: true }), content);
}
