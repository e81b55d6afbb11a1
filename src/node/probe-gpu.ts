/**
 * Whether the webgpu backend would run here, and on which GPU: found in a separate process, because a driver may crash.
 */
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { AdapterFacts } from '../backend/webgpu/adapter.js';

export type ProbedGpu = AdapterFacts | { readonly error: string };

const run = promisify(execFile);
const PROGRAM = fileURLToPath(new URL('./probe-gpu-process.js', import.meta.url));
/** Milliseconds in which a driver must answer. */
const PATIENCE = 10_000;

/** The adapter that the backend would take, after its device has answered; or why there is none. */
export async function probeGpu(): Promise<ProbedGpu> {
  try {
    const { stdout } = await run(process.execPath, [PROGRAM], { timeout: PATIENCE, killSignal: 'SIGKILL' });
    return JSON.parse(stdout) as ProbedGpu;
  } catch (error) {
    const { killed, signal, code, stderr } = error as Partial<Failed>;
    const end = killed ? `gave no answer in ${PATIENCE / 1000} s` : `ended by ${signal ?? `status ${code}`}`;
    const said = stderr?.trim().split('\n').at(-1);
    return { error: `webgpu: looking for an adapter ${end}${said ? `: ${said}` : ''}` };
  }
}

/** What execFile throws. */
interface Failed {
  readonly killed: boolean;
  readonly signal: string | null;
  readonly code: number;
  readonly stderr: string;
}
