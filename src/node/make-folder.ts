/** Creates folders and their missing parents, and removes them again if they stay empty. */
import { mkdir, rmdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { codeOf, isMissing } from './file-errors.js';

/**
 * Makes a folder and those above it that are missing; returns the topmost created folder, undefined if all existed. One
 * that is `held` was there before, and is not made where it was taken away. Throws what the file system throws; Node's
 * own `recursive` says of a read-only disk that the folder is missing.
 */
export async function makeFolder(
  path: string,
  held: (path: string) => boolean = () => false,
): Promise<string | undefined> {
  if (held(path)) return undefined;
  try {
    await mkdir(path);
    return path;
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return undefined;
    if (!isMissing(error) || dirname(path) === path) throw error;
  }
  const topmost = await makeFolder(dirname(path), held);
  try {
    await mkdir(path);
  } catch (error) {
    if (codeOf(error) !== 'EEXIST') throw error; // another process was faster
  }
  return topmost ?? path;
}

/** Removes a folder and its parents up to `topmost`, if that was created, as far as they are empty. */
export async function removeEmpty(folder: string, topmost: string | undefined): Promise<void> {
  if (topmost === undefined) return;
  for (let at = folder; at.length >= topmost.length; at = dirname(at)) {
    try {
      await rmdir(at);
    } catch {
      return;
    }
  }
}
