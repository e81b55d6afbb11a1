/** Products with weights in int8: those of the rounded weights, on every instruction set, with any number of threads. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createBackend } from '../../src/node/backend.js';
import { NativeBackend } from '../../src/backend/native/native.js';
import { ConfigError } from '../../src/errors.js';
import { onEngine, setIsa, setThreads } from '../engines.js';
import { isas, onEveryIsa, reference, upload, values } from './helpers.js';

const int8 = onEngine(new NativeBackend('f32', true));
const GROUP = 64;

/** B (K, N) as int8 has it: integers times the scale of their group of 64 along k. */
function rounded(weight: Float32Array, K: number, N: number): Float32Array {
  const out = weight.slice();
  for (let n = 0; n < N; n++) {
    for (let k0 = 0; k0 < K; k0 += GROUP) {
      const own = Array.from({ length: Math.min(GROUP, K - k0) }, (_, i) => (k0 + i) * N + n);
      const largest = Math.max(...own.map((i) => Math.abs(weight[i])));
      const scale = Math.fround(largest / 127);
      const inverse = largest > 0 ? Math.fround(127 / largest) : 0;
      for (const i of own) {
        const x = Math.fround(weight[i] * inverse);
        const whole = Math.round(x);
        const even = Math.abs(x - Math.trunc(x)) === 0.5 && whole % 2 !== 0 ? whole - 1 : whole;
        out[i] = Math.max(-127, Math.min(127, even)) * scale;
      }
    }
  }
  return out;
}

function transposed(x: Float32Array, rows: number, cols: number): Float32Array {
  return Float32Array.from(x, (_, i) => x[(i % rows) * cols + Math.floor(i / rows)]);
}

const SHAPES = [
  [1, 1, 1],
  [1, 64, 32],
  [2, 63, 33],
  [3, 65, 31],
  [5, 130, 257],
  [7, 768, 100],
  [20, 100, 70],
  [61, 33, 300],
];

test('linear layers and logits are those of the rounded weights', async () => {
  for (const isa of isas) {
    setIsa(isa);
    for (const [R, K, N] of SHAPES) {
      const [inp, weight, bias] = [values(1, R * K), values(2, K * N), values(3, N)];
      const plain = rounded(weight, K, N);
      const expected = reference.allocate('f32', R * N);
      const up = (x: Float32Array) => upload(reference, x);
      reference.linearForward({ out: expected, inp: up(inp), weight: up(plain), bias: up(bias), R, K, N });
      const want = (await reference.read(expected)) as Float32Array;
      const got = int8.allocate('f32', R * N);
      const on = (x: Float32Array) => upload(int8, x);
      int8.linearForward({ out: got, inp: on(inp), weight: on(weight), bias: on(bias), R, K, N });
      close((await int8.read(got)) as Float32Array, want, `${isa} ${R}×${K}×${N}`);
      // The head is a weight (V, C) read along C.
      reference.logits({ out: expected, inp: up(inp), weight: up(transposed(plain, K, N)), R, C: K, V: N });
      int8.logits({ out: got, inp: on(inp), weight: on(transposed(weight, K, N)), R, C: K, V: N });
      const logits = (await reference.read(expected)) as Float32Array;
      close((await int8.read(got)) as Float32Array, logits, `${isa} logits ${R}×${K}×${N}`);
    }
  }
});

function close(got: Float32Array, want: Float32Array, label: string): void {
  const size = Math.sqrt(want.reduce((sum, x) => sum + x * x, 0) / want.length) + 1e-3;
  for (let i = 0; i < want.length; i++) {
    assert.ok(Math.abs(got[i] - want[i]) <= 2e-5 * size, `${label}: [${i}] is ${got[i]}, not ${want[i]}`);
  }
}

