/** Weights of which only the packing is kept: the products of those that are kept whole, bit for bit. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Backend, PACKED_COLUMNS, type Storage } from '../../src/backend/backend.js';
import { NativeBackend } from '../../src/backend/native/native.js';
import { BackendError, ShapeError } from '../../src/errors.js';
import { delayed, onEngine, setIsa, webgpu } from '../engines.js';
import { assertSameBits, isas, native, nativeBf16, onEveryIsa, upload, values } from './helpers.js';

const int8 = onEngine(new NativeBackend('bf16', true));
const ENGINES = { f32: native, bf16: nativeBf16, int8 };
const skip = (delayed || webgpu !== null) && 'this engine keeps weights as they are';

/** Packs rows of a weight (N, K), of which products read the transpose, some at a time. */
function packedRows(backend: Backend, weight: Float32Array, K: number, step: number): Storage {
  const N = weight.length / K;
  const packed = backend.packer!.allocate(K, N, true);
  for (let first = 0; first < N; first += step) {
    const rows = upload(backend, weight.slice(first * K, (first + step) * K));
    backend.packer!.pack(packed, first, rows);
    backend.free(rows);
  }
  return packed;
}

for (const [name, backend] of Object.entries(ENGINES)) {
  test(`${name}: packed piece by piece or whole, products have the same bits`, { skip }, async () => {
    await onEveryIsa(async (isa) => {
      for (const [R, K, N] of [
        [1, 70, 300],
        [5, 33, 128],
        [20, 130, 65],
      ]) {
        const [x, bias] = [upload(backend, values(1, R * K)), upload(backend, values(3, N))];
        const weight = values(2, K * N);
        const whole = upload(backend, weight);
        const outs = [0, 1, 2].map(() => backend.allocate('f32', R * N));
        const read = (i: number) => backend.read(outs[i]);
        const linear = backend.packer!.allocate(K, N, false);
        assert.equal(linear.length, K * N);
        backend.packer!.pack(linear, 0, whole);
        for (const [i, w] of [whole, linear].entries()) {
          backend.linearForward({ out: outs[i], inp: x, weight: w, bias, R, K, N });
        }
        assertSameBits(await read(1), await read(0), `${isa}, linear ${R}×${K}×${N}`);
        const heads = [PACKED_COLUMNS, 2 * PACKED_COLUMNS].map((step) =>
          packedRows(backend, weight, K, step),
        );
        for (const [i, w] of [whole, ...heads].entries()) {
          backend.logits({ out: outs[i], inp: x, weight: w, R, C: K, V: N });
        }
        for (const i of [1, 2]) assertSameBits(await read(i), await read(0), `${isa}, logits ${R}×${K}×${N}`);
        const targets = upload(backend, new Int32Array(R));
        for (const [i, w] of [whole, heads[0]].entries()) {
          const loss = backend.slice(outs[i], 0, R);
          const rest = { argmax: null, maxProb: null, targets, R, C: K, V: N };
          backend.headForward({ loss, inp: x, weight: w, ...rest });
        }
        assertSameBits(await read(1), await read(0), `${isa}, loss ${R}×${K}×${N}`);
        for (const storage of [x, bias, whole, linear, targets, ...heads, ...outs]) backend.free(storage);
      }
    });
  });
}

test('nothing else can be done with such a weight', { skip }, async () => {
  const [K, N] = [8, 192];
  const { packer } = native;
  const head = packer!.allocate(K, N, true);
  const rows = upload(native, values(1, K * N));
  packer!.pack(head, 0, rows);
  const out = native.allocate('f32', N);
  const inp = upload(native, values(2, K));
  const kept = /must be given a weight whose values are kept, not its packing alone/;
  await assert.rejects(native.read(head), { name: 'BackendError', message: kept });
  assert.throws(() => native.write(head, new Float32Array(1)), { name: 'BackendError', message: kept });
  assert.throws(() => native.slice(head, 0, 1), { name: 'BackendError', message: kept });
  assert.throws(
    () => native.linearForward({ out, inp, weight: head, bias: null, R: 1, K, N }),
    (error: BackendError) => {
      assert.match(
        error.message,
        /'weight' must be packed as \(8, 192\) in f32 for \S+, got '\(8, 192\) of its transpose/,
      );
      return true;
    },
  );
  assert.throws(() => packer!.pack(head, 10, native.slice(rows, 0, PACKED_COLUMNS * K)), ShapeError);
  assert.throws(() => packer!.pack(head, 128, native.slice(rows, 0, 2 * PACKED_COLUMNS * K)), ShapeError);
  assert.throws(() => packer!.pack(rows, 0, rows), BackendError);
  if (isas.length > 1) {
    try {
      setIsa(isas[1]);
      assert.throws(() => native.logits({ out, inp, weight: head, R: 1, C: K, V: N }), BackendError);
    } finally {
      setIsa(isas[0]);
    }
  }
  native.free(head);
});
