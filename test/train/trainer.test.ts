/** Training: exact resume, thread independence, flat memory, checkpointing, accumulation, divergence. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NativeBackend } from '../../src/backend/native/native.js';
import { onEngine, setThreads, threadsInUse } from '../engines.js';
import { ReferenceBackend } from '../../src/backend/reference/reference.js';
import { loadWeights } from '../../src/train/checkpoint.js';
import { TrainingError } from '../../src/train/trainer.js';
import { makeTrainer, MemoryStore, runAll } from './helpers.js';

/** The log without its timings. */
function losses(store: MemoryStore): unknown[] {
  const lines = store.text('metrics.jsonl').trim().split('\n');
  return lines.map((line) => {
    const { stepMs, tokensPerSecond, ...rest } = JSON.parse(line);
    assert.ok(rest.kind === 'eval' || (stepMs > 0 && tokensPerSecond > 0));
    return rest;
  });
}

test('a run stopped and resumed has the bits of one that was never stopped, wherever it stops', async () => {
  const whole = new MemoryStore();
  await runAll(makeTrainer(whole).trainer);
  const weights = whole.files.get(whole.path('last-0000012/model.safetensors'))!;
  const moments = whole.files.get(whole.path('last-0000012/optimizer.safetensors'))!;
  for (const at of [1, 4, 7]) {
    const store = new MemoryStore();
    const stopped = await runAll(
      makeTrainer(store).trainer,
      (event) => event.kind === 'step' && event.step === at,
    );
    assert.deepEqual(stopped.at(-1), { kind: 'stopped', step: at });
    const { trainer } = makeTrainer(store, { seed: 1337 });
    await trainer.start();
    assert.equal(trainer.step, at);
    await runAll(trainer);
    assert.deepEqual(
      store.files.get(store.path('last-0000012/model.safetensors')),
      weights,
      `weights, stopped at ${at}`,
    );
    assert.deepEqual(
      store.files.get(store.path('last-0000012/optimizer.safetensors')),
      moments,
      `moments, ${at}`,
    );
    assert.deepEqual(losses(store), losses(whole), `metrics, stopped at ${at}`);
  }
});

test('a run cut off between checkpoints repeats the lost steps and logs them once', async () => {
  const whole = new MemoryStore();
  await runAll(makeTrainer(whole).trainer);
  const store = new MemoryStore();
  const cut = makeTrainer(store).trainer;
  await cut.start();
  for await (const event of cut.run()) if (event.kind === 'step' && event.step === 5) break;
  store.files.set(
    'metrics.jsonl',
    new TextEncoder().encode(`${store.text('metrics.jsonl')}{"kind":"step","st`),
  );
  const { trainer } = makeTrainer(store);
  await trainer.start();
  assert.equal(trainer.step, 3);
  await runAll(trainer);
  assert.deepEqual(losses(store), losses(whole));
});

test('a run that was cut off before its first regular checkpoint goes on from its best', async () => {
  const fields = { evalInterval: 2, checkpointInterval: 5 };
  const whole = new MemoryStore();
  await runAll(makeTrainer(whole, fields).trainer);
  const store = new MemoryStore();
  const cut = makeTrainer(store, fields).trainer;
  await cut.start();
  for await (const event of cut.run()) if (event.kind === 'step' && event.step === 3) break;
  assert.deepEqual(await store.list('checkpoints'), ['best-0000002']);
  const { trainer } = makeTrainer(store, fields);
  await trainer.start();
  assert.equal(trainer.step, 2);
  await runAll(trainer);
  assert.deepEqual(losses(store), losses(whole));
  for (const name of ['model.safetensors', 'optimizer.safetensors', 'state.json']) {
    const path = `checkpoints/last-0000012/${name}`;
    assert.deepEqual(store.files.get(path), whole.files.get(path), name);
  }
});

test('training gives the same bits on 1, 2 and 3 threads', async () => {
  const threads = threadsInUse();
  const files: Uint8Array[] = [];
  try {
    for (const n of [1, 2, 3]) {
      await setThreads(n);
      const store = new MemoryStore();
      await runAll(makeTrainer(store, { maxSteps: 5 }, { nEmbd: 48, nInnerLoop: 2 }).trainer);
      files.push(store.files.get(store.path('last-0000005/model.safetensors'))!);
    }
  } finally {
    await setThreads(threads);
  }
  assert.deepEqual(files[1], files[0]);
  assert.deepEqual(files[2], files[0]);
});

test('the backends train alike', async () => {
  const [native, reference] = await Promise.all(
    [onEngine(new NativeBackend('f32')), onEngine(new ReferenceBackend())].map(async (backend) => {
      const store = new MemoryStore();
      await runAll(makeTrainer(store, {}, {}, backend).trainer);
      return losses(store) as { loss?: number }[];
    }),
  );
  for (const [i, { loss }] of native.entries()) {
    if (loss !== undefined)
      assert.ok(Math.abs(loss - reference[i].loss!) < 1e-5, `${loss} ${reference[i].loss}`);
  }
});

