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
  import { subscribe } from 'node:diagnostics_channel';
  import { findWitness } from '${WITNESS}';
  // What it says as it connects has been sent by then.
  const said = () => setImmediate(() => process.stdout.write('said'));
  subscribe('net.client.socket', ({ socket }) => socket.once('connect', said));
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
      stdio: ['pipe', 'pipe', 'pipe'],
    }),
  );
  const said = Promise.all(all.map(({ stdout }) => once(stdout!, 'data')));
  let text = '';
  // Which the witness shares.
  const { stderr } = all[0];
  stderr!.setEncoding('utf8').on('data', (more: string) => {
    text += more;
  });
  const closed = once(stderr!, 'close');
  await said;
  const witness = witnessOf(process.pid);
  while (accepted(process.pid) < ranks || isBusy(witness)) await setTimeout(5);
  return { all, witness, printed: () => closed.then(() => text) };
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

/**
 * How many connections a job's witness has accepted: those have an inode, and only the socket that listens has a flag.
 */
function accepted(job: number): number {
  const name = new RegExp(`^@loopnn-witness-${job}@*$`);
  const sockets = readFileSync('/proc/net/unix', 'utf8').split('\n');
  return sockets.filter((line) => {
    const [, , , flags, , , inode, path] = line.split(/\s+/);
    return name.test(path) && flags === '00000000' && inode !== '0';
  }).length;
}

/** Whether a process does something else than wait. */
function isBusy(pid: number): boolean {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  return stat[stat.lastIndexOf(')') + 2] !== 'S';
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
