/**
 * A prepared folder appears complete or not at all: the work happens beside it, under another name.
 */
import { open, readdir, rename, rm, rmdir, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { DataError } from '../errors.js';
import { fileError, isMissing, writing } from '../node/file-errors.js';
import { DATA_FILES } from './meta.js';

/**
 * Whether `out` is a prepared folder to be replaced. Throws DataError if it holds anything else, or may not be
 * replaced; FileError if it cannot be a folder.
 */
export async function checkOut(out: string, shown: string, force: boolean): Promise<boolean> {
  let names: string[];
  try {
    names = await readdir(out);
  } catch (error) {
    if (isMissing(error)) return false;
    throw fileError(error);
  }
  if ((await stat(out)).dev !== (await stat(dirname(out))).dev) {
    throw new DataError(shown, 'must not be where a disk is mounted', undefined, 'choose a folder in it');
  }
  if (names.length === 0) return false;
  const ours: string[] = Object.values(DATA_FILES);
  const other = names.filter((name) => !ours.includes(name));
  if (other.length > 0 || !names.includes(DATA_FILES.meta)) {
    const found = (other.length > 0 ? other : names).slice(0, 3).join(', ');
    throw new DataError(shown, 'must be a new folder or a prepared one', found, 'choose another folder');
  }
  if (!force)
    throw new DataError(shown, 'must be a new folder', 'a prepared one', 'use --force to replace it');
  return true;
}

/** Writes a new file and waits for the disk. */
export function writeFlushed(path: string, text: string): Promise<void> {
  return writing(path, async () => {
    const file = await open(path, 'wx');
    try {
      await file.writeFile(text);
      await file.sync();
    } finally {
      await file.close();
    }
  });
}

/** Gives the finished folder its name; a folder that it replaces is removed only after that. */
export function moveInto(aside: string, out: string, replaces: boolean): Promise<void> {
  return writing(out, async () => {
    if (replaces) return replace(aside, out);
    // An empty folder may be there.
    await rmdir(out).catch(() => {});
    await rename(aside, out);
  });
}

async function replace(aside: string, out: string): Promise<void> {
  const former = `${out}.former`;
  await rm(former, { recursive: true, force: true });
  await rename(out, former);
  try {
    await rename(aside, out);
  } catch (error) {
    await rename(former, out);
    throw error;
  }
  await rm(former, { recursive: true, force: true });
}