test('recomputing activations changes no bit', async () => {
  const files: Uint8Array[] = [];
  for (const activationMemory of ['unlimited', 'checkpoint', 0.1]) {
    const store = new MemoryStore();
    await runAll(makeTrainer(store, { activationMemory }).trainer);
    files.push(store.files.get(store.path('last-0000012/model.safetensors'))!);
  }
  assert.deepEqual(files[1], files[0]);
  assert.deepEqual(files[2], files[0]);
});

test('a step leaks no buffer, and the pool stops growing after the first', async () => {
  const { trainer, runtime } = makeTrainer(new MemoryStore(), { maxSteps: 40, gradAccumSteps: 2 });
  let bytes = 0;
  await trainer.start();
  for await (const event of trainer.run()) {
    if (event.kind !== 'step') continue;
    assert.equal(runtime.pool.live, 0, `step ${event.step}`);
    if (event.step === 2) bytes = runtime.pool.bytes;
    if (event.step > 2) assert.equal(runtime.pool.bytes, bytes, `step ${event.step}`);
  }
  assert.ok(bytes > 0);
});

test('training lowers the loss, and the gates move', async () => {
  const { trainer, model } = makeTrainer(
    new MemoryStore(),
    { maxSteps: 150, lr: 3e-3, minLr: 3e-4 },
    { dropout: 0 },
  );
  const events = await runAll(trainer);
  const evals = events.filter((event) => event.kind === 'eval');
  assert.ok(
    evals[0].valLoss > 3.3 && evals.at(-1)!.valLoss < 2,
    `${evals[0].valLoss} to ${evals.at(-1)!.valLoss}`,
  );
  const gates = await model.parameters.all.find((p) => p.role === 'gate')!.read();
  assert.ok(gates.some((gate) => Math.abs(gate - 1) > 1e-3));
});

test('a NaN stops the run, naming the step and the parameter, and leaves the checkpoint intact', async () => {
  const store = new MemoryStore();
  const { trainer, model } = makeTrainer(store);
  const broken = model.parameters.all.find((p) => p.name === 'transformer.h.1.mlp.c_fc.weight')!;
  await assert.rejects(
    runAll(trainer, (event) => {
      if (event.kind === 'step' && event.step === 7) {
        model.runtime.backend.write(broken.storage, Float32Array.of(Number.NaN));
      }
      return false;
    }),
    (error: Error) => {
      assert.ok(error instanceof TrainingError);
      assert.match(
        error.message,
        /^step 8: the loss must be finite, got NaN; first tensor that is not: parameter transformer\.h\.1\.mlp\.c_fc\.weight/,
      );
      return true;
    },
  );
  const again = makeTrainer(store);
  assert.equal((await loadWeights(store, again.model)).step, 4); // the best one; step 6 is the last
  assert.ok([...store.files.keys()].some((name) => name.includes('last-0000006')));
});

test('an overflow inside the network is named by the module whose output it is', async () => {
  const { trainer, model } = makeTrainer(new MemoryStore());
  const large = model.parameters.all.filter((p) => /h\.0\.mlp\..*weight/.test(p.name));
  await assert.rejects(
    runAll(trainer, (event) => {
      if (event.kind === 'eval') for (const p of large) model.runtime.backend.fill(p.storage, 3e38);
      return false;
    }),
    /step 1: .*first tensor that is not: output of transformer\.h\.0\.mlp\.c_/,
  );
});

test('accumulating two half batches equals one whole batch, up to rounding', async () => {
  const { microStepLoss } = await import('../../src/train/trainer.js');
  const { randomBatch } = await import('../../src/evaluate/batches.js');
  const { source, VOCAB } = await import('./helpers.js');
  const { model } = makeTrainer(new MemoryStore(), {}, { dropout: 0 });
  model.parameters.initialise(1);
  const whole = await randomBatch(source(500), 4, 16, VOCAB, { seed: 1, step: 2, microStep: 0 });
  const { gradient } = model.parameters;
  model.parameters.zeroGradients();
  await microStepLoss(model, whole, 1, {});
  const expected = (await model.runtime.backend.read(gradient!)) as Float32Array;
  model.parameters.zeroGradients();
  for (const half of [0, 1]) {
    const part = (values: Int32Array) => values.slice(half * 32, half * 32 + 32);
    const batch = { B: 2, T: 16, tokens: part(whole.tokens), targets: part(whole.targets) };
    await microStepLoss(model, batch, 0.5, {});
  }
  const found = (await model.runtime.backend.read(gradient!)) as Float32Array;
  const scale = Math.max(...expected.map(Math.abs));
  for (let i = 0; i < expected.length; i++) assert.ok(Math.abs(found[i] - expected[i]) < 1e-6 * scale);
});

