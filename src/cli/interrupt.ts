/** Ctrl-C and SIGTERM: the first asks the work to stop and save, a second ends the process at once. */
import { constants } from 'node:os';
import { notice } from './output.js';

/** Runs `work` with a signal that SIGINT and SIGTERM abort; the exit code then says which it was. */
export async function interruptible<Result>(work: (signal: AbortSignal) => Promise<Result>): Promise<Result> {
  const controller = new AbortController();
  const onSignal = (name: 'SIGINT' | 'SIGTERM') => {
    const code = 128 + constants.signals[name];
    if (controller.signal.aborted) process.exit(code);
    notice(`\n${name}: stopping at the next safe point (again to quit at once)`);
    process.exitCode = code;
    controller.abort();
  };
  process.on('SIGINT', onSignal).on('SIGTERM', onSignal);
  try {
    return await work(controller.signal);
  } finally {
    process.off('SIGINT', onSignal).off('SIGTERM', onSignal);
  }
}
