/**
 * A folder of files that appear together or not at all, for what is written once: an imported run, an exported model. Knows
 * names and renames; knows no run and no model.
 */
import { mkdir, mkdtemp, readdir, rename, rm, rmdir } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { ConfigError } from '../errors.js';
import { NodeStore, syncFolder } from './node-store.js';

/** The file by which a run, and a model in Hugging Face's layout, is known to be one: it comes last. */
const MARK = 'config.json';

/** Throws ConfigError where a path holds anything but an empty folder. */
export async function requireNewFolder(folder: string, where: string): Promise<void> {
  const names = await readdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw new ConfigError(where, 'must be a new or empty folder', `${folder} (${error.message})`);
  });
  if (names.length > 0) throw new ConfigError(where, 'must be a new or empty folder', folder);
}

/**
 * Lets `write` fill a folder, which must be new or empty. While it works its files lie in a hidden folder within; if it
 * fails, or the signal is aborted meanwhile, they go, and so do the folders that were made for them.
 *
 * @throws ConfigError naming `where` if the folder is neither new nor empty
 */
export async function writeNewFolder(
  folder: string,
  where: string,
  write: (store: NodeStore) => Promise<void>,
  signal?: AbortSignal,
): Promise<void> {
  await requireNewFolder(folder, where);
  const out = resolve(folder);
  const topmost = await mkdir(out, { recursive: true });
  const aside = await mkdtemp(join(out, '.partial-'));
  try {
    await write(new NodeStore(aside));
    signal?.throwIfAborted();
    const names = (await readdir(aside)).filter((name) => name !== MARK);
    for (const name of [...names, MARK]) await rename(join(aside, name), join(out, name));
    await rmdir(aside);
    await syncFolder(out);
  } catch (error) {
    await rm(aside, { recursive: true, force: true });
    if (topmost !== undefined) await removeEmpty(out, topmost);
    throw error;
  }
}

/** Removes a folder and those above it up to `topmost`, as far as they are empty. */
async function removeEmpty(folder: string, topmost: string): Promise<void> {
  for (let at = folder; at.length >= topmost.length; at = dirname(at)) {
    try {
      await rmdir(at);
    } catch {
      return;
    }
  }
}
