/** Reads JSON files of a data folder. */
import { readFile, stat } from 'node:fs/promises';
import { DataError } from '../errors.js';
import { parseJSON } from '../formats/json.js';

/** Of a `meta.json` or `tokenizer.json`: many times the size of a vocabulary of 16-bit ids. */
const MOST_JSON_BYTES = 1 << 26;

/** Parses a JSON file; undefined if it is missing. */
export async function readJSON(path: string): Promise<unknown> {
  let text: string;
  let size = 0;
  try {
    size = (await stat(path)).size;
    text = size > MOST_JSON_BYTES ? '' : await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new DataError(path, 'must be readable', error instanceof Error ? error.message : error);
  }
  if (size > MOST_JSON_BYTES) {
    throw new DataError(path, `must have at most ${MOST_JSON_BYTES} bytes`, `${size} bytes`);
  }
  try {
    return parseJSON(text);
  } catch (error) {
    throw new DataError(path, 'must be JSON', error instanceof Error ? error.message : error);
  }
}
