/** Damaged and foreign checkpoints: each is refused with a message that says what is wrong where. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CheckpointError } from '../../src/errors.js';
import { crc32c } from '../../src/formats/crc32c.js';
import { hashWords } from '../../src/random.js';
import { loadWeights, weightsFile } from '../../src/train/checkpoint.js';
import { makeTrainer, MemoryStore, runAll } from './helpers.js';
import { parseSafetensors, serializeSafetensors, type WritableTensor } from '../formats/safetensors-bytes.js';

const LAST = 'checkpoints/last-0000003';

/** A store with a checkpoint at step 3, and the paths of its files; without checksums, as former versions wrote it. */
async function trained() {
  const store = new MemoryStore();
  await runAll(makeTrainer(store, { maxSteps: 3 }).trainer);
  assert.ok(store.files.delete(`${LAST}/checksums.json`));
  return { store, weights: `${LAST}/model.safetensors`, state: `${LAST}/state.json` };
}

async function refused(store: MemoryStore, message: RegExp): Promise<void> {
  await assert.rejects(makeTrainer(store).trainer.start(), (error: Error) => {
    assert.ok(error instanceof CheckpointError, error.stack);
    assert.match(error.message, message);
    return true;
  });
}

/** Writes the weights again after a change. */
function rewrite(
  store: MemoryStore,
  path: string,
  change: (tensors: WritableTensor[]) => WritableTensor[],
): void {
  const tensors = [...parseSafetensors(store.files.get(path)!, path)].map(([name, tensor]) => {
    assert.ok(tensor.data instanceof Float32Array);
    return { name, dtype: 'F32' as const, shape: tensor.shape, data: tensor.data };
  });
  store.files.set(path, new Uint8Array(Buffer.concat(serializeSafetensors(change(tensors)))));
}

test('a truncated file is refused', async () => {
  const { store, weights } = await trained();
  const bytes = store.files.get(weights)!;
  store.files.set(weights, bytes.slice(0, bytes.length - 100));
  await refused(store, /checkpoints\/last-0000003\/model\.safetensors/);
  store.files.set(weights, bytes.slice(0, 5));
  await refused(store, /model\.safetensors/);
});

test('a header longer than the file is refused', async () => {
  const { store, weights } = await trained();
  const bytes = store.files.get(weights)!.slice();
  bytes[7] = 1;
  store.files.set(weights, bytes);
  await refused(store, /model\.safetensors.*header/);
});

test('a missing tensor, a foreign one, a wrong shape and a wrong dtype are named', async () => {
  const { store, weights } = await trained();
  const intact = store.files.get(weights)!;
  rewrite(store, weights, (tensors) => tensors.filter(({ name }) => name !== 'transformer.ln_f.weight'));
  await refused(store, /must hold tensor transformer\.ln_f\.weight of shape \(12\)/);

  store.files.set(weights, intact);
  rewrite(store, weights, (all) => [
    ...all,
    { name: 'extra', dtype: 'F32', shape: [1], data: new Float32Array(1) },
  ]);
  await refused(store, /tensor extra: is not part of this model/);

  store.files.set(weights, intact);
  rewrite(store, weights, (tensors) =>
    tensors.map((t) => (t.name === 'transformer.gates' ? { ...t, shape: [12, 2] } : t)),
  );
  await refused(store, /tensor transformer\.gates: must have shape \(2, 12\), got \(12, 2\)/);

  store.files.set(weights, intact);
  rewrite(store, weights, (tensors) =>
    tensors.map((t) =>
      t.name === 'transformer.gates' ? { ...t, dtype: 'I32', data: new Int32Array(t.data.length) } : t,
    ),
  );
  await refused(store, /tensor transformer\.gates: must have dtype F32, got 'I32'/);
});

test('a missing file and a damaged state are refused', async () => {
  const { store, weights, state } = await trained();
  const intact = store.files.get(state)!;
  store.files.set(state, new TextEncoder().encode('{"step": 3'));
  await refused(store, /state\.json: must be JSON/);
  store.files.set(state, intact);
  store.files.delete(weights);
  await refused(store, /model\.safetensors: could not be read/);
  store.files.delete(state);
  await refused(store, /state\.json: could not be read/);
});

