/** Warming up: a program that has just begun compiles itself, and its first turns are no measure of the ones after. */
import type { Clock } from '../platform.js';
import { median } from '../statistics.js';

/** Turns settle when the median of so many is hardly below that of as many before. */
const WINDOW = 5;
const SETTLED = 0.97;
/** What never settles is given up after this many times the least time. */
const TIMES = 6;

/**
 * Takes turns, untimed ones to be forgotten, until their times settle.
 *
 * @param leastMs milliseconds that they go on for at least
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
