/** Values that come from elsewhere go into a storage's own memory where that is float32, and count as a write. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ReferenceBackend } from '../../src/backend/reference/reference.js';
import { native, values } from './helpers.js';

for (const backend of [native, new ReferenceBackend('f32'), new ReferenceBackend('f64')]) {
  test(`${backend.name} ${backend.dtype}: a part of a storage receives values, the rest stays`, async () => {
    const whole = backend.allocate(backend.dtype, 10);
    backend.fill(whole, 7);
    await backend.receive(backend.slice(whole, 2, 5), async (into) => {
      assert.ok(into instanceof Float32Array && into.length === 5);
      await null;
      into.set([1, 2, 3, 4, 5]);
    });
    assert.deepEqual([...(await backend.read(whole))], [7, 7, 1, 2, 3, 4, 5, 7, 7, 7]);
  });
}

test('a weight that received other values is packed anew', async () => {
  const dims = { R: 1, K: 3, N: 2 };
  const [weight, inp, out] = [6, 3, 2].map((n) => native.allocate('f32', n));
  native.write(inp, values(1, 3));
  const product = async () => {
    native.linearForward({ out, inp, weight, bias: null, ...dims });
    return [...(await native.read(out))];
  };
  native.write(weight, values(2, 6));
  const first = await product();
  await native.receive(weight, async (into) => into.set(values(3, 6)));
  const second = await product();
  native.write(weight, values(3, 6));
  assert.deepEqual(second, await product());
  assert.notDeepEqual(second, first);
});