test('every field of a state has its type and range, and its step is the folder’s', async () => {
  const { store, state } = await trained();
  const intact = JSON.parse(store.text(state));
  const fields = ['step', 'tokensSeen', 'bestValLoss', 'bestLoops', 'evaluatedAt', 'savedAt'];
  assert.deepEqual(Object.keys(intact), fields);
  const wrong: [object, RegExp][] = [
    [{ step: 'three' }, /step must be a whole number of at least 0, got 'three'/],
    [{ step: 4 }, /step must be 3, as its folder is named, got 4/],
    [{ step: -1 }, /step must be a whole number of at least 0, got -1/],
    [{ tokensSeen: 1.5 }, /tokensSeen must be a whole number of at least 0, got 1\.5/],
    [{ tokensSeen: -48 }, /tokensSeen must be a whole number of at least 0, got -48/],
    [{ tokensSeen: null }, /tokensSeen must be a whole number of at least 0, got null/],
    [{ bestValLoss: '3.4' }, /bestValLoss must be a loss of at least 0, or null, got '3\.4'/],
    [{ bestValLoss: -3.4 }, /bestValLoss must be a loss of at least 0, or null, got -3\.4/],
    [{ bestValLoss: undefined }, /bestValLoss must be a loss of at least 0, or null/],
    [{ bestLoops: 0 }, /bestLoops must be a whole number of at least 1, or null, got 0/],
    [{ evaluatedAt: -2 }, /evaluatedAt must be a whole number of at least -1, got -2/],
    [{ evaluatedAt: 4 }, /evaluatedAt must be at most its step, 3, got 4/],
    [{ savedAt: 4 }, /savedAt must be at most its step, 3, got 4/],
    [{ savedAt: undefined }, /savedAt must be a whole number of at least -1/],
  ];
  for (const [change, message] of wrong) {
    store.files.set(state, new TextEncoder().encode(JSON.stringify({ ...intact, ...change })));
    await refused(store, new RegExp(`^${LAST}/state\\.json: ${message.source}`));
  }
  store.files.set(state, new TextEncoder().encode('[]'));
  await refused(store, /state\.json: step must be a whole number/);
  store.files.set(state, new TextEncoder().encode(JSON.stringify(intact)));
  await makeTrainer(store).trainer.start();
});

/** Flips a bit. */
function flip(store: MemoryStore, path: string, bit: number): void {
  const bytes = store.files.get(path)!.slice();
  bytes[bit >> 3] ^= 1 << (bit & 7);
  store.files.set(path, bytes);
}

test('a checkpoint lists the size and CRC-32C of its files', async () => {
  const store = new MemoryStore();
  await runAll(makeTrainer(store, { maxSteps: 3 }).trainer);
  const { files } = JSON.parse(store.text(`${LAST}/checksums.json`));
  assert.deepEqual(Object.keys(files), ['model.safetensors', 'optimizer.safetensors', 'state.json']);
  for (const [name, sum] of Object.entries(files)) {
    const bytes = store.files.get(`${LAST}/${name}`)!;
    assert.deepEqual(sum, { bytes: bytes.length, crc32c: crc32c(bytes).toString(16).padStart(8, '0') });
  }
});

