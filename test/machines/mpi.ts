/**
 * The MPIs of this machine, for tests: Debian's by their own names, the one on PATH, and those in the `bin` folders
 * that LOOPNN_TEST_MPIS names, separated by colons. Builds loopnn's part of each into a temporary folder.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { accessSync, constants, mkdtempSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';
import { MAIN, type Outcome, outcome, spawned } from '../cli/helpers.js';

export interface Mpi {
  /** The library's own name and version, such as 'Open MPI 4.1.4'. */
  readonly name: string;
  readonly mpicc: string;
  /** The command that starts so many processes, with its arguments; a program and its arguments follow. */
  launch(ranks: number): readonly string[];
  /** What the environment needs beside the test's own. */
  readonly env: Readonly<Record<string, string>>;
}

/** Why a test of many processes is skipped. */
export const NO_MPI = 'no mpicc with its mpirun or mpiexec, on PATH or in a folder of LOOPNN_TEST_MPIS';

/** Names of a compiler and its launchers. */
const NAMES = [
  { compiler: 'mpicc.openmpi', launchers: ['mpirun.openmpi'] },
  { compiler: 'mpicc.mpich', launchers: ['mpiexec.mpich'] },
  { compiler: 'mpicc', launchers: ['mpirun', 'mpiexec'] },
];

/** Those whose part of loopnn can be built, each once; the first few of them where `most` is given. */
export async function findMpis(most = Number.POSITIVE_INFINITY): Promise<Mpi[]> {
  const built = mkdtempSync(join(tmpdir(), 'loopnn-mpi-'));
  after(() => rmSync(built, { recursive: true, force: true }));
  const found = new Map<string, Mpi>();
  for (const [i, { mpicc, launcher }] of candidates().entries()) {
    if (found.size >= most) break;
    const env = { LOOPNN_MPI_PATH: join(built, `${i}.node`) };
    const { code, stdout, stderr } = await spawned(['mpi', '--mpicc', mpicc, '--json'], env);
    if (code !== 0) throw new Error(`${mpicc}: ${stderr}`);
    const name: string = JSON.parse(stdout).library;
    if (found.has(name)) continue;
    const flags = name.startsWith('Open MPI') ? OPEN_MPI_FLAGS : [];
    found.set(name, { name, mpicc, launch: (ranks) => [launcher, ...flags, '-n', String(ranks)], env });
  }
  return [...found.values()];
}

/** Starts `loopnn` in so many processes of one thread. */
export function startOn(
  { launch, env: own }: Mpi,
  ranks: number,
  args: readonly string[],
  env: Record<string, string> = {},
): ChildProcess {
  const [launcher, ...flags] = launch(ranks);
  return spawn(launcher, [...flags, process.execPath, MAIN, ...args], {
    env: { ...process.env, LOOPNN_NUM_THREADS: '1', ...own, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

/** Runs it, and waits for its end. */
export function launched(...started: Parameters<typeof startOn>): Promise<Outcome> {
  return outcome(startOn(...started));
}

/** Open MPI refuses root, and more processes than there are processors. */
const OPEN_MPI_FLAGS = [...(process.getuid?.() === 0 ? ['--allow-run-as-root'] : []), '--oversubscribe'];

/** Compilers that have a launcher beside them, each file once. */
function candidates(): { mpicc: string; launcher: string }[] {
  const split = (list = '') => list.split(':').filter((folder) => folder !== '');
  const path = split(process.env.PATH);
  const folders = [path, ...split(process.env.LOOPNN_TEST_MPIS).map((folder) => [folder])];
  const files = new Set<string>();
  return folders.flatMap((among) =>
    NAMES.flatMap(({ compiler, launchers }) => {
      const mpicc = findIn(among, compiler);
      const [launcher] = launchers.flatMap((name) => findIn(among, name) ?? []);
      if (mpicc === undefined || launcher === undefined || files.has(realpathSync(mpicc))) return [];
      files.add(realpathSync(mpicc));
      return [{ mpicc, launcher }];
    }),
  );
}

/** The first program of a name in some folders. */
function findIn(folders: readonly string[], name: string): string | undefined {
  return folders
    .map((folder) => join(folder, name))
    .find((file) => {
      try {
        accessSync(file, constants.X_OK);
        return true;
      } catch {
        return false;
      }
    });
}
