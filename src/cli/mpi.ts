/** `loopnn mpi`: compiles what `mpirun` and `srun` need. */
import type { Command } from 'commander';
import { buildMpi } from '../node/build-mpi.js';
import { printResult } from './output.js';

export function mpiCommand(program: Command): void {
  program
    .command('mpi')
    .description('build the part of loopnn that belongs to an MPI, for training on many machines')
    .option('--mpicc <compiler>', 'the MPI’s own C compiler', 'mpicc')
    .option('--json', 'print one JSON document')
    .action(async ({ mpicc, json }: { mpicc: string; json?: true }) => {
      const built = await buildMpi(mpicc);
      printResult(json === true, built, () => [`${built.file}: built for ${built.library}`]);
    });
}
