/** Trainers that work together make the bits of one that works alone. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { HostArray } from '../../src/backend/backend.js';
import { NativeBackend } from '../../src/backend/native/native.js';
import { blocksOf, ownerOf } from '../../src/train/blocks.js';
import { halves, microStepsOf, type Run, runsWithin, sumOverTree } from '../../src/train/micro-step-tree.js';
import { gatherNumbers, gatherTexts, type Peers } from '../../src/train/peers.js';
import { TrainingError, type TrainerOptions } from '../../src/train/trainer.js';
import { onEngine } from '../engines.js';
import { makeTrainer, MemoryStore, runAll, source } from './helpers.js';
import { memoryPeers } from './memory-peers.js';
import { systems } from './systems.js';

const MICRO_STEPS = 6;
const FIELDS = {
  gradAccumSteps: MICRO_STEPS,
  maxSteps: 5,
  checkpointInterval: 2,
  evalInterval: 2,
  evalBatches: 3,
};
/** Of more blocks than ranks. A micro-step reads a small part of the embedding's rows; with 31, a large one. */
const MODEL = { nEmbd: 48, blockSize: 8, vocabSize: 400 };
const SMALL = { ...MODEL, vocabSize: 31 };

type Together = Pick<TrainerOptions, 'shardOptimizer' | 'verifyEvery'>;

/** Trains on some processes, until `stopAfter` where given; returns what rank 0 keeps and all ranks' last weights. */
async function train(
  ranks: number,
  together: Together = {},
  {
    model: fields = MODEL as Record<string, unknown>,
    extra = {},
    store = new MemoryStore(),
    stopAfter = Number.POSITIVE_INFINITY,
  } = {},
) {
  const weights = await Promise.all(
    memoryPeers(ranks).map(async (peers) => {
      const own = peers.rank === 0 ? store : new MemoryStore();
      const backend = onEngine(new NativeBackend('f32'));
      const { trainer, model, runtime } = makeTrainer(
        own,
        { ...FIELDS, ...extra },
        fields,
        backend,
        source(500),
        {
          peers,
          ...together,
        },
      );
      const { live } = runtime.pool;
      const events = await runAll(trainer, ({ kind, step }) => kind === 'step' && step >= stopAfter);
      assert.equal(runtime.pool.live, live, 'buffers are given back');
      if (peers.rank > 0) assert.equal(own.files.size, 0, 'only rank 0 writes');
      const values = await runtime.backend.read(model.parameters.storage);
      trainer.dispose();
      return { values, events };
    }),
  );
  for (const { values } of weights)
    assert.deepEqual(values, weights[0].values, 'all ranks have the same weights');
  return { store, values: weights[0].values };
}

const sameBytes = (a: HostArray, b: HostArray) =>
  Buffer.compare(Buffer.from(a.buffer), Buffer.from(b.buffer)) === 0;

/** What a run leaves: its log without times, and the checksums of its files. */
function leftBy(store: MemoryStore): Record<string, string> {
  const entries = [...store.files].map(([path, bytes]) => {
    if (path !== 'metrics.jsonl') return [path, store.crc32c(bytes).toString(16)];
    const log = new TextDecoder().decode(bytes);
    return [path, log.replace(/,"(stepMs|tokensPerSecond|waitMs)":[\d.e+-]+/g, '')];
  });
  return Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)));
}

const alone = await train(1);
assert.ok(blocksOf(alone.values.length).length > 6, 'each rank has several blocks');

for (const [i, ranks] of [2, 3, 4, 6, 7].entries()) {
  const shardOptimizer = i % 2 === 1;
  const how = shardOptimizer ? ', each with a part of the moments' : '';
  test(`${ranks} ranks${how}: metrics, checkpoints and weights have the bits of one process`, async () => {
    const { store, values } = await train(ranks, { shardOptimizer, verifyEvery: 1 });
    assert.ok(sameBytes(values, alone.values), 'weights of one process');
    assert.deepEqual(leftBy(store), leftBy(alone.store));
  });
}

