/** Chooses a backend by name. Knows which ones exist and when to fall back; nothing else. */
import { ConfigError, NativeError } from '../errors.js';
import type { Backend } from './backend.js';
import { NativeBackend } from './native.js';
import { ReferenceBackend } from './reference.js';

export type BackendName = 'auto' | 'native' | 'reference';

/**
 * A backend. `auto` is the native one, or the reference one with a single warning that says why and what to do.
 * The default is the environment variable LOOPNN_BACKEND, or else `auto`.
 *
 * Throws ConfigError on an unknown name and NativeError when `native` is asked for and cannot load.
 */
export function createBackend(
  name: string = process.env.LOOPNN_BACKEND || 'auto',
  onWarning: (message: string) => void = (message) => console.warn(message),
): Backend {
  switch (name) {
    case 'reference':
      return new ReferenceBackend('f32');
    case 'native':
      return new NativeBackend();
    case 'auto':
      try {
        return new NativeBackend();
      } catch (error) {
        if (!(error instanceof NativeError)) throw error;
        onWarning(`using the slow reference backend: ${error.message}`);
        return new ReferenceBackend('f32');
      }
    default:
      throw new ConfigError('backend', 'must be auto, native or reference', name);
  }
}
