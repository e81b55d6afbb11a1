/** Creates a backend in a browser. */
import type { Backend } from '../backend/backend.js';

/** The fastest backend that the browser has: today that is plain TypeScript. */
export async function createBackend(): Promise<Backend> {
  const { ReferenceBackend } = await import('../backend/reference/reference.js');
  return new ReferenceBackend();
}