test('every system has the bits of one process on two, whatever its backward pass', async () => {
  for (const [name, [fields, training = {}]] of Object.entries(systems)) {
    const model = { vocabSize: 257, ...fields };
    const extra = { gradAccumSteps: 2, maxSteps: 6, ...training };
    const expected = await train(1, {}, { model, extra });
    const { store, values } = await train(2, { verifyEvery: 1 }, { model, extra });
    assert.ok(sameBytes(values, expected.values), name);
    assert.deepEqual(leftBy(store), leftBy(expected.store), name);
  }
});

test('embeddings of which most rows are read are exchanged whole', async () => {
  const expected = await train(1, {}, { model: SMALL });
  for (const shardOptimizer of [false, true]) {
    const { store, values } = await train(3, { shardOptimizer }, { model: SMALL });
    assert.ok(sameBytes(values, expected.values));
    assert.deepEqual(leftBy(store), leftBy(expected.store));
  }
});

test('a run goes on with any number of ranks, sharded or not, and keeps its bits', async () => {
  const store = new MemoryStore();
  for (const [at, ranks] of [3, 1, 2, 6].entries()) {
    const { values } = await train(ranks, { shardOptimizer: at % 2 === 0 }, { store, stopAfter: at + 2 });
    if (at === 3) assert.ok(sameBytes(values, alone.values), 'weights of one process');
  }
  assert.deepEqual(
    Object.keys(leftBy(store)).filter((path) => path.includes('checkpoints/')),
    Object.keys(leftBy(alone.store)).filter((path) => path.includes('checkpoints/')),
  );
});

test('any rank stops all, and asks for a checkpoint, between updates', async () => {
  const store = new MemoryStore();
  const kinds = await Promise.all(
    memoryPeers(3).map(async (peers) => {
      const { trainer } = makeTrainer(store, FIELDS, MODEL, undefined, undefined, { peers });
      const controller = new AbortController();
      const seen: string[] = [];
      await trainer.start();
      for await (const { kind, step } of trainer.run(controller.signal)) {
        seen.push(`${kind} ${step}`);
        if (kind === 'step' && step === 1 && peers.rank === 2) trainer.saveSoon();
        if (kind === 'step' && step === 3 && peers.rank === 1) controller.abort();
      }
      return seen;
    }),
  );
  for (const seen of kinds) assert.deepEqual(seen, kinds[0]);
  assert.deepEqual(
    kinds[0].filter((text) => !/^(step|eval)/.test(text)),
    ['checkpoint 1', 'checkpoint 2', 'checkpoint 2', 'checkpoint 3', 'stopped 3'],
  );
});

test('from the second update on blocks travel while the backward pass runs, the embedding’s rows apart', async () => {
  const during = await Promise.all(
    memoryPeers(2).map(async (peers) => {
      let current = 0;
      let running = () => false;
      const watched: Peers = {
        ...peers,
        exchange(sends, receives) {
          if (running()) current++;
          return peers.exchange(sends, receives);
        },
      };
      const fields = { ...FIELDS, evalInterval: 100, checkpointInterval: 100 };
      const together = { peers: watched };
      const large = { ...MODEL, vocabSize: 4000, nLayer: 1 };
      const { trainer, runtime } = makeTrainer(
        new MemoryStore(),
        fields,
        large,
        undefined,
        undefined,
        together,
      );
      running = () => runtime.rowGradient !== null;
      const seen: number[] = [];
      await trainer.start();
      for await (const { kind } of trainer.run()) {
        if (kind === 'step') seen.push(current);
        current = 0;
      }
      return seen;
    }),
  );
  for (const [first, ...later] of during) {
    assert.equal(first, 0, 'nothing is known of the first pass');
    for (const count of later) assert.ok(count >= 3, `${count} exchanges`);
  }
});

test('weights that differ stop the run, and name the rank', async () => {
  const running = memoryPeers(3).map(async (peers) => {
    const together = { peers, verifyEvery: 2 };
    const { trainer, model, runtime } = makeTrainer(
      new MemoryStore(),
      FIELDS,
      MODEL,
      undefined,
      undefined,
      together,
    );
    await trainer.start();
    for await (const { kind, step } of trainer.run()) {
      if (kind !== 'step' || step !== 1 || peers.rank !== 1) continue;
      runtime.backend.fill(runtime.backend.slice(model.parameters.storage, 5, 1), 0.25);
    }
  });
  await assert.rejects(
    Promise.race(running),
    /TrainingError|step 2: weights must have the same bits on every rank, got others than rank 0's on rank 1/,
  );
});

