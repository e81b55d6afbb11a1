/** Muon: what it updates and keeps, the same bits however it is run, and what is refused. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NativeBackend } from '../../src/backend/native/native.js';
import { ReferenceBackend } from '../../src/backend/reference/reference.js';
import { parseRunConfig, requireEffect } from '../../src/train/config.js';
import { onEngine, setThreads, threadsInUse } from '../engines.js';
import { parseSafetensors } from '../formats/safetensors-bytes.js';
import { makeTrainer, MemoryStore, runAll } from './helpers.js';
import { memoryPeers } from './memory-peers.js';

const MUON = { optimizer: 'muon', muonLr: 0.05 };
/** Everything at once. */
const ALL = { ...MUON, loopSchedule: 'switch', loopStart: 0.4, emaDecay: 0.7, gradAccumSteps: 2 };
const LAST = 'checkpoints/last-0000012';

test('matrices of the blocks have a momentum and no second moment; an injection is AdamW’s', async () => {
  const store = new MemoryStore();
  const model = { inputInjection: 'linear', nInner: 20 };
  await runAll(makeTrainer(store, MUON, model).trainer);
  const path = `${LAST}/optimizer.safetensors`;
  const names = [...parseSafetensors(store.files.get(path)!, path).keys()];
  const of = (prefix: string) =>
    names.filter((name) => name.startsWith(prefix)).map((name) => name.slice(prefix.length));
  const matrices = of('m.').filter((name) => !of('v.').includes(name));
  assert.deepEqual(
    matrices.sort(),
    [0, 1]
      .flatMap((layer) =>
        ['attn.c_attn', 'attn.c_proj', 'mlp.c_fc', 'mlp.c_proj'].map(
          (name) => `transformer.h.${layer}.${name}.weight`,
        ),
      )
      .sort(),
  );
  assert.ok(of('v.').includes('transformer.injection.state.weight'));
});

test('an update has singular values of about 1, times its rate, and so has each of matrices side by side', async () => {
  const fields = { ...MUON, maxSteps: 1, warmupSteps: 0, weightDecay: 0 };
  const parts = { nInner: 40, nKvHead: 1, gatedMlp: true, dropout: 0 };
  const { trainer, model } = makeTrainer(new MemoryStore(), fields, parts);
  model.parameters.initialise(1337);
  const slots = model.parameters.slots.filter(({ name }) => /h\.0\..*(c_attn|c_fc)\.weight/.test(name));
  assert.deepEqual(
    slots.map(({ spec }) => spec.columns),
    [
      [12, 6, 6],
      [40, 40],
    ],
  );
  const before = await Promise.all(slots.map(({ value }) => value.read()));
  await runAll(trainer);
  for (const [i, { name, value, spec }] of slots.entries()) {
    const after = await value.read();
    const [K, N] = spec.shape;
    let first = 0;
    for (const count of spec.columns!) {
      let squares = 0;
      for (let at = 0; at < K * N; at++) {
        if (at % N >= first && at % N < first + count) squares += (after[at] - before[i][at]) ** 2;
      }
      // Σσ² of min(K, count) singular values between 0.7 and 1.2; some of a first batch's may be too small to grow.
      const mean = squares / (Math.min(K, count) * 0.05 ** 2 * Math.max(1, count / K));
      assert.ok(mean > 0.4 && mean < 1.3, `${name} ${first}: ${mean}`);
      first += count;
    }
  }
});

