/** Loops that a schedule turns on: which, when, what is evaluated meanwhile, and what is refused. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { estimateLoss } from '../../src/evaluate/evaluation.js';
import { trainingFlopsPerToken } from '../../src/experiments/result.js';
import { parseRunConfig, requireEffect } from '../../src/train/config.js';
import { loopChanges, meanLoops, scheduledLoops } from '../../src/train/loops.js';
import { makeTrainer, MemoryStore, runAll, source, testClock } from './helpers.js';

const SWITCH = { loopSchedule: 'switch', loopStart: 0.5 } as const;

test('a schedule runs one loop until its start, then all, or each count for as many updates', () => {
  const loops = (loopSchedule: 'switch' | 'grow', loopStart: number, nLoop: number, maxSteps = 10) =>
    Array.from({ length: maxSteps }, (_, step) =>
      scheduledLoops(step, { loopSchedule, loopStart, maxSteps }, nLoop),
    );
  assert.deepEqual(loops('switch', 0.7, 2), [1, 1, 1, 1, 1, 1, 1, 2, 2, 2]);
  assert.deepEqual(loops('switch', 0.35, 4, 6), [1, 1, 4, 4, 4, 4]);
  assert.deepEqual(loops('grow', 0.4, 4), [1, 1, 1, 1, 2, 2, 3, 3, 4, 4]);
  assert.deepEqual(loops('grow', 0.25, 4, 8), [1, 1, 2, 2, 3, 3, 4, 4]);
  assert.deepEqual(loops('grow', 0, 3, 4), [2, 2, 3, 3]);
  assert.equal(scheduledLoops(10, { loopSchedule: 'grow', loopStart: 0.4, maxSteps: 10 }, 4), 4);
});

test('the mean of any number of first updates, their FLOPs and where loops change are the schedule’s', () => {
  for (const loopSchedule of ['switch', 'grow'] as const) {
    for (const [loopStart, maxSteps, nLoop] of [
      [0.35, 97, 2],
      [0.1, 40, 7],
      [0.7, 1000, 13],
      [0, 5, 9],
    ] as const) {
      const train = { loopSchedule, loopStart, maxSteps, loopSampling: 'fixed' } as const;
      const changes: number[] = [];
      let sum = 0;
      for (let step = 0; step < maxSteps; step++) {
        const loops = scheduledLoops(step, train, nLoop);
        if (step > 0 && loops !== scheduledLoops(step - 1, train, nLoop)) changes.push(step);
        sum += loops;
        assert.equal(meanLoops(train, nLoop, step + 1), sum / (step + 1), `${loopSchedule} ${step}`);
      }
      assert.deepEqual(loopChanges(train, nLoop), changes, `${loopSchedule} ${nLoop}`);
    }
  }
  const endless = { loopSchedule: 'grow', loopStart: 0.7, maxSteps: 1e9 } as const;
  assert.deepEqual(loopChanges(endless, 3), [7e8, 8.5e8]);
  const model = { depth: 'loop', nLoop: 3, nLayer: 2, nEmbd: 16, nHead: 2, blockSize: 8, vocabSize: 50 };
  const flops = (train: object, updates?: number) =>
    trainingFlopsPerToken(parseRunConfig({ model, train: { maxSteps: 10, ...train } }, 'test'), updates);
  const [all, half, before] = [flops({}), flops(SWITCH), flops(SWITCH, 5)];
  assert.ok(before < half && half < all);
  assert.equal(half, (all + before) / 2);
});

test('updates and evaluations have the loops of their time; with more of them the best begins anew', async () => {
  const store = new MemoryStore();
  const lowest = { maxSteps: 8, evalInterval: 2, checkpointInterval: 4, ...SWITCH };
  const { trainer, model, config } = makeTrainer(store, lowest, { nLoop: 3, dropout: 0 });
  const batches = { B: config.batchSize, count: config.evalBatches, seed: config.seed };
  await trainer.start();
  const evals: { step: number; loops: number | undefined; best: boolean }[] = [];
  for await (const event of trainer.run()) {
    if (event.kind === 'step') assert.equal(event.loops, event.step <= 4 ? 1 : 3, `step ${event.step}`);
    if (event.kind !== 'eval') continue;
    const { step, loops, best, valLoss } = event;
    const own = loops === undefined ? {} : { loops };
    assert.equal(await estimateLoss(model, source(200), batches, testClock, undefined, own), valLoss);
    evals.push({ step, loops, best });
  }
  assert.deepEqual(
    evals.map(({ step, loops }) => [step, loops]),
    [
      [0, 1],
      [2, 1],
      [4, 1],
      [6, 3],
      [8, 3],
    ],
  );
  assert.ok(evals[3].best, 'the first with three loops');
  const logged = store.text('metrics.jsonl').trim().split('\n');
  assert.ok(logged.every((line) => JSON.parse(line).loops !== undefined));

  // A best loss of one loop that none of three reaches holds back nothing, also in a run that was resumed.
  const resumed = new MemoryStore();
  await runAll(
    makeTrainer(resumed, lowest, { nLoop: 3 }).trainer,
    ({ kind, step }) => kind === 'step' && step === 5,
  );
  const state = resumed.path('last-0000005/state.json');
  const found = { ...JSON.parse(resumed.text(state)), bestValLoss: 0.001 };
  resumed.files.set(state, new TextEncoder().encode(JSON.stringify(found)));
  resumed.files.delete('checkpoints/last-0000005/checksums.json');
  const events = await runAll(makeTrainer(resumed, lowest, { nLoop: 3 }).trainer);
  assert.deepEqual(
    events.flatMap((event) => (event.kind === 'eval' ? [[event.step, event.best]] : [])).at(0),
    [6, true],
  );
});

test('a schedule that changes on resume begins the best anew where its loops are others', async () => {
  const train = { maxSteps: 8, evalInterval: 2, checkpointInterval: 4 };
  const one = { loopSchedule: 'switch', loopStart: 0.75 };
  const none = { loopSchedule: 'constant', loopStart: 0 };
  for (const [before, after, anew, told] of [
    [one, { ...one, loopStart: 0.125 }, true, true],
    [one, none, true, true],
    [none, { ...one, maxSteps: 12 }, true, true],
    [none, { ...one, maxSteps: 12 }, true, false],
    [one, { ...one, maxSteps: 12 }, false, true],
    [none, none, false, false],
  ] as const) {
    const store = new MemoryStore();
    const first = makeTrainer(store, { ...train, ...before }, { nLoop: 3 }).trainer;
    await runAll(first, ({ kind, step }) => kind === 'step' && step === 4);
    const path = store.path('last-0000004/state.json');
    // Lower than any loss that follows; earlier checkpoints do not tell the loops.
    const state = { ...JSON.parse(store.text(path)), bestValLoss: 0.001 };
    if (!told) delete state.bestLoops;
    store.files.set(path, new TextEncoder().encode(JSON.stringify(state)));
    store.files.delete('checkpoints/last-0000004/checksums.json');
    const events = await runAll(makeTrainer(store, { ...train, ...after }, { nLoop: 3 }).trainer);
    const next = events.find((event) => event.kind === 'eval');
    assert.deepEqual([next?.step, next?.best], [4, anew], JSON.stringify([before, after]));
  }
});

test('gradients through the last pass only, and middle layers that loop late, train and resume', async () => {
  for (const [train, model] of [
    [{ loopSchedule: 'switch', loopStart: 0.7, backpropLoops: 1 }, { nLoop: 2 }],
    [
      { loopSchedule: 'switch', loopStart: 0.35 },
      { nLayer: 5, nPrelude: 1, nCoda: 1, nLoop: 2 },
    ],
  ]) {
    const whole = new MemoryStore();
    await runAll(makeTrainer(whole, train, model).trainer);
    const store = new MemoryStore();
    await runAll(makeTrainer(store, train, model).trainer, ({ kind, step }) => kind === 'step' && step === 8);
    await runAll(makeTrainer(store, train, model).trainer);
    for (const name of ['model', 'optimizer']) {
      const path = `checkpoints/last-0000012/${name}.safetensors`;
      assert.deepEqual(store.files.get(path), whole.files.get(path));
    }
  }
});

test('schedules that change nothing, or never run all loops, are refused by name', () => {
  const refused = (train: Record<string, unknown>, message: RegExp, model: object = { nLoop: 3 }) =>
    assert.throws(() => {
      const config = { model: { depth: 'loop', ...model }, train: { maxSteps: 10, ...train } };
      requireEffect({ train }, [parseRunConfig(config, 'test')], 'test');
    }, message);
  refused({ ...SWITCH, loopStart: 1 }, /train\.loopStart: must be a number in \[0, 1\), got 1/);
  refused({ loopStart: 0.5 }, /train\.loopStart: must be 0 where loopSchedule is constant, got 0\.5/);
  const all = /train\.loopStart: must leave updates of fewer loops where loopSchedule is/;
  refused({ loopSchedule: 'switch' }, all);
  refused({ loopSchedule: 'grow' }, all, { nLoop: 2 });
  const never = /train\.loopStart: must leave updates of nLoop = 3 loops before maxSteps = 10, got/;
  refused({ ...SWITCH, loopStart: 0.96 }, never);
  refused({ loopSchedule: 'grow', loopStart: 0.9 }, never);
  refused(SWITCH, /train\.loopSchedule: must be constant where nLoop is 1, got 'switch'/, { nLoop: 1 });
  refused(SWITCH, /loopSchedule: must be constant where nLoop is 1/, { depth: 'gpt2' });
  refused({ ...SWITCH, loopSampling: 'uniform' }, /train\.loopSampling: must be fixed where loopSchedule is/);
  refused({ ...SWITCH, exitLoss: 'uniform' }, /train\.loopSchedule: must be constant where halting is/, {
    nLoop: 3,
    halting: 'geometric',
  });
});