test('the loss, the most probable token and its probability come from the same logits', async () => {
  const [R, C, V] = [9, 70, 90];
  const [inp, weight] = [values(4, R * C), values(5, V * C)];
  const targets = Int32Array.from({ length: R }, (_, r) => (r === 3 ? -1 : (r * 17) % V));
  const ids = int8.allocate('i32', R);
  int8.write(ids, targets);
  const [loss, top, y] = [R, R, R * V].map((n) => int8.allocate('f32', n));
  const best = int8.allocate('i32', R);
  const dims = { R, C, V };
  const [x, w] = [upload(int8, inp), upload(int8, weight)];
  int8.headForward({ loss, argmax: best, maxProb: top, inp: x, weight: w, targets: ids, ...dims });
  int8.logits({ out: y, inp: x, weight: w, ...dims });
  const logits = (await int8.read(y)) as Float32Array;
  const [losses, tops, bests] = [await int8.read(loss), await int8.read(top), await int8.read(best)];
  for (let r = 0; r < R; r++) {
    const row = logits.subarray(r * V, r * V + V);
    const max = Math.max(...row);
    const total = row.reduce((sum, z) => sum + Math.exp(z - max), 0);
    const expected = targets[r] < 0 ? 0 : Math.log(total) + max - row[targets[r]];
    assert.ok(Math.abs(losses[r] - expected) < 1e-5, `loss ${r}`);
    assert.equal(bests[r], row.indexOf(max));
    assert.ok(Math.abs(tops[r] - 1 / total) < 1e-6, `probability ${r}`);
  }
});

test('a weight that is not finite makes no finite product', async () => {
  const [K, N] = [100, 20];
  for (const value of [Number.NaN, Number.POSITIVE_INFINITY]) {
    const weight = values(9, K * N);
    weight[70 * N + 3] = value;
    const out = int8.allocate('f32', N);
    int8.linearForward({
      out,
      inp: upload(int8, values(10, K)),
      weight: upload(int8, weight),
      bias: null,
      R: 1,
      K,
      N,
    });
    const got = await int8.read(out);
    for (const [n, y] of got.entries())
      assert.equal(Number.isFinite(y), n !== 3, `${value}: column ${n} is ${y}`);
  }
});

test('a row’s bits depend on neither the other rows nor the threads', async () => {
  const [R, K, N] = [61, 200, 300];
  const [inp, weight, bias] = [values(6, R * K), values(7, K * N), values(8, N)];
  await onEveryIsa(async () => {
    const [w, b] = [upload(int8, weight), upload(int8, bias)];
    const product = async (rows: Float32Array, threads: number) => {
      await setThreads(threads);
      const out = int8.allocate('f32', (rows.length / K) * N);
      int8.linearForward({ out, inp: upload(int8, rows), weight: w, bias: b, R: rows.length / K, K, N });
      return (await int8.read(out)) as Float32Array;
    };
    const whole = await product(inp, 1);
    for (const threads of [2, 3]) assert.deepEqual(await product(inp, threads), whole);
    for (const [from, to] of [
      [0, 1],
      [7, 9],
      [50, 61],
    ]) {
      const part = await product(inp.slice(from * K, to * K), 2);
      assert.deepEqual(part, whole.slice(from * N, to * N), `rows ${from} to ${to}`);
    }
  });
});

test('a weight that was written to is packed anew', async () => {
  const [K, N] = [3, 2];
  const weight = upload(int8, values(1, K * N));
  const out = int8.allocate('f32', N);
  const inp = upload(int8, Float32Array.of(1, 1, 1));
  const product = () => int8.linearForward({ out, inp, weight, bias: null, R: 1, K, N });
  product();
  int8.write(weight, new Float32Array(K * N).fill(2));
  product();
  assert.deepEqual(await int8.read(out), Float32Array.of(6, 6));
});

test('the reference backend has no int8', async () => {
  await assert.rejects(
    createBackend({ name: 'reference', weights: 'int8' }),
    new ConfigError('weights', 'must be float on the reference backend', 'int8'),
  );
});
