/** Reports a command's failure: in one line, and by the exit code. */
import { CommanderError } from 'commander';
import { LoopnnError } from '../errors.js';
import { codeOf, fileError } from '../node/file-errors.js';
import { notice } from './output.js';

const FAILED = 1;
const WRONG_USAGE = 2;

/**
 * Prints an error after the name of the program that has it, and returns the exit code; with `--debug` also the stack
 * trace.
 */
export function report(error: unknown, who = 'loopnn', debug = process.argv.includes('--debug')): number {
  // Work that a signal stopped has set its exit code, and said so.
  if (process.exitCode !== undefined && error instanceof Error && error.name === 'AbortError') {
    return Number(process.exitCode);
  }
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : WRONG_USAGE;
  const told = fileError(error);
  const known = told instanceof LoopnnError || (told instanceof Error && 'syscall' in told);
  const hint =
    codeOf(error) === 'EADDRINUSE' ? '; another program listens there: --port 0 picks a free port' : '';
  const text = known ? `${told.message}${hint}` : `unexpected error: ${error}`;
  const [first, ...rest] = debug && error instanceof Error && error.stack ? error.stack.split('\n') : [text];
  for (const line of [`${who}: ${first}`, ...rest]) notice(line);
  return FAILED;
}
