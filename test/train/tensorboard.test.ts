/** A run's TensorBoard log: the figures of `metrics.jsonl`, each step once, however the run was stopped. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readFields } from '../../src/formats/protobuf.js';
import { EVENTS_FILE, eventStep, eventText, isRestart } from '../../src/formats/tfevents.js';
import { readTfRecords } from '../../src/formats/tfrecord.js';
import { hasTensorBoard, TensorBoardLog } from '../../src/train/tensorboard.js';
import type { TrainEvent } from '../../src/train/events.js';
import { MemoryStore, makeTrainer } from './helpers.js';

const utf8 = new TextDecoder();

/** The points of each curve, and the configurations, as [step, value]. */
function curves(store: MemoryStore): { scalars: Map<string, [number, number][]>; texts: [number, string][] } {
  const file = store.files.get(EVENTS_FILE)!;
  const scalars = new Map<string, [number, number][]>();
  const texts: [number, string][] = [];
  let end = 0;
  for (const record of readTfRecords(file)) {
    end = record.end;
    const step = eventStep(record.data, 'test');
    // As TensorBoard does.
    if (isRestart(record.data, 'test')) {
      for (const [tag, points] of scalars)
        scalars.set(
          tag,
          points.filter(([at]) => at < step),
        );
    }
    const text = eventText(record.data, 'config', 'test');
    if (text !== undefined) texts.push([step, text]);
    for (const summary of fields(record.data, 5)) {
      for (const value of fields(summary as Uint8Array, 1)) {
        const [tag] = fields(value as Uint8Array, 1);
        const name = utf8.decode(tag as Uint8Array);
        const [scalar] = fields(value as Uint8Array, 2);
        if (typeof scalar === 'number') scalars.set(name, [...(scalars.get(name) ?? []), [step, scalar]]);
      }
    }
  }
  assert.equal(end, file.length, 'no rest');
  return { scalars, texts };
}

function fields(bytes: Uint8Array, number: number): (number | Uint8Array)[] {
  return [...readFields(bytes, 'test')].filter(({ field }) => field === number).map(({ value }) => value);
}

/** Trains with a log until `stop`, as the command line does; with `log` false without one. */
async function train(
  store: MemoryStore,
  stop: (event: TrainEvent) => boolean = () => false,
  log = true,
  settings: Record<string, unknown> = {},
  modelFields: Record<string, unknown> = {},
): Promise<void> {
  const { trainer, model, config } = makeTrainer(store, settings, modelFields);
  await trainer.start();
  const run = { model: model.config, train: config };
  const board = log ? await TensorBoardLog.open(store, trainer.progress, run, () => 1e9) : null;
  for await (const event of trainer.run()) {
    await board?.write(event);
    if (stop(event)) return;
  }
}

/** What the log must show, from `metrics.jsonl`. */
function expected(store: MemoryStore): Map<string, [number, number][]> {
  const lines = store
    .text('metrics.jsonl')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  const names: [string, string, string][] = [
    ['loss/val', 'eval', 'valLoss'],
    ['loss/trainFixed', 'eval', 'trainLoss'],
    ['loss/train', 'step', 'loss'],
    ['lr', 'step', 'lr'],
    ['gradNorm', 'step', 'gradNorm'],
    ['tokensPerSecond', 'step', 'tokensPerSecond'],
    ['auxLoss', 'step', 'auxLoss'],
    ['meanSteps', 'step', 'meanSteps'],
  ];
  const several = new Map<string, [number, number][]>();
  for (const { step, stateRms = [], loopParts = {} } of lines) {
    const add = (tag: string, value: number) =>
      several.set(tag, [...(several.get(tag) ?? []), [step, Math.fround(value)]]);
    for (const [n, rms] of stateRms.entries()) add(`stateRms/${n + 1}`, rms);
    for (const [name, loops] of Object.entries<{ mean: number }[]>(loopParts)) {
      for (const [n, { mean }] of loops.entries())
        add(`loopParts/${name.replaceAll(' ', '-')}/${n + 1}`, mean);
    }
  }
  const single = new Map(
    names.flatMap(([tag, kind, field]) => {
      const points = lines
        .filter((line) => line.kind === kind && line[field] !== undefined)
        .map((line): [number, number] => [line.step, Math.fround(line[field])]);
      return points.length > 0 ? [[tag, points]] : [];
    }),
  );
  return new Map([...single, ...several]);
}

