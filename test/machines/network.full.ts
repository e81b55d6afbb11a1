/** Long: the network between two machines is cut. Machines are network namespaces, so that ranks talk over TCP. */
import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { temporaryFolder } from '../cli/helpers.js';
import { completed, Drill, ENDLESS, PROMISED, prepareBytes, stepsIn, training } from './drill.js';
import { keepAlive, makeHosts, noNetworks } from './hosts.js';
import { findMpis, type Mpi, NO_MPI } from './mpi.js';

const mpis = await findMpis();
const reason = mpis.length === 0 ? NO_MPI : noNetworks();
const folder = temporaryFolder();
const data = await prepareBytes(folder);

/** Trains on two hosts, and cuts the second one off. */
async function cutOff(name: string, mpi: Mpi, flags: readonly string[] = []) {
  const own = join(folder, name);
  mkdirSync(own);
  const hosts = makeHosts(own, mpi, 2, flags);
  const out = join(own, 'run');
  const drill = new Drill(hosts.mpi, 2, training(data, out, '--max-steps', ENDLESS), {
    before: hosts.before,
  });
  await drill.until('a step', () => stepsIn(out) > 0);
  writeFileSync(hosts.cut, '2');
  return { drill, out };
}

const SILENT = /rank 0: no message from rank 1 \(process \d+ on host2\) for \d+ s/;

describe('a cut network', {
  concurrency: 3,
  ...(reason === null ? {} : { skip: reason }),
}, () => {
  for (const [i, mpi] of mpis.entries()) {
    const isOpenMpi = mpi.name.startsWith('Open MPI');
    const kept = isOpenMpi ? keepAlive(mpi) : [];
    test(`${mpi.name}: both sides end, and the rank or its machine is named`, async (t) => {
      const { drill, out } = await cutOff(`cut-${i}`, mpi, kept);
      // Open MPI 5 may exit with 0.
      const { code, stderr, seconds } = await drill.end();
      assert.match(stderr, /^host2: rank 1$/m);
      assert.match(
        stderr,
        isOpenMpi ? /lost communication with a remote daemon[\s\S]*(host2|10\.77\.0\.12)/ : SILENT,
      );
      assert.ok(!completed(out));
      t.diagnostic(`all had ended after ${seconds.toFixed(1)} s, status ${code}`);
    });
    if (!isOpenMpi) continue;
    test(`${mpi.name} without keep-alive: all ranks end by themselves, though the launcher waits`, async (t) => {
      const { drill, out } = await cutOff(`cut-patient-${i}`, mpi);
      const start = performance.now();
      const seconds = () => (performance.now() - start) / 1000;
      const ranks = () => drill.running().filter(({ rank }) => rank !== null);
      while (ranks().length > 0 && seconds() < PROMISED) await setTimeout(100);
      const left = ranks();
      t.diagnostic(`all ranks had ended after ${seconds().toFixed(1)} s`);
      for (const { pid } of drill.running()) {
        try {
          process.kill(pid, 'SIGKILL');
        } catch {
          // It ended with the one before.
        }
      }
      const { stderr } = await drill.ended;
      assert.deepEqual(left, []);
      assert.match(stderr, SILENT);
      assert.ok(!completed(out));
    });
  }
});
