/** What an update of one block looped twice costs the WebGPU engine, counted: dispatches, bytes bound, memory. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NativeBackend } from '../../src/backend/native/native.js';
import { openNodeWebGpu } from '../../src/node/webgpu.js';
import { updateCosts } from '../counted.js';
import { whyNoWebGpu } from '../webgpu.js';

const skip = await whyNoWebGpu();
/** Micro-steps of an update. */
const gradAccumSteps = 2;
const fields = (blockSize: number, batchSize: number) => ({
  model: { depth: 'loop', nLayer: 1, nLoop: 2, nHead: 2, nEmbd: 64, blockSize, vocabSize: 256 },
  train: { batchSize, gradAccumSteps },
});

// Workgroups are slow here: a smaller update has as many calls. What every engine holds beside a model's memory is much
// of the smaller one's.
for (const [teams, update, mostMemory] of [
  [false, fields(128, 4), 1.1],
  [true, fields(32, 2), 1.5],
] as const) {
  const who = teams ? 'workgroups that share memory' : 'threads alone';
  test(`an update by ${who} costs little more than its kernels must`, { skip }, async (t) => {
    const native = await updateCosts(new NativeBackend('f32'), update);
    const found = await updateCosts(await openNodeWebGpu({ teams }), update);
    assert.equal(found.calls, native.calls);
    const ratios = {
      dispatches: found.dispatches / found.calls,
      bytes: found.boundBytes / found.bytes,
      memory: found.peakBytes / native.peakBytes,
    };
    t.diagnostic(JSON.stringify({ ...found, ratios }));
    assert.ok(ratios.dispatches <= 1.3, `${found.dispatches} dispatches for ${found.calls} kernel calls`);
    assert.ok(ratios.bytes <= 1.5, `${found.boundBytes} bytes bound, ${found.bytes} needed`);
    assert.ok(
      ratios.memory <= mostMemory,
      `${found.peakBytes} bytes held, ${native.peakBytes} by the native engine`,
    );
    assert.ok(found.submissions <= gradAccumSteps + 1, `${found.submissions} submissions`);
    assert.equal(found.reads, 1);
  });
}
