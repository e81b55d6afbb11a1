/** The witness of MPICH's processes names the first that has ended, however late it runs itself. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { setTimeout } from 'node:timers/promises';

const options = process.platform === 'linux' ? {} : { skip: 'the witness works on Linux alone' };
const WITNESS = new URL('../../src/node/mpi-witness.js', import.meta.url).href;
const PROGRAM = `
  import { findWitness } from '${WITNESS}';
  const witness = findWitness();
  process.stdin.on('data', () => {
    witness.done();
    process.exit();
  });`;

/** Starts processes as Hydra does, whose parent is this one, and returns them once their witness knows them all. */
async function processes(
  ranks: number,
): Promise<{ all: ChildProcess[]; printed: () => Promise<string>; witness: number }> {
  const all = Array.from({ length: ranks }, (_, rank) =>
    spawn(process.execPath, ['--input-type=module', '-e', PROGRAM], {
      env: { ...process.env, PMI_RANK: String(rank), MPI_LOCALRANKID: String(rank) },
      stdio: ['pipe', 'ignore', 'pipe'],
    }),
  );
  let text = '';
  // Which the witness shares.
  const { stderr } = all[0];
  stderr!.setEncoding('utf8').on('data', (more: string) => {
    text += more;
  });
  const closed = once(stderr!, 'close');
  const connections = () =>
    readFileSync('/proc/net/unix', 'utf8').split(`@loopnn-witness-${process.pid}`).length - 1;
  // One listens, and each connection has its end.
  while (connections() < 1 + ranks) await setTimeout(5);
  return { all, witness: witnessOf(process.pid), printed: () => closed.then(() => text) };
}

function witnessOf(job: number): number {
  const found = readdirSync('/proc').find((pid) => {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(`mpi-witness-process.js\0${job}\0`);
    } catch {
      return false;
    }
  });
  return Number(found);
}

test('the first that ends is named, though the others end before the witness looks', options, async () => {
  const { all, printed, witness } = await processes(3);
  process.kill(witness, 'SIGSTOP');
  for (const rank of [1, 0, 2]) {
    all[rank].kill('SIGKILL');
    await once(all[rank], 'exit');
  }
  process.kill(witness, 'SIGCONT');
  const line = /^loopnn: on .*, rank 1 \(process (\d+)\) was the first to end before all was done\n$/;
  assert.equal(line.exec(await printed())?.[1], String(all[1].pid));
});

test('nothing is told of processes that are done', options, async () => {
  const { all, printed } = await processes(2);
  for (const one of all) one.stdin!.write('done');
  assert.equal(await printed(), '');
});
