/**
 * A prepared folder appears complete or not at all: the work happens beside it, under another name. Knows names and
 * renames; knows no tokens.
 */
import { open, readdir, rename, rm, rmdir } from 'node:fs/promises';
import { DataError } from '../errors.js';
import { DATA_FILES } from './meta.js';

/** Whether `out` holds a prepared folder to be replaced; throws DataError if it holds anything else. */
export async function checkOut(out: string, shown: string, force: boolean): Promise<boolean> {
  let names: string[];
  try {
    names = await readdir(out);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw new DataError(
      shown,
      'must be a folder to write to',
      error instanceof Error ? error.message : error,
    );
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
export async function writeFlushed(path: string, text: string): Promise<void> {
  const file = await open(path, 'wx');
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** Gives the finished folder its name; what it replaces goes only once it is out of the way. */
export async function moveInto(aside: string, out: string, replaces: boolean): Promise<void> {
  if (!replaces) {
    // An empty folder may stand there.
    await rmdir(out).catch(() => {});
    await rename(aside, out);
    return;
  }
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
