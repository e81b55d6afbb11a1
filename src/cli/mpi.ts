/** `loopnn mpi`: compiles what `mpirun` and `srun` need. */
import type { Command } from 'commander';
import { buildMpi } from '../node/build-mpi.js';
import { examples } from './help.js';
import { printResult } from './output.js';

export function mpiCommand(program: Command): void {
  program
    .command('mpi')
    .description('build loopnn’s part for an MPI, to work on many machines')
    .option('--mpicc <compiler>', 'C compiler of the MPI', 'mpicc')
    .option('--json', 'print one JSON document')
    .addHelpText('after', examples('npx loopnn mpi'))
    .action(async ({ mpicc, json }: { mpicc: string; json?: true }) => {
      const built = await buildMpi(mpicc);
      printResult(json === true, built, () => [`${built.file}: built for ${built.library}`]);
    });
}