for (const [name, train] of Object.entries({ Muon: MUON, 'all at once': ALL })) {
  test(`${name}: stopped or killed and resumed, on any number of threads, the bits are the same`, async () => {
    const whole = new MemoryStore();
    await runAll(makeTrainer(whole, train, { nLoop: 3 }).trainer);
    const same = (store: MemoryStore, what: string) => {
      for (const file of ['model', 'optimizer']) {
        const path = `${LAST}/${file}.safetensors`;
        assert.deepEqual(store.files.get(path), whole.files.get(path), `${what}: ${file}`);
      }
    };
    for (const at of [1, 7]) {
      const store = new MemoryStore();
      const until = ({ kind, step }: { kind: string; step: number }) => kind === 'step' && step === at;
      await runAll(makeTrainer(store, train, { nLoop: 3 }).trainer, until);
      await runAll(makeTrainer(store, train, { nLoop: 3 }).trainer);
      same(store, `stopped at ${at}`);
    }
    const store = new MemoryStore();
    const killed = makeTrainer(store, train, { nLoop: 3 }).trainer;
    await killed.start();
    for await (const { kind, step } of killed.run()) if (kind === 'step' && step === 8) break;
    await runAll(makeTrainer(store, train, { nLoop: 3 }).trainer);
    same(store, 'killed at 8');
    const threads = threadsInUse();
    try {
      for (const n of [1, 3]) {
        await setThreads(n);
        const other = new MemoryStore();
        await runAll(makeTrainer(other, train, { nLoop: 3 }).trainer);
        same(other, `${n} threads`);
      }
    } finally {
      await setThreads(threads);
    }
  });
}

test('the backends train alike, and give all buffers back', async () => {
  const losses = await Promise.all(
    [onEngine(new NativeBackend('f32')), onEngine(new ReferenceBackend())].map(async (backend) => {
      const { trainer, runtime } = makeTrainer(new MemoryStore(), ALL, {}, backend);
      const events = await runAll(trainer);
      assert.equal(runtime.pool.live, 0);
      return events.flatMap((event) => (event.kind === 'step' ? [event.loss] : []));
    }),
  );
  for (const [i, loss] of losses[0].entries()) assert.ok(Math.abs(loss - losses[1][i]) < 1e-4);
});

test('processes that train together make the bits of one; an optimizer in parts is refused', async () => {
  const alone = new MemoryStore();
  const fields = { ...ALL, gradAccumSteps: 4 };
  await runAll(makeTrainer(alone, fields).trainer);
  const store = new MemoryStore();
  await Promise.all(
    memoryPeers(3).map((peers) => {
      const own = peers.rank === 0 ? store : new MemoryStore();
      const together = { peers, verifyEvery: 1 };
      return runAll(makeTrainer(own, fields, {}, undefined, undefined, together).trainer);
    }),
  );
  for (const file of ['model', 'optimizer']) {
    const path = `${LAST}/${file}.safetensors`;
    assert.deepEqual(store.files.get(path), alone.files.get(path), file);
  }
  const [peers] = memoryPeers(2);
  const sharded = { peers, shardOptimizer: true };
  assert.throws(
    () => makeTrainer(store, MUON, {}, undefined, undefined, sharded),
    /^ConfigError: shardOptimizer: must not be given where optimizer is muon, which needs whole matrices/,
  );
});

test('moments of another optimizer, and fields that nothing reads, are refused by name', async () => {
  const store = new MemoryStore();
  await runAll(makeTrainer(store, { maxSteps: 3 }).trainer);
  await assert.rejects(
    makeTrainer(store, MUON).trainer.start(),
    /optimizer\.safetensors: must hold the configuration's optimizer's moments; a run keeps its optimizer$/,
  );
  const refused = (train: Record<string, unknown>, message: RegExp) =>
    assert.throws(() => requireEffect({ train }, [parseRunConfig({ train }, 'test')], 'test'), message);
  refused({ muonLr: 0.01 }, /train\.muonLr: must be 0\.02 where optimizer is adamw, got 0\.01/);
  refused({ muonMomentum: 0.9 }, /train\.muonMomentum: must be 0\.95 where optimizer is adamw, got 0\.9/);
  refused({ optimizer: 'muon', lr: 0, minLr: 0 }, /train\.lr: must be above 0 where optimizer is muon/);
  refused({ optimizer: 'muon', muonMomentum: 1 }, /train\.muonMomentum: must be a number in \[0, 1\)/);
});
