/**
 * The text of the WebGPU engine's programs in f16 and with subgroups, which SwiftShader has not or seldom: Dawn's
 * adapter without a driver compiles them and runs nothing.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openNodeWebGpu } from '../../src/node/webgpu.js';
import { whyNoWebGpu } from '../webgpu.js';

const skip = await whyNoWebGpu();

const WHO = {
  'threads alone': { teams: false },
  teams: { teams: true },
  // The lanes are those of the adapter without a driver.
  'matrix units': { teams: true, matrices: { M: 16, N: 16, K: 16, lanes: 128 } },
};

for (const [who, options] of Object.entries(WHO)) {
  test(`programs compile in f16 for ${who}`, { skip }, async () => {
    const flags = process.env.LOOPNN_WEBGPU_FLAGS;
    process.env.LOOPNN_WEBGPU_FLAGS = 'backend=null enable-dawn-features=allow_unsafe_apis';
    const backend = await openNodeWebGpu({ precision: 'f16', ...options });
    if (flags === undefined) delete process.env.LOOPNN_WEBGPU_FLAGS;
    else process.env.LOOPNN_WEBGPU_FLAGS = flags;
    assert.equal(backend.precision, 'f16');
    assert.ok(backend.engine.device.features.has('shader-f16'));
    const floats = (length: number) => backend.allocate('f32', length);
    const ids = (length: number) => backend.allocate('i32', length);
    for (const [R, K, N] of [
      [64, 64, 64],
      [33, 31, 17],
    ]) {
      const [inp, weight, dout] = [floats(R * K), floats(K * N), floats(R * N)];
      backend.linearForward({ out: floats(R * N), inp, weight, bias: floats(N), R, K, N });
      backend.linearBackwardInput({ dinp: floats(R * K), dout, weight, R, K, N, accumulate: true });
      backend.linearBackwardWeight({ dweight: floats(K * N), dbias: floats(N), dout, inp, R, K, N });
      const head = { loss: floats(R), argmax: ids(R), maxProb: floats(R), inp, targets: ids(R) };
      const rest = {
        weight: floats(N * K),
        rowWeights: floats(R),
        dinp: floats(R * K),
        dweight: floats(N * K),
      };
      backend.headForwardBackward({ ...head, ...rest, R, C: K, V: N });
    }
    for (const HS of [16, 5]) {
      const dims = { NH: 4, KV: 2, HS };
      const [B, T] = [2, 9];
      const qkv = floats(B * T * 8 * HS);
      const [out, lse] = [floats(B * T * 4 * HS), floats(B * 4 * T)];
      backend.attentionForward({ out, lse, qkv, rows: null, dropout: null, B, T, ...dims });
      const [dqkv, dout] = [floats(qkv.length), floats(out.length)];
      const given = { dqkv, dout, out, lse, qkv, dropout: null, accumulate: false };
      backend.attentionBackward({ ...given, B, T, ...dims });
      const cache = floats(backend.cachePageLength(2, HS));
      const table = ids(3);
      backend.cachedAttention({ out, cache, qkv, table, rows: null, R: B * T, S: 1, width: 3, ...dims });
    }
    await backend.engine.recorder.done();
  });
}
