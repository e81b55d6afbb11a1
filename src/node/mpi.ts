/**
 * Many processes, started by an MPI's launcher (mpirun, srun). Which of them this is, what they exchange, and how all
 * end: together and well, or together and with a message. MPI's own part is `native/mpi/mpi.c`, which is compiled on
 * request.
 */
import { existsSync, fstatSync } from 'node:fs';
import { availableParallelism, constants, cpus, hostname } from 'node:os';
import { fileURLToPath } from 'node:url';
import { LoopnnError } from '../errors.js';
import { gatherTexts, type Message, type Peers } from '../train/peers.js';
import { findWitness } from './mpi-witness.js';

/** Processes can not work together. */
export class PeersError extends LoopnnError {}

/** What `native/mpi/mpi.c` exports. */
interface Addon {
  /** The MPI's name and version. */
  library(): string;
  start(): Promise<{ rank: number; size: number }>;
  exchange(peers: readonly number[], arrays: readonly Uint8Array[], sends: number): Promise<void>;
  introduce(names: readonly string[]): void;
  finish(): Promise<void>;
  abort(code: number): never;
}

/** The processes of one launch. */
export interface LaunchedPeers extends Peers {
  /** The MPI's name and version. */
  readonly library: string;
  /** The machine of each rank. */
  readonly hosts: readonly string[];
  /** Waits for all processes, after which this one may end. */
  finish(): Promise<void>;
  /** Ends all of them with an exit code; for a failure that this process has reported. */
  abort(code: number): never;
}

/** The path of MPI's part, built or not. */
export function mpiFile(): string {
  return process.env.LOOPNN_MPI_PATH || fileURLToPath(new URL('../../mpi/loopnn-mpi.node', import.meta.url));
}

/**
 * The variables that launchers set for their processes: Open MPI's, Hydra (of MPICH and others), and Slurm's srun,
 * which tells MPICH's size too (`--mpi=pmi2`). Where one of the first two starts its own part by srun, that part's
 * variables are seen too.
 */
const LAUNCHERS = [
  { name: 'Open MPI', size: 'OMPI_COMM_WORLD_SIZE', here: 'OMPI_COMM_WORLD_LOCAL_SIZE' },
  { name: 'MPICH', size: 'PMI_SIZE', here: 'MPI_LOCALNRANKS' },
  { name: 'srun', size: 'SLURM_STEP_NUM_TASKS', here: 'SLURM_STEP_TASKS_PER_NODE' },
];

/**
 * A launch of several processes: how many there are, and on this machine; null if this process is the only one.
 */
export function launch(): { readonly name: string; readonly size: number; readonly here: number } | null {
  for (const { name, size, here } of LAUNCHERS) {
    const number = (variable: string) => Number.parseInt(process.env[variable] ?? '', 10);
    if (number(size) > 1 && number(here) >= 1) return { name, size: number(size), here: number(here) };
  }
  return null;
}

/** Threads for each process: its share of the processors, unless the launcher has bound it to fewer. */
function shareThreads(here: number): void {
  const share = Math.floor(cpus().length / here);
  process.env.LOOPNN_NUM_THREADS ||= String(Math.max(1, Math.min(availableParallelism(), share)));
}

/**
 * UCX, which MPICH sends by, rewrites functions of the C library to hear of memory that is given back. Node's threads
 * run in them meanwhile: about one launch of twenty ended in a segmentation fault of V8's soon after the start.
 */
function leaveFunctions(): void {
  process.env.UCX_MEM_MMAP_HOOK_MODE ||= 'none';
  process.env.UCX_MEM_MALLOC_HOOKS ||= 'n';
}

const remedy = 'build it by that MPI’s mpicc: `loopnn mpi`, or `loopnn mpi --mpicc <path>`';
const remedyOfSrun = `start them by srun --mpi=pmix (Open MPI) or --mpi=pmi2 (MPICH), or ${remedy}`;

/** Throws PeersError if the socket to MPICH's launcher is not open: MPI would crash. */
function requireHandedOn(fd: string): void {
  try {
    if (fstatSync(Number(fd)).isSocket()) return;
  } catch {} // closed
  const rule = 'must be the socket that MPICH’s launcher has opened';
  throw new PeersError('PMI_FD', rule, Number(fd), 'let it start loopnn itself, not npx');
}

/**
 * The processes of this launch, once all have started; null if this one is alone. A process that ends without `finish`
 * ends all. Throws PeersError if MPI's part is missing, or is another MPI's.
 */
export async function launchedPeers(): Promise<LaunchedPeers | null> {
  const launched = launch();
  if (!launched) return null;
  const { name: launcher, size: wanted, here } = launched;
  if (process.env.PMI_FD) requireHandedOn(process.env.PMI_FD);
  shareThreads(here);
  leaveFunctions();
  const file = mpiFile();
  if (!existsSync(file)) {
    throw new PeersError(`${wanted} processes`, `need MPI's part of loopnn, ${file}`, undefined, remedy);
  }
  const addon = load(file);
  const witness = findWitness();
  const { rank, size } = await addon.start();
  const library = nameOf(addon);
  if (size !== wanted) {
    witness?.done();
    const rule = `must be of the MPI that has started ${wanted} processes, by ${launcher}`;
    const hint = launcher === 'srun' ? remedyOfSrun : remedy;
    throw new PeersError(file, rule, `${library}, which knows of ${size}`, hint);
  }
  const abort = (code: number): never => {
    witness?.told();
    return addon.abort(code);
  };
  const ended = () => {
    process.stderr.write(`loopnn: rank ${rank}: ended before all were done\n`);
    abort(Number(process.exitCode) || 1);
  };
  process.on('exit', ended);
  const hosts: string[] = [];
  const peers: LaunchedPeers = {
    rank,
    size,
    library,
    hosts,
    exchange(sends, receives) {
      const all = [...sends, ...receives];
      return addon.exchange(
        all.map(({ peer }) => peer),
        all.map(bytesOf),
        sends.length,
      );
    },
    async finish() {
      await addon.finish();
      process.off('exit', ended);
      witness?.done();
    },
    abort(code) {
      process.off('exit', ended);
      return abort(code);
    },
  };
  const processes = await gatherTexts(peers, `${process.pid} on ${hostname()}`);
  hosts.push(...processes.map((text) => text.replace(/^\d+ on /, '')));
  addon.introduce(processes.map((text) => `process ${text}`));
  return peers;
}

/** The name and version of the MPI that a file is for. Throws PeersError if it does not load. */
export function mpiLibrary(file: string): string {
  return nameOf(load(file));
}

/** The first of what it says: others follow with MPICH's build. */
function nameOf(addon: Addon): string {
  const [first, second = ''] = addon.library().split(/[\n,]/);
  const [, version] = /^Version:\s*(\S+)/i.exec(second.trim()) ?? [];
  const name = first
    .replace(/Version:/, '')
    .replace(/\s+/g, ' ')
    .trim();
  return version ? `${name} ${version}` : name;
}

/** Its libraries must see each other's symbols: Open MPI loads its own parts by name. */
function load(file: string): Addon {
  const module = { exports: {} as Addon };
  try {
    process.dlopen(module, file, constants.dlopen.RTLD_NOW | constants.dlopen.RTLD_GLOBAL);
  } catch (error) {
    throw new PeersError(file, 'must load', (error as Error).message, remedy);
  }
  return module.exports;
}

function bytesOf({ values }: Message): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}
