/** Compiles MPI's part of loopnn by an MPI's own compiler, for the processes that its launcher starts. */
import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { ConfigError } from '../errors.js';
import { mpiFile, mpiLibrary } from './mpi.js';

const run = promisify(execFile);
const SOURCE = fileURLToPath(new URL('../../../native/mpi/mpi.c', import.meta.url));

/** Node's own part at the end of the link belongs to the program that loads the module. */
const LINK = process.platform === 'darwin' ? ['-undefined', 'dynamic_lookup'] : [];

/**
 * Compiles it, and returns the file and the MPI's name and version. Throws ConfigError if the compiler is missing or
 * fails.
 */
export async function buildMpi(mpicc: string): Promise<{ file: string; library: string }> {
  const file = mpiFile();
  mkdirSync(dirname(file), { recursive: true });
  const folder = mkdtempSync(`${file}.`);
  const output = join(folder, 'loopnn-mpi.node');
  const flags = ['-std=c11', '-D_GNU_SOURCE', '-O2', '-fPIC', '-shared', '-pthread', '-DNAPI_VERSION=8'];
  try {
    await run(mpicc, [...flags, ...LINK, '-I', nodeHeaders(), SOURCE, '-o', output]);
    const library = mpiLibrary(output);
    renameSync(output, file);
    return { file, library };
  } catch (error) {
    const { code, stderr } = error as NodeJS.ErrnoException & { stderr?: string };
    if (code === 'ENOENT') {
      const hint =
        'install an MPI with its headers (Debian: libopenmpi-dev or libmpich-dev), or name its mpicc by --mpicc';
      throw new ConfigError(mpicc, 'must be the compiler of an MPI', 'nothing of that name', hint);
    }
    if (stderr === undefined) throw error;
    throw new ConfigError(mpicc, 'must compile MPI’s part of loopnn', stderr.trim().split('\n').at(-1));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The installed parts of MPI. */
export interface FoundMpi {
  /** The MPI that loopnn's part is built for, or why it does not load; null if it is not built. */
  readonly built: string | null;
  /** Whether there is an mpicc to build it with. */
  readonly compiler: boolean;
}

export async function findMpi(): Promise<FoundMpi> {
  const compiler = await run('mpicc', ['--version']).then(
    () => true,
    () => false,
  );
  if (!existsSync(mpiFile())) return { built: null, compiler };
  try {
    return { built: mpiLibrary(mpiFile()), compiler };
  } catch (error) {
    return { built: `another MPI than there is: ${(error as Error).message}`, compiler };
  }
}

/**
 * The folder with node_api.h: of the package that a checkout has, or beside this Node. Throws ConfigError if it is in
 * neither.
 */
function nodeHeaders(): string {
  const folders: string[] = [join(dirname(dirname(process.execPath)), 'include/node')];
  try {
    const { resolve } = createRequire(import.meta.url);
    folders.unshift(join(dirname(resolve('node-api-headers/package.json')), 'include'));
  } catch {
    // A package that only checkouts have.
  }
  const found = folders.find((folder) => existsSync(join(folder, 'node_api.h')));
  if (found) return found;
  const rule = 'must be there to compile a module of Node';
  throw new ConfigError('node_api.h', rule, 'none', 'npm install node-api-headers');
}
