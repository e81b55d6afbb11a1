/** The thread that `folder-lock.ts` starts: writes a lock's content to it again and again, which changes its time and nothing else. */
import { closeSync, openSync, readFileSync, writeSync } from 'node:fs';
import { workerData } from 'node:worker_threads';

const { path, text, everyMs } = workerData as { path: string; text: string; everyMs: number };

// Opened for each beat, and closed: that is when file systems of a network tell other hosts.
function beat(): void {
  let file: number;
  try {
    file = openSync(path, 'r+');
  } catch {
    return; // the folder is gone, or the disk for the moment
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
