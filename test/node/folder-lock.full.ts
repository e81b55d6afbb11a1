/**
 * Long: processes that take one lock at one moment, also while they are killed; a namespace of its own, as containers
 * have.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, fork, spawn, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { FolderLock } from '../../src/node/folder-lock.js';
import { STALE_MS, thisProcess } from '../../src/node/lock-holder.js';
import type { Order } from './lock-process.js';

const PROCESS = fileURLToPath(new URL('./lock-process.js', import.meta.url));
const TRIALS = 200;
const PROCESSES = 4;
const CHURNS = 40;

const home = mkdtempSync(join(tmpdir(), 'loopnn-races-'));
const children: ChildProcess[] = Array.from({ length: PROCESSES }, () => fork(PROCESS));
after(() => {
  for (const child of children) child.kill('SIGKILL');
  rmSync(home, { recursive: true, force: true });
});

/** What a process answers to an order; `killed` where it ends before. */
function told(child: ChildProcess, order: Order): Promise<string> {
  return new Promise((resolve) => {
    const ended = () => resolve('killed');
    child.once('exit', ended);
    child.once('message', (answer) => {
      child.off('exit', ended);
      resolve(String(answer));
    });
    child.send(order, (error) => error && ended());
  });
}

const dead = spawnSync('true').pid;

/** A folder whose lock is nobody's, in each of the ways in which it may be so. */
function freeFolder(trial: number): string {
  const folder = join(home, `trial-${trial}`);
  mkdirSync(folder);
  const path = join(folder, 'lock');
  const [first, second] = [thisProcess(), thisProcess()].map((holder) => ({ ...holder, pid: dead }));
  if (trial % 5 === 1) writeFileSync(path, JSON.stringify(first));
  if (trial % 5 === 2) writeFileSync(path, String(dead));
  if (trial % 5 === 3) {
    writeFileSync(path, JSON.stringify(first));
    writeFileSync(`${path}.${first.id}`, JSON.stringify(second));
  }
  if (trial % 5 === 4) {
    writeFileSync(path, JSON.stringify({ ...first, processes: 'elsewhere' }));
    const longAgo = (Date.now() - 2 * STALE_MS) / 1000;
    utimesSync(path, longAgo, longAgo);
  }
  return folder;
}

test(`${TRIALS} times ${PROCESSES} processes take a lock at one moment: one holds it each time`, async (t) => {
  let killed = 0;
  let held = 0;
  for (let trial = 0; trial < TRIALS; trial++) {
    const folder = freeFolder(trial);
    const at = Date.now() + 5;
    const answers = children.map((child) => told(child, { kind: 'take', folder, at }));
    // In every second trial one of them is killed at some moment of it.
    const victim = trial % 2 === 1 ? trial % PROCESSES : -1;
    if (victim >= 0)
      setTimeout(
        () => children[victim].kill(trial % 8 === 3 ? 'SIGTERM' : 'SIGKILL'),
        5 + Math.random() * 25,
      );
    const found = await Promise.all(answers);
    for (const answer of found) assert.match(answer, /^(held|refused|killed)$/);
    const survivors = found.filter((answer, i) => answer === 'held' && i !== victim).length;
    const without = `trial ${trial}: ${found.join(', ')}${victim < 0 ? '' : `, ${victim} killed`}`;
    // Who was killed may have held it first, and another after it.
    assert.ok(survivors === 1 || (survivors === 0 && victim >= 0), without);
    if (victim >= 0) {
      await new Promise((resolve) =>
        children[victim].signalCode ? resolve(0) : children[victim].once('exit', resolve),
      );
      if (found[victim] === 'killed') killed++;
      else if (found[victim] === 'held') held++;
      children[victim] = fork(PROCESS);
    }
    for (const [i, child] of children.entries()) {
      if (i !== victim) assert.equal(await told(child, { kind: 'release' }), 'released');
    }
    if (victim < 0) assert.deepEqual(readdirSync(folder), [], without);
    // A process that was killed keeps nobody out, and what it left goes with the next holder.
    await (await FolderLock.take(folder))[Symbol.asyncDispose]();
    assert.deepEqual(readdirSync(folder), [], without);
  }
  t.diagnostic(`${TRIALS} trials; ${killed} killed while they took it, ${held} while they held it`);
  assert.ok(killed > 0);
});

test(`${PROCESSES} processes take and give back ${CHURNS} times each, never two at work`, async (t) => {
  const folder = join(home, 'churn');
  mkdirSync(folder);
  const start = performance.now();
  const answers = await Promise.all(
    children.map((child) => told(child, { kind: 'churn', folder, times: CHURNS })),
  );
  assert.deepEqual(answers, Array(PROCESSES).fill('churned'));
  assert.deepEqual(readdirSync(folder), []);
  t.diagnostic(`${PROCESSES * CHURNS} holders in ${Math.round(performance.now() - start)} ms`);
});

test('a process in a namespace of its own holds until its heart stops, though its number is another’s here', async (t) => {
  const unshare = ['unshare', '--user', '--map-root-user', '--pid', '--fork', '--kill-child', '--mount-proc'];
  if (spawnSync(unshare[0], [...unshare.slice(1), 'true']).status !== 0) {
    return t.skip('needs a system where namespaces of processes can be made');
  }
  const folder = join(home, 'namespace');
  mkdirSync(folder);
  const script = `
    import(${JSON.stringify(new URL('../../src/node/folder-lock.js', import.meta.url).href)}).then(async (m) => {
      await m.FolderLock.take(${JSON.stringify(folder)});
      console.log(process.pid);
      setInterval(() => {}, 1000);
    });`;
  const begin = () =>
    spawn(unshare[0], [...unshare.slice(1), process.execPath, '-e', script], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
  const child = begin();
  const printed = await new Promise((resolve) => {
    for (const stream of [child.stdout, child.stderr]) stream.once('data', (text) => resolve(String(text)));
  });
  assert.equal(printed, '1\n');
  await assert.rejects(
    FolderLock.take(folder),
    /in use by another process, got 1; it works there from host .* last seen/,
  );
  child.kill('SIGKILL');
  await assert.rejects(FolderLock.take(folder), /if it is gone already, the folder is free in \d+ s/);
  const longAgo = (Date.now() - STALE_MS - 1000) / 1000;
  utimesSync(join(folder, 'lock'), longAgo, longAgo);
  await (await FolderLock.take(folder))[Symbol.asyncDispose]();
  t.diagnostic('a holder with number 1 of another namespace was refused for, and succeeded once stale');
});
