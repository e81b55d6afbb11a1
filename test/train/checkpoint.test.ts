/** Damaged and foreign checkpoints: each is refused with a message that says what is wrong where. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CheckpointError } from '../../src/errors.js';
import { makeTrainer, MemoryStore, runAll } from './helpers.js';
import { parseSafetensors, serializeSafetensors, type WritableTensor } from '../formats/safetensors-bytes.js';

/** A store with a checkpoint at step 3, and the paths of its files. */
async function trained() {
  const store = new MemoryStore();
  await runAll(makeTrainer(store, { maxSteps: 3 }).trainer);
  return {
    store,
    weights: store.path('last-0000003/model.safetensors'),
    state: store.path('last-0000003/state.json'),
  };
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
  store.files.set(state, new TextEncoder().encode('{"step": "three"}'));
  await refused(store, /state\.json: step must be a whole number, got 'three'/);
  store.files.set(state, intact);
  store.files.delete(weights);
  await refused(store, /model\.safetensors: could not be read/);
  store.files.delete(state);
  await refused(store, /state\.json: could not be read/);
});

test('only the newest checkpoint of each kind is kept', async () => {
  const store = new MemoryStore();
  await runAll(makeTrainer(store).trainer);
  const folders = await store.list('checkpoints');
  assert.deepEqual(folders.map((name) => name.split('-')[0]).sort(), ['best', 'last']);
  assert.ok(folders.includes('last-0000012'));
});
