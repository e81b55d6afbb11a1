/** The delayed backend: nothing runs before something is read, and what the host handed over is as it was then. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DelayedBackend } from '../../src/backend/delayed.js';
import { ReferenceBackend } from '../../src/backend/reference/reference.js';
import { ShapeError } from '../../src/errors.js';
import { upload } from './helpers.js';

test('kernels run when something is read, in their order', async () => {
  const reference = new ReferenceBackend();
  const ran: string[] = [];
  const watched = new Proxy(reference, {
    get(target, name) {
      if (name === 'accumulate' || name === 'fill') ran.push(String(name));
      return Reflect.get(target, name, target);
    },
  });
  const backend = new DelayedBackend(watched);
  const values = Float32Array.of(1, 2, 3);
  const [out, inp] = [backend.allocate('f32', 3), upload(backend, values)];
  values.fill(100);
  backend.fill(out, 10);
  backend.accumulate({ out, inp });
  backend.fill(inp, 0);
  assert.deepEqual(ran, []);
  assert.deepEqual(Array.from(await backend.read(out)), [11, 12, 13]);
  assert.deepEqual(ran, ['fill', 'accumulate', 'fill']);
});

test('wrong shapes are refused at once', () => {
  const backend = new DelayedBackend(new ReferenceBackend());
  const [two, three] = [2, 3].map((n) => backend.allocate('f32', n));
  assert.throws(
    () => backend.add({ out: two, a: two, b: three }),
    new ShapeError('add', "argument 'b' must hold 2 elements", 3),
  );
  assert.throws(
    () => backend.linearForward({ out: two, inp: two, weight: two, bias: null, R: -1, K: 1, N: 2 }),
    new ShapeError('linearForward', "argument 'R' must be a whole number from 0 to 2147483647", -1),
  );
});
