/** A backend that says how long each of its kernels takes. */
import type { Backend } from '../../backend/backend.js';
import type { Clock } from '../../train/clock.js';

/** The backend with the time of every call added up by kernel; kernels of this backend run while they are called. */
export function timed(backend: Backend, clock: Clock, times: Map<string, number>): Backend {
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
