/**
 * Reports that a process of MPICH was lost. Its launcher, Hydra, ends the others without notice, and then names any one
 * of them. The processes on a machine are therefore connected to a witness, a separate process
 * (`mpi-witness-process.ts`), which sees which connection closes first.
 */
import { spawn } from 'node:child_process';
import { connect } from 'node:net';
import { hostname } from 'node:os';
import { fileURLToPath } from 'node:url';

export interface Witness {
  /** The process may end: nothing is reported. */
  done(): void;
  /** The process has reported its failure, which will end the others: nothing more is reported on this machine. */
  told(): void;
}

const PROGRAM = fileURLToPath(new URL('./mpi-witness-process.js', import.meta.url));
/** Milliseconds between attempts to reach the witness, which takes a moment to start, and how many there are. */
const AGAIN = 20;
const ATTEMPTS = 500;

/** Where the witness of a job listens, whose processes on this machine have one parent: a name that needs no file. */
export const witnessPlace = (job: string) => `\0loopnn-witness-${job}`;

/** Connects to the witness in the background; null if another launcher than Hydra names the lost rank itself. */
export function findWitness(): Witness | null {
  const { MPI_LOCALRANKID: local, PMI_RANK: rank } = process.env;
  if (local === undefined || rank === undefined || process.platform !== 'linux') return null;
  const job = String(process.ppid);
  if (local === '0') {
    // In a session of its own, since Hydra ends whole groups of processes.
    const witness = spawn(process.execPath, [PROGRAM, job, hostname()], {
      detached: true,
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    witness.on('error', () => {});
    witness.unref();
  }
  let say = (_: string) => {};
  const attempt = (left: number): void => {
    const socket = connect(witnessPlace(job), () => {
      say = (word) => void socket.write(word);
      say(`${rank} ${process.pid} `);
    });
    socket.unref();
    socket.on('error', () => {
      say = () => {};
      if (left > 0) setTimeout(attempt, AGAIN, left - 1).unref();
    });
  };
  attempt(ATTEMPTS);
  return { done: () => say('done'), told: () => say('told') };
}
