/** Files by name, in a folder or elsewhere. This file must not interpret their content. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { CheckpointError } from '../../errors.js';
import { parseJSON } from '../../formats/json.js';

/** Most bytes of a file other than weights: many times what a vocabulary of 16-bit ids takes. */
const MOST_TEXT_BYTES = 1 << 26;

/** A model's files. */
export interface ModelFiles {
  /** For messages: the folder, or the source as the user named it. */
  readonly where: string;
  /** Names of files, and of folders among them. */
  readonly names: readonly string[];
  /** A file's bytes. Throws CheckpointError for a folder or device. */
  size(name: string): Promise<number>;
  /** Reports the size of a download of files, if there is one; throws if there is no room. */
  announce(names: readonly string[]): Promise<void>;
  /** Makes sure that files are on this machine, and returns their paths. */
  fetch(names: readonly string[]): Promise<string[]>;
}

/** A file's JSON. Throws CheckpointError if the file cannot be read or is not JSON. */
export async function readJSON(files: ModelFiles, name: string): Promise<unknown> {
  const text = await readText(files, name);
  try {
    return parseJSON(text);
  } catch (error) {
    const reason = error instanceof Error ? error.message : error;
    throw new CheckpointError(join(files.where, name), `must be JSON (${reason})`);
  }
}

/** A file's JSON, or undefined if there is no such file. Throws as `readJSON`. */
export async function optionalJSON(files: ModelFiles, name: string): Promise<unknown> {
  return files.names.includes(name) ? readJSON(files, name) : undefined;
}

/** A file's text. Throws CheckpointError if it cannot be read. */
export async function readText(files: ModelFiles, name: string): Promise<string> {
  try {
    const size = await files.size(name);
    if (size > MOST_TEXT_BYTES) {
      const rule = `must have at most ${MOST_TEXT_BYTES} bytes`;
      throw new CheckpointError(join(files.where, name), rule, `${size} bytes`);
    }
    const [path] = await files.fetch([name]);
    return await readFile(path, 'utf8');
  } catch (error) {
    // Errors of loopnn, and a signal's reason, need no further words.
    if (!(error instanceof Error) || !('syscall' in error)) throw error;
    throw new CheckpointError(join(files.where, name), `must be a readable file (${error.message})`);
  }
}
