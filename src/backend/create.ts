/** Chooses a backend by name. Knows which ones exist and when to fall back; nothing else. */
import { ConfigError, NativeError } from '../errors.js';
import type { Backend, Precision } from './backend.js';
import { NativeBackend } from './native.js';
import { ReferenceBackend } from './reference.js';

export interface BackendOptions {
  /** `auto`, `native` or `reference`; the environment variable LOOPNN_BACKEND, or else `auto`, by default. */
  readonly name?: string;
  /** `auto` is bf16 where the machine has instructions for it, f32 elsewhere. */
  readonly precision?: Precision | 'auto';
  /** Hears why `auto` fell back, and what to do. */
  readonly onWarning?: (message: string) => void;
}

/**
 * A backend. `auto` is the native one, or the reference one with a single warning.
 *
 * Throws ConfigError on an unknown name or a precision that the backend lacks, and NativeError when `native` is asked
 * for and cannot load.
 */
export function createBackend({
  name = process.env.LOOPNN_BACKEND || 'auto',
  precision = 'auto',
  onWarning = (message) => console.warn(message),
}: BackendOptions = {}): Backend {
  switch (name) {
    case 'reference':
      return createReference(precision);
    case 'native':
      return createNative(precision);
    case 'auto':
      try {
        return createNative(precision);
      } catch (error) {
        if (!(error instanceof NativeError)) throw error;
        onWarning(`using the slow reference backend: ${error.message}`);
        return createReference(precision);
      }
    default:
      throw new ConfigError('backend', 'must be auto, native or reference', name);
  }
}

function createNative(precision: Precision | 'auto'): Backend {
  return new NativeBackend(precision === 'auto' ? undefined : precision);
}

function createReference(precision: Precision | 'auto'): Backend {
  if (precision === 'bf16') {
    throw new ConfigError('precision', 'must be f32 on the reference backend', precision);
  }
  return new ReferenceBackend('f32');
}
