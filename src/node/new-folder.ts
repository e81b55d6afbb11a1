/**
 * A folder of files that appear together or not at all, for what is written once: an imported run, an exported model.
 * It must not know runs or models.
 */
import { mkdtemp, readdir, rename, rm, rmdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { ConfigError } from '../errors.js';
import { fileError, isMissing, underItsName, writing } from './file-errors.js';
import { makeFolder, removeEmpty } from './make-folder.js';
import { NodeStore, syncFolder } from './store.js';

/** The file by which a run, and a model in Hugging Face's layout, is known to be one: it comes last. */
const MARK = 'config.json';

/** Throws ConfigError unless a path is free or an empty folder, FileError if it can not be a folder. */
export async function requireNewFolder(folder: string, where: string): Promise<void> {
  const names = await readdir(folder).catch((error: unknown) => {
    if (isMissing(error)) return [];
    throw fileError(error);
  });
  if (names.length > 0) throw new ConfigError(where, 'must be a new or empty folder', folder);
}

/**
 * Lets `write` fill a folder, which must be new or empty. Meanwhile its files lie in a hidden folder within; if it
 * fails, or the signal is aborted, the files and the folders created for them are removed.
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
  const topmost = await writing(out, () => makeFolder(out));
  const aside = await writing(out, () => mkdtemp(join(out, '.partial-'))).catch(async (error: unknown) => {
    await removeEmpty(out, topmost);
    throw error;
  });
  try {
    await write(new NodeStore(aside, null, signal));
    signal?.throwIfAborted();
    const names = (await readdir(aside)).filter((name) => name !== MARK);
    await writing(out, async () => {
      for (const name of [...names, MARK]) await rename(join(aside, name), join(out, name));
      await rmdir(aside);
      await syncFolder(out);
    });
  } catch (error) {
    await rm(aside, { recursive: true, force: true });
    await removeEmpty(out, topmost);
    throw underItsName(error, aside, out);
  }
}
