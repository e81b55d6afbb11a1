/** The time, as training needs it; the host supplies it. */
export interface Clock {
  /** Milliseconds since some fixed moment. */
  now(): number;
  /** Lets the event loop run whatever waits. */
  yield(): Promise<void>;
}
