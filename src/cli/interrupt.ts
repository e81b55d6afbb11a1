/** Ctrl-C, SIGTERM and a closed terminal: the first asks the work to stop, a second ends the process at once. */
import { constants } from 'node:os';
import { notice } from './output.js';

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** Calls `stop` at the first signal, with its name and its exit code; returns a function that stops listening. */
export function onSignal(stop: (name: string, code: number) => void): () => void {
  let stopping = false;
  const heard = (name: (typeof SIGNALS)[number]) => {
    const code = 128 + constants.signals[name];
    if (stopping) process.exit(code);
    stopping = true;
    stop(name, code);
  };
  for (const name of SIGNALS) process.on(name, heard);
  return () => {
    for (const name of SIGNALS) process.off(name, heard);
  };
}

/** Runs `work` with a signal that they abort, for it to stop and save; the exit code then says which it was. */
export async function interruptible<Result>(work: (signal: AbortSignal) => Promise<Result>): Promise<Result> {
  const controller = new AbortController();
  const release = onSignal((name, code) => {
    process.exitCode = code;
    controller.abort();
    notice('');
    notice(`${name}: stopping at the next safe point (again to quit at once)`);
  });
  try {
    return await work(controller.signal);
  } finally {
    release();
  }
}