test('an update that ruins the weights is never saved, the last one included', async () => {
  const store = new MemoryStore();
  await runAll(makeTrainer(store, { maxSteps: 3 }).trainer);
  const before = store.files.get(store.path('last-0000003/model.safetensors'));
  for (const fields of [{ maxSteps: 4 }, { maxSteps: 9, checkpointInterval: 1 }]) {
    const { trainer } = makeTrainer(store, { ...fields, lr: 1e37, warmupSteps: 0 });
    await assert.rejects(runAll(trainer), /step \d: .* must be finite.*the checkpoint of step 3 is intact/);
    assert.equal(store.files.get(store.path('last-0000003/model.safetensors')), before);
  }
});

test('a checkpoint is called intact only where an update from it has succeeded', async () => {
  const store = new MemoryStore();
  await runAll(makeTrainer(store, { maxSteps: 3 }).trainer);
  const ruined = async (at: number, maxSteps: number, message: RegExp) => {
    const { trainer, model } = makeTrainer(store, { maxSteps });
    const ruin = () => model.runtime.backend.write(model.parameters.storage, Float32Array.of(Number.NaN));
    await trainer.start();
    if (at === trainer.step) ruin();
    const run = async () => {
      for await (const event of trainer.run()) if (event.kind === 'step' && event.step === at) ruin();
    };
    await assert.rejects(run, (error: Error) => {
      assert.ok(error instanceof TrainingError, error.stack);
      assert.match(error.message, message);
      return true;
    });
  };
  await ruined(4, 9, /^step 5: .*; the checkpoint of step 3 is intact; try a lower lr$/);
  const none = /^step 4: .*; no update from the checkpoint of step 3 has succeeded: try a lower lr$/;
  await ruined(3, 9, none);
  // The best one of step 2, say, is a way back; that of the same step is none.
  const best = store.path('best-0000003/state.json').replace('/state.json', '');
  for (const [path, content] of [...store.files].filter(([path]) => path.startsWith(best))) {
    store.files.set(path.replace(best, 'checkpoints/best-0000002'), content);
  }
  await ruined(
    3,
    9,
    /has succeeded: move checkpoints\/last-0000003 and checkpoints\/best-0000003 away and try again from the checkpoint of step 2, or try a lower lr$/,
  );
});

test('an error in the middle of a step leaves no buffer in use', async () => {
  const { model, runtime } = makeTrainer(new MemoryStore());
  const { microStepLoss } = await import('../../src/train/trainer.js');
  model.parameters.initialise(1);
  const tokens = new Int32Array(16);
  for (const [ids, targets] of [
    [tokens, tokens.with(3, 1000)],
    [tokens.with(3, 1000), tokens],
  ]) {
    const checkpoint = () => true;
    await assert.rejects(
      microStepLoss(model, { B: 1, T: 16, tokens: ids, targets }, 1, { checkpoint }),
      /ShapeError|BackendError|must/,
    );
    assert.equal(runtime.pool.live, 0);
  }
});

test('a stop during an evaluation saves at once and leaves the evaluation to the resumed run', async () => {
  const whole = new MemoryStore();
  await runAll(makeTrainer(whole).trainer);
  const store = new MemoryStore();
  const controller = new AbortController();
  const { trainer } = makeTrainer(store);
  await trainer.start();
  const events = [];
  for await (const event of trainer.run(controller.signal)) {
    events.push(event);
    if (event.kind === 'step' && event.step === 4) controller.abort();
  }
  assert.deepEqual(
    events.slice(-2).map(({ kind, step }) => [kind, step]),
    [
      ['checkpoint', 4],
      ['stopped', 4],
    ],
  );
  await runAll(makeTrainer(store).trainer);
  assert.deepEqual(losses(store), losses(whole));
});

test('a run stopped before its first step saves nothing; one stopped while it loads ends with the reason', async () => {
  const store = new MemoryStore();
  await runAll(makeTrainer(store).trainer, (event) => event.kind === 'eval');
  assert.deepEqual([...store.files.keys()], ['metrics.jsonl']);
  const reason = new Error('stopped');
  const start = () => makeTrainer(store).trainer.start(AbortSignal.abort(reason));
  await assert.rejects(start(), reason);
  await runAll(makeTrainer(store).trainer);
  assert.ok([...store.files.keys()].some((name) => name.startsWith('checkpoints/last-')));
  await assert.rejects(start(), reason);
});

test('a run stopped in its first step logs its first evaluation once', async () => {
  const whole = new MemoryStore();
  await runAll(makeTrainer(whole).trainer);
  const store = new MemoryStore();
  await runAll(makeTrainer(store).trainer, (event) => event.kind === 'eval');
  await runAll(makeTrainer(store).trainer);
  assert.deepEqual(losses(store), losses(whole));
});
