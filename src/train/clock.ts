/** The time, as training needs it; the host supplies it. */
export interface Clock {
  /** Milliseconds since some fixed moment. */
  now(): number;
  /** Lets the event loop run whatever waits. */
  yield(): Promise<void>;
}

/** The same clock for work that `signal` ends: its `yield` then throws the signal's reason. */
export function endedBy(signal: AbortSignal | undefined, clock: Clock): Clock {
  return {
    now: () => clock.now(),
    async yield() {
      await clock.yield();
      signal?.throwIfAborted();
    },
  };
}
