/** A log that is read on as it grows: what counts in it, what begins anew, and that it stays bounded. */
import assert from 'node:assert/strict';
import { appendFileSync, mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { readMetrics } from '../../src/train/metrics.js';
import { NodeStore } from '../../src/node/store.js';
import { RunLog } from '../../src/watch/run-log.js';
import { Tail } from '../../src/watch/tail.js';
import { evaluation, temporary, updates } from './helpers.js';

test('a log is read on from where it was, in whole lines', async () => {
  const path = join(temporary(), 'metrics.jsonl');
  const tail = new Tail(path);
  assert.equal(await tail.read(), null, 'there is none yet');
  const text = updates(1, 3);
  writeFileSync(path, text.slice(0, -20));
  assert.equal(await tail.read(), true);
  assert.deepEqual(tail.log.columns.step, [1, 2]);
  assert.equal(await tail.read(), false);
  appendFileSync(path, text.slice(-20) + evaluation(3));
  assert.equal(await tail.read(), true);
  const { log } = tail;
  assert.deepEqual(log.columns.step, [1, 2, 3]);
  assert.deepEqual(log.columns.ms, [10, 20, 30]);
  assert.deepEqual(log.columns.tokens, [64, 128, 192]);
  assert.deepEqual(log.columns.meanSteps, [Number.NaN, Number.NaN, Number.NaN]);
  assert.equal(log.evals[0].ms, 30);
  assert.equal(tail.restarts, 0);
});

test('the lines that count are those that count for a run that goes on', async () => {
  const folder = temporary();
  const path = join(folder, 'metrics.jsonl');
  const lines = [
    updates(1, 2),
    '{"kind":"step","st\n',
    updates(2, 4),
    'null\n',
    evaluation(4),
    evaluation(4),
  ];
  writeFileSync(path, lines.join(''));
  const tail = new Tail(path);
  await tail.read();
  const { events, damaged } = await readMetrics(new NodeStore(folder));
  const steps = events.flatMap((event) => (event.kind === 'step' ? [event.step] : []));
  assert.deepEqual(tail.log.columns.step, steps);
  assert.equal(tail.log.evals.length, 1);
  assert.equal(tail.log.damaged, damaged);
});

test('a log that was cut back, replaced or written anew is read from its beginning', async () => {
  const folder = temporary();
  const path = join(folder, 'metrics.jsonl');
  const tail = new Tail(path);
  writeFileSync(path, updates(1, 50));
  await tail.read();
  // As a run does that goes on from its checkpoint.
  writeFileSync(`${path}.partial`, updates(1, 20));
  renameSync(`${path}.partial`, path);
  await tail.read();
  assert.equal(tail.log.step, 20);
  assert.equal(tail.restarts, 1);
  // The same length, other content.
  writeFileSync(path, updates(1, 20, 1));
  await tail.read();
  assert.equal(tail.log.columns.loss[0], 2);
  // The file is another one, and the same as far as it was read: no reason to begin anew.
  writeFileSync(`${path}.partial`, updates(1, 30, 1));
  renameSync(`${path}.partial`, path);
  await tail.read();
  assert.equal(tail.log.step, 30);
  assert.equal(tail.restarts, 2);
  rmSync(path);
  assert.equal(await tail.read(), null);
  assert.equal(tail.log.step, 30, 'what was read stays until the run is known to be gone');
});

test('a link is not followed, and a folder is no log', async () => {
  const folder = temporary();
  writeFileSync(join(folder, 'other'), updates(1, 3));
  symlinkSync(join(folder, 'other'), join(folder, 'link'));
  mkdirSync(join(folder, 'folder'));
  for (const name of ['link', 'folder']) assert.equal(await new Tail(join(folder, name)).read(), null, name);
});

test('a long log is bounded: neighbours are merged into their means', () => {
  const log = new RunLog();
  const bytes = new TextEncoder().encode(updates(1, 40_000) + updates(40_001, 40_001).slice(0, -1));
  for (let at = 0; at < bytes.length; at += 65_537) log.take(bytes.subarray(at, at + 65_537));
  assert.equal(log.stepsPerRow, 4);
  assert.equal(log.rows, 10_000);
  assert.equal(log.step, 40_000);
  const { step, loss, ms } = log.columns;
  assert.deepEqual([step[0], ms[0], step[9999]], [4, 40, 40_000]);
  assert.ok(Math.abs(loss[0] - (1 + 1 / 2 + 1 / 3 + 1 / 4) / 4) < 1e-12);
  assert.equal(log.damaged, 0);
  const evals = new RunLog();
  evals.take(new TextEncoder().encode(Array.from({ length: 5000 }, (_, i) => evaluation(i)).join('')));
  assert.ok(evals.evals.length <= 2048);
  assert.equal(evals.step, 4999);
});

test('fields that are not what they should be are left out', () => {
  const log = new RunLog();
  const odd = {
    sample: 7,
    gates: { a: [null] },
    loopParts: { a: 'much' },
    stateRms: [1, 'x'],
    lossByLoops: [{ loops: 1 }, { loops: 2, valLoss: null }, { loops: 3, valLoss: 4 }],
    meanSteps: 'x',
  };
  const step = { kind: 'step', step: 1, loss: 1, lr: 1, gradNorm: 1, stepMs: 1, tokensSeen: 1 };
  const lines = [step, { ...step, step: 2, tokensPerSecond: 'fast', meanSteps: {} }];
  log.take(
    new TextEncoder().encode(
      `${lines.map((line) => JSON.stringify(line)).join('\n')}\n${evaluation(2, odd)}`,
    ),
  );
  assert.deepEqual(log.columns.tokensPerSecond, [Number.NaN, Number.NaN]);
  const { sample, gates, loopParts, stateRms, lossByLoops, meanSteps } = log.evals[0];
  assert.deepEqual(
    [sample, gates, loopParts, stateRms, lossByLoops, meanSteps],
    [undefined, undefined, undefined, [1], [{ loops: 3, valLoss: 4 }], undefined],
  );
  const whole = { b: [{ mean: 1, std: 2, min: 0, max: 3 }] };
  log.take(new TextEncoder().encode(evaluation(3, { gates: whole, loopParts: whole })));
  assert.deepEqual(log.evals[1].gates, { b: [{ mean: 1 }] });
  assert.deepEqual(log.evals[1].loopParts, { b: [{ mean: 1, min: 0, max: 3 }] });
});
