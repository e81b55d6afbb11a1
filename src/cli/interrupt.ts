/** Ctrl-C, SIGTERM and a closed terminal: the first asks the work to stop and save, a second ends the process at once. */
import { constants } from 'node:os';
import { notice } from './output.js';

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** Runs `work` with a signal that they abort; the exit code then says which it was. */
export async function interruptible<Result>(work: (signal: AbortSignal) => Promise<Result>): Promise<Result> {
  const controller = new AbortController();
  const onSignal = (name: (typeof SIGNALS)[number]) => {
    const code = 128 + constants.signals[name];
    if (controller.signal.aborted) process.exit(code);
    process.exitCode = code;
    controller.abort();
    notice(`\n${name}: stopping at the next safe point (again to quit at once)`);
  };
  for (const name of SIGNALS) process.on(name, onSignal);
  try {
    return await work(controller.signal);
  } finally {
    for (const name of SIGNALS) process.off(name, onSignal);
  }
}