test('a run’s log has the figures of metrics.jsonl and its configuration', async () => {
  const store = new MemoryStore();
  assert.equal(await hasTensorBoard(store), false);
  await train(store);
  assert.equal(await hasTensorBoard(store), true);
  const { scalars, texts } = curves(store);
  assert.equal(scalars.get('loss/train')!.length, 12);
  assert.ok(!scalars.has('meanSteps'));
  assert.deepEqual(new Map([...scalars].sort()), new Map([...expected(store)].sort()));
  assert.equal(texts.length, 1);
  assert.match(
    texts[0][1],
    /^\| field \| value \|\n\| --- \| --- \|\n[\s\S]*\| nLoop \| 2 \|[\s\S]*\| maxSteps \| 12 \|/,
  );
});

test('a model’s recipes for loops are there, loop by loop', async () => {
  const store = new MemoryStore();
  await train(store, undefined, true, {}, { inputInjection: 'stable', hyperConnections: 'static' });
  const { scalars } = curves(store);
  assert.ok(scalars.has('loopParts/carry-over/1') && scalars.has('loopParts/streams-read/2'));
  assert.deepEqual(new Map([...scalars].sort()), new Map([...expected(store)].sort()));
});

test('a model that halts has its mean steps there', async () => {
  const store = new MemoryStore();
  await train(store, undefined, true, { maxSteps: 3 }, { halting: 'act', nLoop: 3 });
  const { scalars } = curves(store);
  assert.equal(scalars.get('meanSteps')!.length, 3);
  assert.deepEqual(new Map([...scalars].sort()), new Map([...expected(store)].sort()));
});

test('wherever a run is cut off, its log has each step once after it was resumed', async () => {
  for (let cut = 1; cut < 12; cut++) {
    const store = new MemoryStore();
    await train(store, (event) => event.kind === 'step' && event.step === cut);
    // And in the middle of a record.
    if (cut % 2 === 0) store.append(EVENTS_FILE, Uint8Array.of(24, 0, 0));
    await train(store);
    const { scalars, texts } = curves(store);
    assert.deepEqual(new Map([...scalars].sort()), new Map([...expected(store)].sort()), `cut at ${cut}`);
    assert.equal(texts.length, 1);
    assert.deepEqual(
      scalars.get('loss/train')!.map(([step]) => step),
      Array.from({ length: 12 }, (_, i) => i + 1),
    );
  }
});

test('a resumed run only adds to its log, so that its readers continue', async () => {
  const store = new MemoryStore();
  await train(store, (event) => event.kind === 'step' && event.step === 7);
  const before = store.files.get(EVENTS_FILE)!.slice();
  await train(store);
  const after = store.files.get(EVENTS_FILE)!;
  assert.ok(after.length > before.length);
  assert.deepEqual(after.subarray(0, before.length), before);
  assert.ok([...readTfRecords(after)].some(({ data }) => isRestart(data, 'test')));
});

test('an evaluation that a cut-off run repeats is there once', async () => {
  const store = new MemoryStore();
  const controller = new AbortController();
  const settings = { evalInterval: 4, checkpointInterval: 100 };
  const { trainer, model, config } = makeTrainer(store, settings);
  await trainer.start();
  const run = { model: model.config, train: config };
  const board = await TensorBoardLog.open(store, trainer.progress, run, () => 1e9);
  for await (const event of trainer.run(controller.signal)) {
    await board.write(event);
    // The checkpoint of step 4 comes before its evaluation.
    if (event.kind === 'step' && event.step === 4) controller.abort();
  }
  await train(store, (event) => event.kind === 'eval' && event.step === 4, true, settings);
  await train(store, undefined, true, settings);
  const { scalars } = curves(store);
  assert.deepEqual(new Map([...scalars].sort()), new Map([...expected(store)].sort()));
  assert.deepEqual(
    scalars.get('loss/val')!.map(([step]) => step),
    [0, 4, 8, 12],
  );
});

test('a log asked for later begins with the former steps, and shows a changed configuration where it changed', async () => {
  const store = new MemoryStore();
  await train(store, (event) => event.kind === 'checkpoint' && event.step === 6, false);
  assert.equal(await hasTensorBoard(store), false);
  await train(store, (event) => event.kind === 'checkpoint' && event.step === 9);
  await train(store, undefined, true, { maxSteps: 15 });
  await train(store, undefined, true, { maxSteps: 15 });
  const { scalars, texts } = curves(store);
  assert.deepEqual(new Map([...scalars].sort()), new Map([...expected(store)].sort()));
  assert.deepEqual(
    texts.map(([step]) => step),
    [0, 9],
  );
  assert.match(texts[1][1], /\| maxSteps \| 15 \|/);
});

test('a run begun anew begins its log anew', async () => {
  const store = new MemoryStore();
  await train(store, (event) => event.kind === 'step' && event.step === 2);
  await train(store, (event) => event.kind === 'step' && event.step === 2);
  assert.deepEqual(
    curves(store)
      .scalars.get('loss/train')!
      .map(([step]) => step),
    [1, 2],
  );
});
