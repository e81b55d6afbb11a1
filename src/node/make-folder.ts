/** Folders and those above them: made where they are missing, and removed again where nothing came to lie in them. */
import { mkdir, rmdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { codeOf, isMissing } from './file-errors.js';

/**
 * Makes a folder and those above it that are missing; returns the topmost that it made, undefined where all were there. One
 * that is `held` was there before, and is not made where it was taken away. Throws what the file system throws; Node's own
 * `recursive` says of a read-only disk that the folder is missing.
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

/** Removes a folder and those above it up to `topmost`, where that was made, as far as they are empty. */
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
