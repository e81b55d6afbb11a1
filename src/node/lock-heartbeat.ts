/** The thread that `folder-lock.ts` starts: rewrites a lock's content periodically, which changes only its time. */
import { closeSync, openSync, readFileSync, writeSync } from 'node:fs';
import { workerData } from 'node:worker_threads';

const { path, text, everyMs } = workerData as { path: string; text: string; everyMs: number };

// Opened and closed for each beat: network file systems inform other hosts then.
function beat(): void {
  let file: number;
  try {
    file = openSync(path, 'r+');
  } catch {
    return; // the folder is missing, or the disk is temporarily unavailable
  }
  try {
    if (readFileSync(file, 'utf8') === text) writeSync(file, text, 0);
  } catch {
    // A full disk may refuse it.
  } finally {
    closeSync(file);
  }
}

setInterval(beat, everyMs);
