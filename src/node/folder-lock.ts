/**
 * A folder's lock: a file that names its holder, taken by one process at a time and kept fresh by a heartbeat.
 * `lock-holder.ts` decides who a holder is and whether it is still alive.
 *
 * The lock of a dead process is not removed, because the remover might remove a newer lock that a third process has
 * just created. It is succeeded instead. The next holder is the one process that creates the file `lock.<id of the dead
 * lock>`; if that process dies before it has tidied up, it is succeeded in turn. Locks are therefore a chain from the
 * file `lock` on, and the last one holds the folder. No id occurs twice: a file created after an outdated look is in no
 * chain, and looking again shows that.
 */
import { type FileHandle, link, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { LockError } from '../errors.js';
import { codeOf } from './file-errors.js';
import { BEAT_MS, type Holder, isAlive, parseHolder, remedy, thisProcess } from './lock-holder.js';

/** The first lock of the chain, and the only file unless the lock is just being taken. */
const LOCK_FILE = 'lock';
/** Other files: later locks, and drafts. */
const OTHERS = /^lock\.(of-\d+|[0-9a-f-]{36})(\.draft)?$/;
/** Lost races after which the cause is not chance. */
const ATTEMPTS = 100;

/** A lock that was found. */
interface Found {
  readonly name: string;
  readonly holder: Holder;
  /** Time of its last beat, by the file system's clock. */
  readonly beatAt: number;
}

/** A folder that this process holds. */
export class FolderLock implements AsyncDisposable {
  private constructor(
    private readonly folder: string,
    private readonly id: string,
    /** Open as long as the lock is held, so that no other file gets its number. */
    private readonly file: FileHandle,
    private readonly numbers: { readonly dev: bigint; readonly ino: bigint },
    private readonly heart: Worker,
  ) {}

  /** Takes a folder's lock. Throws LockError while another process holds it, and what the file system throws. */
  static async take(folder: string): Promise<FolderLock> {
    const own = thisProcess();
    const text = `${JSON.stringify(own)}\n`;
    const path = join(folder, LOCK_FILE);
    const draft = `${nameAfter(own, folder)}.draft`;
    let made: string | null = null;
    try {
      for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
        const { last, next } = await endOfChain(folder);
        if (last?.holder.id === own.id) {
          const file = await tidy(folder, last, own);
          if (!file) continue;
          const heart = new Worker(new URL('./lock-heartbeat.js', import.meta.url), {
            workerData: { path, text, everyMs: BEAT_MS },
            execArgv: [],
          });
          heart.unref();
          heart.on('error', () => {}); // other hosts will take this process for dead, and its next write reports that
          return new FolderLock(folder, own.id, file, await file.stat({ bigint: true }), heart);
        }
        if (made) await rm(made, { force: true });
        made = null;
        const now = await writeDraft(draft, text);
        if (last && isAlive(last.holder, now - last.beatAt))
          throw inUse(folder, last.holder, now - last.beatAt);
        if (await makeOnce(next, draft, text)) made = next;
      }
      throw new LockError(folder, 'must not be in use by other processes, which take it again and again');
    } catch (error) {
      for (const name of [made ?? path, path]) {
        if ((await readLock(name))?.holder.id === own.id) await rm(name, { force: true });
      }
      throw error;
    } finally {
      await rm(draft, { force: true });
    }
  }

  /** Throws LockError unless the folder is where it was, with this very lock in it. */
  async requireOwn(): Promise<void> {
    const { dev, ino } = this.numbers;
    const path = join(this.folder, LOCK_FILE);
    const found = await unlessMissing(stat(path, { bigint: true }));
    if (found?.ino === ino && found.dev === dev) return;
    // Some file systems change a file's number each time.
    const lock = await readLock(path);
    if (lock?.holder.id === this.id) return;
    throw new LockError(
      this.folder,
      lock
        ? `must be this process’s until it ends, but process ${lock.holder.pid} has taken it`
        : 'must stay where it is while this process works in it, but it was moved or removed',
      undefined,
      'nothing was written there since: go on where the folder is now',
    );
  }

  /** Releases the folder, unless the lock was lost. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.heart.terminate();
    try {
      await this.requireOwn();
      await rm(join(this.folder, LOCK_FILE), { force: true });
    } catch (error) {
      if (!(error instanceof LockError)) throw error;
    } finally {
      await this.file.close();
    }
  }
}

/** Whether a living process holds a folder, as far as a reader can tell. */
export async function isHeld(folder: string): Promise<boolean> {
  const { last } = await endOfChain(folder);
  return last !== null && isAlive(last.holder, Date.now() - last.beatAt);
}

function inUse(folder: string, holder: Holder, beatMs: number): LockError {
  const { pid } = holder;
  const rule = 'must not be in use by another process';
  return new LockError(folder, rule, pid === 0 ? undefined : pid, remedy(holder, beatMs));
}

/** The lock that would succeed a holder's. */
function nameAfter({ id }: Holder, folder: string): string {
  return join(folder, `${LOCK_FILE}.${id}`);
}

/** The last lock of a folder, and the path of the one that would succeed it. */
async function endOfChain(folder: string): Promise<{ last: Found | null; next: string }> {
  let last: Found | null = null;
  let next = join(folder, LOCK_FILE);
  for (let length = 0; length < ATTEMPTS; length++) {
    const found = await readLock(next);
    if (!found) break;
    last = found;
    next = nameAfter(found.holder, folder);
  }
  return { last, next };
}

async function readLock(name: string): Promise<Found | null> {
  const file = await unlessMissing(open(name, 'r'));
  if (!file) return null;
  try {
    const { mtimeMs } = await file.stat();
    return { name, holder: parseHolder(await file.readFile('utf8'), mtimeMs), beatAt: mtimeMs };
  } finally {
    await file.close();
  }
}

/** Writes a new file, because a former one may be a lock by now; returns the time by the file system's clock. */
async function writeDraft(path: string, text: string): Promise<number> {
  await rm(path, { force: true });
  const file = await open(path, 'wx');
  try {
    await file.writeFile(text);
    return (await file.stat()).mtimeMs;
  } finally {
    await file.close();
  }
}

/** Creates a lock from a draft with its content, unless one of its name exists; returns whether it did. */
async function makeOnce(path: string, draft: string, text: string): Promise<boolean> {
  try {
    await link(draft, path); // appears whole
    return true;
  } catch (error) {
    // The draft is missing because a faster process holds the folder and swept it away.
    if (['EEXIST', 'ENOENT'].includes(codeOf(error))) return false;
  }
  // A file system without links: for a moment the lock has no content, and its holder is unknown.
  const file = await unless(/^EEXIST$/, open(path, 'wx'));
  if (!file) return false;
  try {
    await file.writeFile(text);
    return true;
  } catch (error) {
    await rm(path, { force: true });
    throw error;
  } finally {
    await file.close();
  }
}

/**
 * Makes the lock that this process won the folder's only lock and opens it; null if another process has the folder by
 * now.
 */
async function tidy(folder: string, won: Found, own: Holder): Promise<FileHandle | null> {
  const path = join(folder, LOCK_FILE);
  if (won.name !== path && (await unlessMissing(rename(won.name, path).then(() => true))) === null)
    return null;
  const file = await unlessMissing(open(path, 'r'));
  if (!file) return null;
  if (parseHolder(await file.readFile('utf8'), 0).id !== own.id) {
    await file.close();
    return null;
  }
  for (const name of (await readdir(folder)).filter((n) => OTHERS.test(n))) {
    if (join(folder, name) !== nameAfter(own, folder)) await rm(join(folder, name), { force: true });
  }
  return file;
}

/** The file system's result; null if the file does not exist. */
function unlessMissing<Result>(result: Promise<Result>): Promise<Result | null> {
  return unless(/^(ENOENT|ENOTDIR|ESTALE)$/, result);
}

/** The same; null if it fails with one of these codes. */
async function unless<Result>(codes: RegExp, result: Promise<Result>): Promise<Result | null> {
  try {
    return await result;
  } catch (error) {
    if (codes.test(codeOf(error))) return null;
    throw error;
  }
}
