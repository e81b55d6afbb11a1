/** JSON objects in a store's files. */
import { CheckpointError } from '../errors.js';
import { parseJSON } from '../formats/json.js';
import type { Store } from '../platform.js';

/** Reads a JSON object. Throws CheckpointError, naming the file, if it is damaged. */
export async function readJSON(store: Store, path: string, hint?: string): Promise<Record<string, unknown>> {
  const value = parse(await store.read(path), path, hint);
  if (typeof value === 'object' && value !== null) return value as Record<string, unknown>;
  throw new CheckpointError(path, 'must hold a JSON object', value, hint);
}

function parse(bytes: Uint8Array, where: string, hint?: string): unknown {
  try {
    return parseJSON(new TextDecoder().decode(bytes));
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new CheckpointError(where, `must be JSON (${reason})`, undefined, hint);
  }
}
