/** Who has started this process, as the launchers' variables tell it. */
import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import { launch, launchedPeers, PeersError } from '../../src/node/mpi.js';

const before = { ...process.env };
afterEach(() => {
  process.env = { ...before };
});

const step = { SLURM_STEP_NUM_TASKS: '6', SLURM_STEP_TASKS_PER_NODE: '3(x2)' };

test('a process that no launcher has started is alone, also in the batch script of a Slurm job', () => {
  assert.equal(launch(), null);
  Object.assign(process.env, { SLURM_NTASKS: '6', SLURM_TASKS_PER_NODE: '3(x2)' });
  assert.equal(launch(), null);
});

test('srun is known where it speaks as MPICH’s launcher does, and launchers that start their part by srun', () => {
  Object.assign(process.env, step, { PMI_SIZE: '6' });
  assert.deepEqual(launch(), { name: 'srun', size: 6, here: 3 });
  Object.assign(process.env, { PMI_SIZE: '4', MPI_LOCALNRANKS: '2' });
  assert.deepEqual(launch(), { name: 'MPICH', size: 4, here: 2 });
});

test('a process that npx has cut off from MPICH’s launcher is refused before MPI crashes', async () => {
  Object.assign(process.env, { PMI_SIZE: '2', MPI_LOCALNRANKS: '2', PMI_FD: '99999' });
  await assert.rejects(
    launchedPeers(),
    (error) => error instanceof PeersError && /not npx/.test(error.message),
  );
});
