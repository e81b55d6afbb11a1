/**
 * Graves's parity test: its inputs, the gradient of the pondering network, and what is claimed of it, on a small scale.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  type ParityBatch,
  ParityNet,
  type ParitySettings,
  parityBatch,
  trainParity,
} from '../../src/experiments/parity.js';
import { createBackend } from '../../src/node/backend.js';
import { Tape } from '../../src/tensor/tape.js';
import { Runtime } from '../../src/tensor/tensor.js';
import { doubleRuntime, read } from '../tensor/helpers.js';

const SMALL: ParitySettings = {
  size: 5,
  hidden: 12,
  maxPonder: 10,
  ponderCost: 5e-4,
  batchSize: 32,
  maxSteps: 1500,
  lr: 0.02,
  seed: 2,
  evalSamples: 500,
};

const floatRuntime = async () => new Runtime(await createBackend({ precision: 'f32', onWarning: () => {} }));

function rowsOf({ x, targets }: ParityBatch, size: number): number[][] {
  return Array.from(targets, (_, r) => Array.from(x.subarray(r * size, (r + 1) * size)));
}

test('inputs have k elements of ±1 and the parity of the +1 as their class', () => {
  const counts = new Array<number>(8).fill(0);
  const batch = parityBatch(7, 4000, 1, 1);
  for (const [r, row] of rowsOf(batch, 7).entries()) {
    assert.ok(row.every((v) => v === 0 || v === 1 || v === -1));
    assert.equal(batch.targets[r], row.filter((v) => v === 1).length % 2);
    counts[row.filter((v) => v !== 0).length]++;
  }
  assert.equal(counts[0], 0);
  for (const n of counts.slice(1)) assert.ok(Math.abs(n - 4000 / 7) < 110, `k is not uniform: ${counts}`);
  for (const row of rowsOf(parityBatch(7, 50, 1, 0, 3), 7))
    assert.equal(row.filter((v) => v !== 0).length, 3);
  assert.deepEqual(parityBatch(7, 9, 1, 5), parityBatch(7, 9, 1, 5));
  assert.notDeepEqual(parityBatch(7, 9, 1, 5), parityBatch(7, 9, 1, 6));
});

test('the gradient of loss and ponder cost is that of finite differences', async () => {
  const runtime = doubleRuntime();
  const { backend, pool } = runtime;
  const settings = { ...SMALL, size: 3, hidden: 5, maxPonder: 6, ponderCost: 0.3 };
  const net = new ParityNet(runtime, settings);
  const batch = parityBatch(3, 9, 4, 1);
  // Halting units that open and close with the state, so that inputs stop at different steps.
  for (const p of net.parameters.all) {
    if (p.name === 'halting.weight') backend.write(p.storage, new Float64Array([2, -1, 1, -2, 1]));
    if (p.name === 'halting.bias') backend.fill(p.storage, -0.5);
  }
  const total = async () => {
    const { losses, argmax, steps, ponder } = net.forward(batch);
    const values = [await read(losses), (await read(ponder)).map((rho) => settings.ponderCost * rho)];
    const stops = Array.from(await steps.read());
    for (const x of [losses, argmax, steps, ponder]) x.dispose();
    return { stops, value: values.flatMap((v) => [...v]).reduce((sum, v) => sum + v, 0) / 9 };
  };
  const { stops } = await total();
  assert.ok(new Set(stops).size > 2, `stops ${stops}`);

  const tape = new Tape(runtime);
  const output = runtime.recording(tape, () => net.forward(batch));
  tape.backward();
  for (const x of Object.values(output)) x.dispose();
  assert.equal(pool.live, 0, 'buffers left over');

  const h = 1e-6;
  for (const p of net.parameters.all) {
    const gradient = await backend.read(p.gradient!);
    const values = await read(p);
    for (let i = 0; i < values.length; i++) {
      const at = async (x: number) => {
        const moved = values.slice();
        moved[i] = x;
        backend.write(p.storage, moved);
        const result = await total();
        assert.deepEqual(result.stops, stops, `${p.name}[${i}]: a step count jumped`);
        return result.value;
      };
      const numeric = ((await at(values[i] + h)) - (await at(values[i] - h))) / (2 * h);
      backend.write(p.storage, values);
      assert.ok(
        Math.abs(gradient[i] - numeric) < 1e-7 * Math.max(1, Math.abs(numeric)),
        `${p.name}[${i}]: gradient ${gradient[i]}, finite difference ${numeric}`,
      );
    }
  }
});

test('ACT learns parity where the same network with one step does not', async () => {
  const runtime = await floatRuntime();
  const one = await trainParity({ ...SMALL, maxPonder: 1 }, runtime);
  const act = await trainParity(SMALL, runtime);
  assert.ok(act.overall.error < 0.02, `ACT: error ${act.overall.error}`);
  assert.ok(one.overall.error > 0.05, `one step: error ${one.overall.error}`);
  assert.equal(one.overall.ponderSteps, 1);
  assert.ok(act.overall.ponderSteps > 1.5 && act.overall.ponderSteps < SMALL.maxPonder);
  assert.equal(runtime.pool.live, 0, 'buffers left over');
});

test('a seed gives the same training again', async () => {
  const settings = { ...SMALL, maxSteps: 60 };
  const [first, again] = [
    await trainParity(settings, await floatRuntime()),
    await trainParity(settings, await floatRuntime()),
  ];
  assert.deepEqual(again.curve, first.curve);
  assert.deepEqual(again.byDifficulty, first.byDifficulty);
});