test('a loss that diverges on one rank stops all, with its first tensor', async () => {
  const running = memoryPeers(2).map(async (peers) => {
    const { trainer, model, runtime } = makeTrainer(new MemoryStore(), FIELDS, MODEL, undefined, undefined, {
      peers,
    });
    await trainer.start();
    for await (const { kind } of trainer.run()) {
      if (kind !== 'eval' || peers.rank !== 1) continue;
      const norm = model.parameters.all.find(({ name }) => name === 'transformer.ln_f.weight')!;
      runtime.backend.fill(norm.storage, Number.NaN);
    }
  });
  await assert.rejects(Promise.race(running), (error: Error) => {
    assert.ok(error instanceof TrainingError);
    assert.match(
      error.message,
      /^step 1 \(rank 1\): the loss must be finite.*first tensor that is not: parameter transformer.ln_f/,
    );
    return true;
  });
});

test('the tree over micro-steps: parts of any rank put together are the whole, in one order', () => {
  assert.deepEqual(halves({ from: 2, to: 7 }), [
    { from: 2, to: 5 },
    { from: 5, to: 7 },
  ]);
  const shape = (n: number, given: (run: Run) => string | undefined) =>
    sumOverTree(n, given, (left, right) => `(${left} ${right})`);
  const leaf = ({ from, to }: Run) => (to - from === 1 ? String(from) : undefined);
  assert.equal(shape(6, leaf), '(((0 1) 2) ((3 4) 5))');
  for (let n = 1; n <= 24; n++) {
    for (let ranks = 1; ranks <= n + 2; ranks++) {
      const held = new Map<string, string>();
      let next = 0;
      for (let rank = 0; rank < ranks; rank++) {
        const own = microStepsOf(rank, ranks, n);
        assert.equal(own.from, next);
        next = own.to;
        for (const run of runsWithin(own, n)) {
          const within = (part: Run) => (part.from >= run.from && part.to <= run.to ? leaf(part) : undefined);
          const text = run.to - run.from === 1 ? leaf(run)! : textOf(run, within);
          held.set(`${run.from} ${run.to}`, text);
        }
      }
      assert.equal(next, n);
      assert.equal(
        shape(n, ({ from, to }) => held.get(`${from} ${to}`)),
        shape(n, leaf),
      );
      if (n % ranks === 0 && (ranks & (ranks - 1)) === 0) assert.equal(held.size, ranks, `${n} on ${ranks}`);
    }
  }
});

function textOf(run: Run, leaf: (run: Run) => string | undefined): string {
  const text = leaf(run);
  if (text !== undefined) return text;
  const [left, right] = halves(run);
  return `(${textOf(left, leaf)} ${textOf(right, leaf)})`;
}

test('of four ranks none holds more than 26 % of the moments of GPT2-124M and GPT2-45M', () => {
  for (const length of [124_439_808, 46_474_752]) {
    const blocks = blocksOf(length);
    for (let rank = 0; rank < 4; rank++) {
      const own = blocks
        .filter((_, i) => ownerOf(i, 4) === rank)
        .reduce((sum, block) => sum + block.length, 0);
      assert.ok(own <= 0.26 * length, `rank ${rank}: ${own} of ${length}`);
    }
  }
});

test('numbers and texts of every rank reach every rank', async () => {
  const texts = ['', 'ä€😀', 'x'.repeat(70_000)];
  await Promise.all(
    memoryPeers(3).map(async (peers) => {
      assert.deepEqual(await gatherTexts(peers, texts[peers.rank]), texts);
      const numbers = await gatherNumbers(peers, [peers.rank, Number.NaN]);
      assert.deepEqual(
        numbers.map((of) => of[0]),
        [0, 1, 2],
      );
    }),
  );
});
