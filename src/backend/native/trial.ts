/**
 * Tries an addon in a separate process, so that an addon that does not fit the machine ends only that process: it may
 * contain instructions that the processor lacks, or need a newer system. A passed trial is recorded in the user's
 * cache.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, statSync, writeFileSync } from 'node:fs';
import { cpus, homedir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The time limit for a process that starts and multiplies, on slow machines and emulators too. */
const PATIENCE_MS = 60_000;
const refusals = new Map<string, string | null>();

/** Why an addon cannot be used here, or null if it has once multiplied correctly. */
export function refusalOf(file: string): string | null {
  let refusal = refusals.get(file);
  if (refusal === undefined) {
    refusal = remembered(file) ? null : tried(file);
    if (refusal === null) remember(file);
    refusals.set(file, refusal);
  }
  return refusal;
}

/** The path of the mark that this file has passed with this Node on this processor. */
function markOf(file: string): string {
  const { size, mtimeMs } = statSync(file);
  const parts = [file, size, mtimeMs, process.version, process.platform, process.arch, cpus()[0]?.model];
  const hash = createHash('sha256').update(parts.join('\0')).digest('hex').slice(0, 32);
  return join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'loopnn', 'tried-addons', hash);
}

function remembered(file: string): boolean {
  try {
    return existsSync(markOf(file));
  } catch {
    return false;
  }
}

function remember(file: string): void {
  try {
    const mark = markOf(file);
    mkdirSync(join(mark, '..'), { recursive: true });
    writeFileSync(mark, '');
  } catch {
    // The cache is not writable: the addon is tried again next time.
  }
}

function tried(file: string): string | null {
  const program = fileURLToPath(new URL('try-addon.js', import.meta.url));
  const { error, status, signal, stderr } = spawnSync(process.execPath, [program], {
    env: {
      ...process.env,
      LOOPNN_NATIVE_PATH: file,
      LOOPNN_ISA: '',
      LOOPNN_NUM_THREADS: '2',
      NODE_OPTIONS: '',
    },
    stdio: ['ignore', 'ignore', 'pipe'],
    encoding: 'utf8',
    timeout: PATIENCE_MS,
    killSignal: 'SIGKILL',
    windowsHide: true,
  });
  if (error) {
    // If no process can be started, the addon counts as fitting.
    if ((error as NodeJS.ErrnoException).code !== 'ETIMEDOUT') return null;
    return `gave no answer within ${PATIENCE_MS / 1000} s when it was tried`;
  }
  if (status === 0) return null;
  if (status === 1 && stderr) return stderr.trim().split(/\r?\n/)[0];
  return `crashed when it was tried (${signal ?? `exit code ${status}`})`;
}
