/** A run's log: what is damaged or missing is left out and counted, and each step is there once. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { gapsOf, parseEvent, readMetrics } from '../../src/train/metrics.js';
import { makeTrainer, MemoryStore, runAll } from './helpers.js';

const bytes = (text: string) => new TextEncoder().encode(text);

/** A store with a run of 6 steps, evaluated at 0, 4 and 6, and the lines of its log. */
async function trained() {
  const store = new MemoryStore();
  await runAll(makeTrainer(store, { maxSteps: 6 }).trainer);
  const lines = store.text('metrics.jsonl').trimEnd().split('\n');
  assert.equal(lines.length, 9);
  return { store, lines };
}

test('a whole log has no gaps, and stays as it is', async () => {
  const { store, lines } = await trained();
  const before = store.text('metrics.jsonl');
  const log = await readMetrics(store);
  assert.deepEqual(
    log.events.map(({ kind, step }) => `${kind} ${step}`),
    ['eval 0', 'step 1', 'step 2', 'step 3', 'step 4', 'eval 4', 'step 5', 'step 6', 'eval 6'],
  );
  assert.deepEqual([log.damaged, log.missing, gapsOf(log)], [0, 0, null]);
  const resumed = await makeTrainer(store).trainer.start();
  assert.equal(gapsOf(resumed), null);
  assert.equal(store.text('metrics.jsonl'), before);
  assert.equal(`${lines.join('\n')}\n`, before);
});

test('damaged, foreign and repeated lines are left out, missing ones counted, and both are said', async () => {
  const { store, lines } = await trained();
  const [eval0, step1, step2, step3, step4, eval4, ...rest] = lines;
  const log = [
    ...[eval0, eval0, step1, step2.slice(0, 30), step3, step1],
    ...[
      'null',
      '"text"',
      '{"kind":"step","step":4}',
      step4.replace('"step":4', '"step":4.5'),
      '{"kind":"end","step":4}',
    ],
    ...['\0\0\0', '', eval4, ...rest],
  ];
  store.files.set('metrics.jsonl', bytes(log.map((line) => `${line}\n`).join('')));
  const found = await makeTrainer(store).trainer.start();
  assert.deepEqual([found.damaged, found.missing], [10, 2]);
  assert.equal(
    gapsOf(found),
    'metrics.jsonl: left out 10 damaged or repeated lines; 2 updates are missing: curves have gaps there',
  );
  assert.equal(store.text('metrics.jsonl'), [eval0, step1, step3, eval4, ...rest, ''].join('\n'));
});

test('a log that was cut off before its checkpoint, or lost, misses what it misses', async () => {
  const { store, lines } = await trained();
  // What a crash cuts off in the middle of a line is no damage.
  store.files.set('metrics.jsonl', bytes(`${lines.slice(0, 4).join('\n')}\n${lines[4].slice(0, 20)}`));
  assert.equal(
    gapsOf(await makeTrainer(store).trainer.start()),
    'metrics.jsonl: 3 updates are missing: curves have gaps there',
  );
  store.files.delete('metrics.jsonl');
  assert.equal(
    gapsOf(await makeTrainer(store).trainer.start()),
    'metrics.jsonl: 6 updates are missing: curves have gaps there',
  );
  store.files.set(
    'metrics.jsonl',
    bytes(`${lines.slice(1, 5).join('\n')}\nx\n${lines.slice(6).join('\n')}\n`),
  );
  assert.equal(
    gapsOf(await makeTrainer(store).trainer.start()),
    'metrics.jsonl: left out 1 damaged or repeated line: curves have gaps there',
  );
});

test('an evaluation that was logged after the checkpoint’s own is logged once', async () => {
  const store = new MemoryStore();
  const controller = new AbortController();
  const { trainer } = makeTrainer(store);
  await trainer.start();
  // Stopped during the evaluation at step 4: the checkpoint of step 4 has not had it.
  for await (const event of trainer.run(controller.signal)) {
    if (event.kind === 'step' && event.step === 4) controller.abort();
  }
  const killed = makeTrainer(store).trainer;
  await killed.start();
  for await (const event of killed.run()) if (event.kind === 'eval') break; // killed before the next checkpoint
  await runAll(makeTrainer(store).trainer);
  const evals = (await readMetrics(store)).events.filter(({ kind }) => kind === 'eval');
  assert.deepEqual(
    evals.map(({ step }) => step),
    [0, 4, 8, 12],
  );
  assert.equal((await readMetrics(store)).damaged, 0);
});

test('parts of an event that are no such parts are left out, and the event is kept', () => {
  const evaluation = { kind: 'eval', step: 1, trainLoss: 2, valLoss: 3, tokensSeen: 4, best: true };
  const read = (parts: object) => parseEvent(JSON.stringify({ ...evaluation, ...parts }));
  const gate = { mean: 1, std: 0, min: 1, max: 1 };
  const parts = {
    sample: 'Peace',
    memoryBytes: 5,
    gates: { g: [gate] },
    lossByLoops: [{ loops: 1, valLoss: 3 }],
  };
  assert.deepEqual(read({ ...parts, later: [1] }), { ...evaluation, ...parts, later: [1] });
  for (const gates of [7, null, 'all', { g: 7 }, { g: [null] }, { g: [{ ...gate, mean: null }] }]) {
    assert.deepEqual(read({ gates, sample: 5, memoryBytes: '5', lossByLoops: 7 }), evaluation);
  }
  // A loss that is not finite is null in JSON.
  const lossByLoops = [null, { loops: 4, valLoss: null }, { loops: 1, valLoss: 3 }];
  assert.deepEqual(read({ lossByLoops }), { ...evaluation, lossByLoops: parts.lossByLoops });
  const step = { kind: 'step', step: 1, loss: 2, lr: 3, gradNorm: 4, stepMs: 5, tokensSeen: 6 };
  assert.deepEqual(parseEvent(JSON.stringify({ ...step, tokensPerSecond: '<b>', meanSteps: null })), step);
});
