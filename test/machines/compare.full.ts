/**
 * Comparisons over every MPI of this machine: a process is killed, all are stopped, others go on; and what differs
 * is refused.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { compareModels } from '../../src/operations/compare.js';
import { findSuite } from '../../src/operations/suites.js';
import { MAIN, outcome, temporaryFolder } from '../cli/helpers.js';
import { figures, tinySuite } from './comparison.js';
import { findMpis, launched, NO_MPI, startOn } from './mpi.js';

/** What rank 0 says once a signal has ended its run. */
const STOPPED = /^stopped (at step \d+; checkpoint saved|before the first step)/m;

const RUNS = ['one-seed1337', 'one-seed1338', 'loop-seed1337', 'loop-seed1338'];

/**
 * The process of a run that is in training and has a checkpoint newer than `before`, as soon as there is one; null once
 * `over` says that there will be none.
 */
async function inTraining(
  out: string,
  before: Map<string, string>,
  over: () => boolean,
): Promise<number | null> {
  while (!over()) {
    for (const run of RUNS) {
      const last = lastCheckpoint(out, run);
      if (last === before.get(run) || !existsSync(join(out, run, 'lock'))) continue;
      try {
        const { pid } = JSON.parse(readFileSync(join(out, run, 'lock'), 'utf8'));
        // A lock may be a former process's.
        process.kill(pid, 0);
        return pid;
      } catch {
        // It has just ended.
      }
    }
    await setTimeout(5);
  }
  return null;
}

function lastCheckpoint(out: string, run: string): string {
  const folder = join(out, run, 'checkpoints');
  return existsSync(folder) ? readdirSync(folder).join(' ') : '';
}

test('comparisons survive kills and signals over any MPI, with any number of processes', async (t) => {
  const mpis = await findMpis();
  if (mpis.length === 0) return t.skip(NO_MPI);
  const folder = temporaryFolder();
  const { suite, data } = await tinySuite(folder, 1000);
  const one = join(folder, 'one');
  await compareModels({ suite: findSuite(suite, 'full'), data, out: one });
  const expected = figures(one);
  for (const [i, mpi] of mpis.entries()) {
    await t.test(mpi.name, { timeout: 300_000 }, async () => {
      const out = join(folder, `out-${i}`);
      const command = ['compare', suite, '--scale', 'full', '--data', data, '--out', out];
      for (const [ranks, signal] of [
        [3, 'SIGKILL'],
        [2, 'SIGTERM'],
      ] as const) {
        const before = new Map(RUNS.map((run) => [run, lastCheckpoint(out, run)]));
        const child = startOn(mpi, ranks, command);
        let over = false;
        const ended = outcome(child).finally(() => {
          over = true;
        });
        const pid = await inTraining(out, before, () => over);
        if (pid === null) assert.fail((await ended).stderr);
        if (signal === 'SIGKILL') process.kill(pid, signal);
        else child.kill(signal);
        const { code, stderr } = await ended;
        // MPICH 4.0's launcher, ended by SIGTERM, now and then returns 0 though all processes return 143.
        assert.ok(
          code !== 0 || (signal === 'SIGTERM' && STOPPED.test(stderr)),
          `${signal}, ${code}: ${stderr}`,
        );
        assert.ok(!existsSync(join(out, 'results.json')) || RUNS.length > figuresCount(out));
      }
      const { code, stderr } = await launched(mpi, 4, command);
      assert.equal(code, 0, stderr);
      assert.match(stderr, /resumed at step/);
      assert.deepEqual(figures(out), expected);
    });
  }
});

function figuresCount(out: string): number {
  return JSON.parse(readFileSync(join(out, 'results.json'), 'utf8')).results.length;
}

test('a process with other options, or that sees another folder, is refused by its rank', async (t) => {
  const [mpi] = await findMpis(1);
  if (!mpi) return t.skip(NO_MPI);
  const folder = temporaryFolder();
  const { suite, data } = await tinySuite(folder);
  const program = (out: string, ...own: string[]) => {
    const flags = ['--data', data, '--out', join(folder, out), ...own];
    return [process.execPath, MAIN, 'compare', suite, ...flags];
  };
  const refused = async (first: string[], second: string[], message: RegExp) => {
    const [launcher, ...flags] = mpi.launch(1);
    const child = spawn(launcher, [...flags, ...first, ':', '-n', '1', ...second], {
      env: { ...process.env, ...mpi.env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const { code, stderr } = await outcome(child);
    assert.notEqual(code, 0);
    assert.match(stderr, message);
  };
  const options = /^loopnn: rank 0: rank 1: must have the same options as rank 0, .*"seeds":2/m;
  await refused(program('out'), program('out', '--seeds', '1'), options);
  assert.ok(!existsSync(join(folder, 'out')), 'nothing is written before');
  const elsewhere = /rank 1: must have the same folder --out as rank 0, .*, got 'one without a comparison'/;
  await refused(program('out'), program('other'), elsewhere);
});
