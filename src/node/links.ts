/**
 * Symbolic links in a folder that the user named: a foreign folder must not bring in files from outside. It handles
 * paths, and the layout of the hub's cache, not the content of files.
 */
import { readlink, realpath } from 'node:fs/promises';
import { sep } from 'node:path';
import { DataError } from '../errors.js';

/** The repository in the hub's cache that a path lies in: its snapshots are links to the blobs beside them. */
const REPOSITORY = /^.*[/\\](?:models|datasets)--[^/\\]+(?=[/\\]snapshots(?:[/\\]|$))/;

/** The folder, without links in its path, within which links in `folder` must stay. */
export async function linkRoot(folder: string): Promise<string> {
  const real = await realpath(folder);
  return REPOSITORY.exec(real)?.[0] ?? real;
}

/** Whether a path without links is one of these folders, or lies in one. */
export function isWithin(path: string, roots: readonly string[]): boolean {
  return roots.some((root) => path === root || path.startsWith(root.endsWith(sep) ? root : root + sep));
}

/**
 * The target of a link, without links in the path.
 *
 * @param roots the folders that it may lead to
 * @param anywhere whether it may lead out of them too
 * @throws DataError for one that leads out of them, or nowhere
 */
export async function followLink(path: string, roots: readonly string[], anywhere: boolean): Promise<string> {
  let target = await readlink(path);
  try {
    target = await realpath(path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const hint = 'remove it, or put back what it leads to';
    throw new DataError(path, `is a link that must lead to a file or a folder (${code})`, target, hint);
  }
  if (anywhere || isWithin(target, roots)) return target;
  const hint = 'loopnn prepare and loopnn import follow it with --follow-links';
  throw new DataError(path, 'is a link that must not lead out of the folder', target, hint);
}
