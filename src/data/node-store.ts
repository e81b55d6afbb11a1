/** Node's store and clock: runs as folders of the file system, written so that a crash leaves nothing half-done. */
import { type FileHandle, mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { CheckpointError, ConfigError } from '../errors.js';
import type { Clock } from '../train/clock.js';
import type { FileContent, Store } from '../train/store.js';
import { crc32c } from './checksum.js';
import { NodeFile } from './node-file.js';

export const nodeClock: Clock = {
  now: () => performance.now(),
  yield: () => setImmediate(),
};

/** Holds the number of the process that works in a folder. */
const LOCK_FILE = 'lock';
/** Ending of what is being written or removed; leftovers of a crash go with the next write in their folder. */
const PARTIAL = '.partial';

/** A store in a folder, which is created when first written to. */
export class NodeStore implements Store {
  readonly crc32c = crc32c;

  constructor(readonly folder: string) {}

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

  async list(path: string): Promise<string[]> {
    try {
      const names = await readdir(join(this.folder, path));
      return names.filter((name) => !name.endsWith(PARTIAL)).sort();
    } catch (error) {
      if (isMissing(error)) return [];
      if (codeOf(error) !== 'ENOTDIR') throw error;
      throw new CheckpointError(join(this.folder, path), 'must be a folder', 'a file');
    }
  }

  async append(path: string, content: string | Uint8Array): Promise<void> {
    const file = await this.openFor(join(this.folder, path), 'a');
    try {
      await file.writeFile(content);
    } catch (error) {
      throw isFull(error) ? diskFull(path) : error;
    } finally {
      await file.close();
    }
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
      await mkdir(partial, { recursive: true });
      for (const [name, content] of files) await this.writeFile(join(partial, name), content);
      await syncFolder(partial);
      await setAside(target);
    });
  }

  async removeFolder(path: string): Promise<void> {
    await setAside(join(this.folder, path));
  }

  /**
   * Claims the folder for this process until the claim is disposed of: two trainings would remove each other's checkpoints. A
   * claim whose process is gone is taken over. Throws ConfigError when another process holds it.
   */
  async lock(): Promise<AsyncDisposable> {
    const path = join(this.folder, LOCK_FILE);
    const release = { [Symbol.asyncDispose]: () => rm(path, { force: true }) };
    for (let attempt = 0; attempt < 2; attempt++) {
      try {
        const file = await this.openFor(path, 'wx');
        await file.writeFile(String(process.pid));
        await file.close();
        return release;
      } catch (error) {
        if (codeOf(error) !== 'EEXIST') throw error;
      }
      const holder = Number(await readFile(path, 'utf8').catch(() => ''));
      if (isRunning(holder)) {
        throw new ConfigError(
          this.folder,
          'must not be in use by another process',
          holder,
          `else delete ${LOCK_FILE}`,
        );
      }
      await rm(path, { force: true });
    }
    throw new ConfigError(this.folder, 'must not be in use by another process');
  }

  /** Lets `write` make a file or folder under another name, then gives it its own; nothing stays if `write` fails. */
  private async aside(target: string, write: (partial: string) => Promise<void>): Promise<void> {
    const partial = target + PARTIAL;
    try {
      await removeLeftovers(dirname(target));
      await write(partial);
      await rename(partial, target);
      await syncFolder(dirname(target));
    } catch (error) {
      await rm(partial, { recursive: true, force: true }).catch(() => {});
      throw isFull(error) ? diskFull(target) : error;
    }
  }

  private async writeFile(path: string, content: FileContent): Promise<void> {
    const file = await this.openFor(path, 'w');
    try {
      for await (const chunk of content) await file.writeFile(chunk);
      await file.sync();
    } finally {
      await file.close();
    }
  }

  private async openFor(path: string, flags: string): Promise<FileHandle> {
    try {
      return await open(path, flags);
    } catch (error) {
      if (!isMissing(error)) throw error;
      await mkdir(dirname(path), { recursive: true });
      return open(path, flags);
    }
  }
}

/** Removes a folder such that it is there whole or not at all, whatever happens meanwhile. */
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

function isRunning(processId: number): boolean {
  if (!Number.isInteger(processId) || processId <= 0) return false;
  try {
    process.kill(processId, 0);
    return true;
  } catch (error) {
    return codeOf(error) === 'EPERM';
  }
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : '';
}

const isMissing = (error: unknown) => codeOf(error) === 'ENOENT';
/** Whether a disk or a quota had no room for what was written. */
export const isFull = (error: unknown) => ['ENOSPC', 'EDQUOT', 'EFBIG'].includes(codeOf(error));

function diskFull(target: string): CheckpointError {
  return new CheckpointError(
    basename(target),
    'could not be written, the disk is full',
    undefined,
    'free some space and try again: what was there before is intact',
  );
}
