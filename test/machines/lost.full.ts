/** Long: over every MPI here, ranks that are killed at any moment, that stand still, and a disk that is full. */
import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { hashWords } from '../../src/random.js';
import { loopnn, MOUNTING, mountsDisks, temporaryFolder } from '../cli/helpers.js';
import {
  assertSameRun,
  checkpointsIn,
  completed,
  Drill,
  ENDLESS,
  PROMISED,
  prepareBytes,
  stepsIn,
  training,
} from './drill.js';
import { findMpis, NO_MPI } from './mpi.js';

const KILLS = 20;
const MOST_RANKS = 4;

const mpis = await findMpis();
const options = mpis.length > 0 ? {} : { skip: NO_MPI };
const folder = temporaryFolder();
const data = await prepareBytes(folder);

/**
 * The message that names a lost rank: an MPI's launcher's, or that of MPICH's witness. A process that dies loses its
 * memory before its connections; where another one just reads from that memory, UCX ends that one, naming the process
 * that is gone.
 */
const names = (rank: number, pid: number) =>
  new RegExp(
    `rank ${rank} (with PID |\\(process ${pid}\\) was the first to end)|process_vm_readv\\(pid=${pid} `,
  );

/** Trains a run of so many steps in one process, and asserts that it comes to what `out` has. */
async function compareWithOne(out: string, steps: number): Promise<void> {
  const whole = `${out}-whole`;
  const alone = await loopnn(training(data, whole, '--max-steps', String(steps)).slice(1));
  assert.equal(alone.code, 0, alone.stderr);
  assertSameRun(out, whole);
}

describe(`any rank killed ${KILLS} times, at any moment`, { concurrency: 2, ...options }, () => {
  for (const [i, mpi] of mpis.entries()) {
    test(`${mpi.name}: all end, and other numbers of ranks go on to the same bits`, async (t) => {
      const out = join(folder, `killed-${i}`);
      let draws = 0;
      const random = (end: number) => hashWords(i + 1, draws++) % end;
      let ranks = 1;
      let longest = 0;
      for (let kill = 0; kill < KILLS; kill++) {
        ranks = 2 + ((ranks - 1 + random(MOST_RANKS - 2)) % (MOST_RANKS - 1));
        const drill = new Drill(mpi, ranks, training(data, out, '--max-steps', ENDLESS));
        // Every fourth one while it starts, the others some time after they have gone on.
        const early = kill % 4 === 3;
        const before = stepsIn(out);
        if (!early) await drill.until('a step', () => stepsIn(out) !== before);
        const victim = random(ranks);
        await setTimeout(random(early ? 500 : 300));
        const pid = await drill.signal(victim, 'SIGKILL');
        const { code, stderr, seconds } = await drill.end();
        longest = Math.max(longest, seconds);
        assert.notEqual(code, 0, stderr);
        assert.ok(!completed(out), stderr);
        if (!early) assert.match(stderr, names(victim, pid));
      }
      const steps = checkpointsIn(out).at(-1)! + 3;
      const last = training(data, out, '--max-steps', String(steps));
      const scoring = new Drill(mpi, 2, last);
      await scoring.until('the last checkpoint', () => checkpointsIn(out).at(-1) === steps);
      await scoring.signal(1, 'SIGKILL');
      await scoring.end();
      const ended = await new Drill(mpi, 3, last).ended;
      assert.equal(ended.code, 0, ended.stderr);
      assert.ok(completed(out));
      await compareWithOne(out, steps);
      t.diagnostic(`${steps} updates; all had ended ${longest.toFixed(1)} s after a kill at the latest`);
    });
  }
});

test('a rank that stands still ends all, by name', options, async (t) => {
  await Promise.all(
    mpis.map(async (mpi, i) => {
      const out = join(folder, `stopped-${i}`);
      const drill = new Drill(mpi, 3, training(data, out, '--max-steps', ENDLESS));
      await drill.until('a step', () => stepsIn(out) > 0);
      const pid = await drill.signal(i % 3, 'SIGSTOP');
      const { code, stderr, seconds } = await drill.end(PROMISED);
      assert.match(
        stderr,
        new RegExp(`rank \\d: no message from rank ${i % 3} \\(process ${pid} on .*\\) for \\d+ s`),
      );
      assert.notEqual(code, 0);
      assert.ok(!completed(out));
      t.diagnostic(`${mpi.name}: all had ended after ${seconds.toFixed(1)} s`);
    }),
  );
});

test('a full disk on rank 0 ends all, and more room goes on', options, async (t) => {
  if (!mountsDisks()) return t.skip('this system does not let a process mount a disk');
  // A user that is root in its own namespace is root to Open MPI.
  const env = { OMPI_ALLOW_RUN_AS_ROOT: '1', OMPI_ALLOW_RUN_AS_ROOT_CONFIRM: '1' };
  const drills = mpis.map(async (mpi, i) => {
    const disk = join(folder, `disk-${i}`);
    const kept = join(folder, `kept-${i}`);
    mkdirSync(disk);
    const out = join(disk, 'run');
    const script = `mount -t tmpfs -o size=200k none "$0" || exit 99
      "$@"; code=$?; cp -r "$0/run" "${kept}"; exit $code`;
    const before = [...MOUNTING, 'sh', '-c', script, disk];
    const drill = new Drill(mpi, 3, training(data, out, '--max-steps', ENDLESS), { before, env });
    const { code, stderr } = await drill.end();
    assert.equal(code, 1, stderr);
    assert.match(stderr, /loopnn: rank 0: \S+: could not be written, the disk is full/);
    const steps = checkpointsIn(kept).at(-1);
    assert.ok(steps !== undefined && !completed(kept), stderr);
    const ended = await new Drill(mpi, 2, training(data, kept, '--max-steps', String(steps + 3))).ended;
    assert.equal(ended.code, 0, ended.stderr);
    await compareWithOne(kept, steps + 3);
  });
  await Promise.all(drills);
});
