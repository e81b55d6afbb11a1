/**
 * Loaded before a program (`node --import`), to tell its parent the longest time for which its event loop was kept from
 * a timer: 'begin' starts a watch, 'end' is answered with its milliseconds, 'block 100' blocks for as many.
 */
import { readFileSync } from 'node:fs';
import { monitorEventLoopDelay } from 'node:perf_hooks';

/** Milliseconds that this thread has computed; null where the system does not tell. */
function computed(): number | null {
  try {
    return Number(readFileSync(`/proc/self/task/${process.pid}/schedstat`, 'utf8').split(' ')[0]) / 1e6;
  } catch {
    return null;
  }
}

/** Ends the watch under way; what it saw. */
let end = () => 0;

/**
 * Other programs that have the processors keep the loop too: what counts is its own computing, where the system tells
 * it.
 */
function begin(): void {
  let longest = 0;
  let before = computed();
  const own = setInterval(() => {
    const now = computed();
    longest = Math.max(longest, now! - before!);
    before = now;
  }, 5);
  const delay = monitorEventLoopDelay({ resolution: 5 });
  delay.enable();
  end = () => {
    delay.disable();
    clearInterval(own);
    return before === null ? delay.max / 1e6 : longest;
  };
}

process.on('message', (order: string) => {
  if (order === 'begin') begin();
  // One more look, at what ended last.
  else if (order === 'end') setTimeout(() => process.send!(end()), 20);
  else {
    const until = (computed() ?? performance.now()) + Number(order.split(' ')[1]);
    while ((computed() ?? performance.now()) < until);
  }
});
