/** Warming up: a program that has just started is still compiled, so its first turns do not show the later speed. */
import type { Clock } from '../platform.js';
import { median } from '../statistics.js';

/** Turns have settled when the median of the last `WINDOW` is at least `SETTLED` times that of the `WINDOW` before. */
const WINDOW = 5;
const SETTLED = 0.97;
/** Turns that do not settle stop after this many times the least time. */
const TIMES = 6;

/**
 * Runs turns, which are not part of a measurement, until their times settle.
 *
 * @param leastMs least milliseconds that the turns take together
 * @param turn returns the milliseconds that it took
 */
export async function settle(clock: Clock, leastMs: number, turn: () => Promise<number>): Promise<void> {
  const start = clock.now();
  const times: number[] = [];
  for (;;) {
    times.push(await turn());
    await clock.yield();
    const took = clock.now() - start;
    if (took > TIMES * leastMs || (took > leastMs && settled(times))) return;
  }
}

function settled(times: readonly number[]): boolean {
  if (times.length < 2 * WINDOW) return false;
  return median(times.slice(-WINDOW)) > SETTLED * median(times.slice(-2 * WINDOW, -WINDOW));
}
