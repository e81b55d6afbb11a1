/** Times the kernels of a backend. */
import type { Backend } from '../backend/backend.js';
import type { Clock } from '../platform.js';

/** The backend that is timed. */
export interface TimedBackend {
  readonly backend: Backend;
  /** How its products read weights. */
  readonly weights: 'float' | 'int8';
}

/**
 * A backend that adds the milliseconds of every call to `times`, by kernel. A backend whose kernels may still run when
 * their calls return is returned unchanged.
 */
export function timed(backend: Backend, clock: Clock, times: Map<string, number>): Backend {
  if (!backend.synchronous) return backend;
  return new Proxy(backend, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name, target);
      if (typeof value !== 'function') return value;
      return (...args: unknown[]) => {
        const start = clock.now();
        const result: unknown = value.apply(target, args);
        times.set(String(name), (times.get(String(name)) ?? 0) + clock.now() - start);
        return result;
      };
    },
  });
}

/** Milliseconds a step in each kernel, the longest first; null if calls do not show the kernels' time. */
export type KernelMs = Readonly<Record<string, number>> | null;

export function kernelMs(backend: Backend, times: ReadonlyMap<string, number>, steps: number): KernelMs {
  return backend.synchronous ? perStep(times, steps) : null;
}

/** Milliseconds a step, from the milliseconds of all steps, the longest first. */
export function perStep(times: ReadonlyMap<string, number>, steps: number): Readonly<Record<string, number>> {
  const sorted = [...times].sort((a, b) => b[1] - a[1]);
  return Object.fromEntries(sorted.map(([name, ms]) => [name, ms / steps]));
}