test('whatever bit of a checkpoint is flipped, it is not trained on, and the one to go back to is named', async () => {
  const store = new MemoryStore();
  await runAll(makeTrainer(store, { maxSteps: 8 }).trainer); // best at 8, or before
  const [best] = (await store.list('checkpoints')).filter((name) => name.startsWith('best-'));
  const folder = 'checkpoints/last-0000008';
  const step = Number(best.split('-')[1]);
  const wayOut = `move ${folder} away and try again from the checkpoint of step ${step}`;
  for (const name of ['model.safetensors', 'optimizer.safetensors', 'state.json']) {
    const path = `${folder}/${name}`;
    const intact = store.files.get(path)!;
    const bits = 8 * intact.length;
    // In the length of the header, in the header, in the first and in the last value, and in between.
    for (const bit of [
      3,
      100,
      bits - 1,
      ...Array.from({ length: 12 }, (_, i) => hashWords(i, bits) % bits),
    ]) {
      flip(store, path, bit);
      await refused(
        store,
        new RegExp(
          `^${path}: must hold the ${intact.length} bytes with CRC-32C [0-9a-f]{8} in checksums\\.json, ` +
            `got '${intact.length} bytes with CRC-32C [0-9a-f]{8}'; it is damaged: ${wayOut}$`,
        ),
      );
      store.files.set(path, intact);
    }
    store.files.delete(path);
    await refused(store, new RegExp(`^${path}: could not be read .*; it is damaged: ${wayOut}`));
    store.files.set(path, intact);
  }
  const list = `${folder}/checksums.json`;
  const intact = store.files.get(list)!;
  for (const [damage, message] of [
    ['{"files": {', 'must hold the size and crc32c of each file of its folder'],
    ['{"files": {"model.safetensors": {"bytes": 1, "crc32c": 7}}}', 'must hold the size and crc32c'],
    ['{}', 'must hold the size and crc32c of each file of its folder'],
  ]) {
    store.files.set(list, new TextEncoder().encode(damage));
    await refused(store, new RegExp(`^${list}: ${message}.*; it is damaged: ${wayOut}`));
  }
  store.files.set(list, new TextEncoder().encode('{"files": {}}'));
  await refused(store, /state\.json: must be one of the files in checksums\.json/);
  store.files.set(list, intact);
  // The way out leads on.
  for (const name of store.files.keys()) if (name.startsWith(folder)) store.files.delete(name);
  const { trainer } = makeTrainer(store);
  await trainer.start();
  assert.equal(trainer.step, step);
});

test('damaged weights are not loaded, one tensor or all, and no damaged checkpoint is recommended', async () => {
  const store = new MemoryStore();
  await runAll(makeTrainer(store, { maxSteps: 3 }).trainer);
  const { model } = makeTrainer(store);
  const weights = 'checkpoints/best-0000003/model.safetensors';
  flip(store, weights, 8 * 5000);
  const wayOut = 'move checkpoints/best-0000003 away and try again from the checkpoint of step 3';
  const message = new RegExp(`^${weights}: must hold the .* it is damaged: ${wayOut}$`);
  await assert.rejects(loadWeights(store, model), { name: 'CheckpointError', message });
  await assert.rejects(weightsFile(store), { name: 'CheckpointError', message });
  flip(store, `${LAST}/optimizer.safetensors`, 77);
  const none = /it is damaged: there is no other checkpoint to go back to$/;
  await assert.rejects(loadWeights(store, model), { message: none });
  await assert.rejects(weightsFile(store), { message: none });
  // The checkpoint of a former version can not be checked.
  store.files.delete('checkpoints/best-0000003/checksums.json');
  assert.equal((await loadWeights(store, model)).step, 3);
  assert.equal((await weightsFile(store)).path, weights);
});

test('the latest checkpoint is the one with the most steps, of eight digits too', async () => {
  const store = new MemoryStore();
  await runAll(makeTrainer(store, { maxSteps: 3 }).trainer);
  for (const step of [9_999_999, 10_000_000]) {
    for (const name of ['model', 'optimizer']) {
      const file = `${name}.safetensors`;
      store.files.set(`checkpoints/last-${step}/${file}`, store.files.get(`${LAST}/${file}`)!);
    }
    const state = { ...JSON.parse(store.text(`${LAST}/state.json`)), step };
    store.files.set(`checkpoints/last-${step}/state.json`, new TextEncoder().encode(JSON.stringify(state)));
  }
  const { trainer } = makeTrainer(store);
  await trainer.start();
  assert.equal(trainer.step, 10_000_000);
});

test('only the newest checkpoint of each kind is kept', async () => {
  const store = new MemoryStore();
  await runAll(makeTrainer(store).trainer);
  const folders = await store.list('checkpoints');
  assert.deepEqual(folders.map((name) => name.split('-')[0]).sort(), ['best', 'last']);
  assert.ok(folders.includes('last-0000012'));
});
