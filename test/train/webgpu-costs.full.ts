/** What an update of one block looped twice costs the WebGPU engine, counted: dispatches, bytes bound, memory. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NativeBackend } from '../../src/backend/native/native.js';
import { openNodeWebGpu } from '../../src/node/webgpu.js';
import { updateCosts } from '../counted.js';
import { whyNoWebGpu } from '../webgpu.js';

const skip = await whyNoWebGpu();
const model = { depth: 'loop', nLayer: 1, nLoop: 2, nHead: 2, nEmbd: 64, blockSize: 128, vocabSize: 256 };
/** Micro-steps of an update. */
const gradAccumSteps = 2;
const fields = { model, train: { batchSize: 4, gradAccumSteps } };

for (const teams of [false, true]) {
  const who = teams ? 'workgroups that share memory' : 'threads alone';
  test(`an update by ${who} costs little more than its kernels must`, { skip }, async (t) => {
    const native = await updateCosts(new NativeBackend('f32'), fields);
    const found = await updateCosts(await openNodeWebGpu({ teams }), fields);
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
      ratios.memory <= 1.1,
      `${found.peakBytes} bytes held, ${native.peakBytes} by the native engine`,
    );
    assert.ok(found.submissions <= gradAccumSteps + 1, `${found.submissions} submissions`);
    assert.equal(found.reads, 1);
  });
}
