#!/usr/bin/env node
/** The process of the `loopnn` command: its streams, and its end. */
import { makeRoomToEnd } from '../node/ending.js';
import { writeError } from '../node/file-errors.js';
import { report } from './failure.js';
import { run } from './program.js';

process.on('exit', makeRoomToEnd); // for all callers of process.exit
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  // A reader that left (`loopnn params | head`) is no error.
  if (error.code === 'EPIPE') process.exit(process.exitCode ?? 0);
  process.exit(report(writeError(error, 'standard output'), 'loopnn', false));
});
// No reader is left for the progress (`2>&1 | tee`, and Ctrl-C took tee first): the work continues to its safe point.
process.stderr.on('error', () => {});
process.exitCode = (await run(process.argv)) ?? process.exitCode;
process.off('exit', makeRoomToEnd);
makeRoomToEnd();
