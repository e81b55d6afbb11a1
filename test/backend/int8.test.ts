/**
 * Products with weights in int8: those of the reference, on every instruction set, with any number of threads. Sums of
 * a group are exact, and so there is little that engines may differ in.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Backend } from '../../src/backend/backend.js';
import { NativeBackend } from '../../src/backend/native/native.js';
import { ReferenceBackend } from '../../src/backend/reference/reference.js';
import { createBackend } from '../../src/node/backend.js';
import { compiled, onEngine, setThreads } from '../engines.js';
import {
  type KernelCase,
  assertClose,
  assertSameBits,
  isas,
  onEveryIsa,
  reference,
  run,
  upload,
  values,
} from './helpers.js';

const int8 = onEngine(new NativeBackend('f32', true));
const int8Reference = new ReferenceBackend('f64', true);
/** Float sums over up to 48 groups, of which the reference's are doubles. */
const TOLERANCE = 1e-6;

const SHAPES = [
  [0, 64, 32],
  [1, 1, 1],
  [1, 64, 32],
  [1, 3072, 130],
  [2, 63, 33],
  [3, 65, 31],
  [5, 130, 257],
  [7, 768, 100],
  [8, 128, 64],
  [20, 100, 70],
  [61, 33, 300],
  [70, 200, 40],
];

function linear(R: number, K: number, N: number): KernelCase {
  return {
    label: `linear ${R}×${K}×${N}`,
    arrays: {
      out: new Float32Array(R * N),
      inp: values(1, R * K),
      weight: values(2, K * N),
      bias: values(3, N),
    },
    outputs: ['out'],
    call: (backend, { out, inp, weight, bias }) => backend.linearForward({ out, inp, weight, bias, R, K, N }),
  };
}

/** The head is a weight (V, C) read along C. */
function logits(R: number, C: number, V: number): KernelCase {
  return {
    label: `logits ${R}×${C}×${V}`,
    arrays: { out: new Float32Array(R * V), inp: values(4, R * C), weight: values(5, V * C) },
    outputs: ['out'],
    call: (backend, { out, inp, weight }) => backend.logits({ out, inp, weight, R, C, V }),
  };
}

const CASES = SHAPES.flatMap(([R, K, N]) => [linear(R, K, N), logits(R, K, N)]);

/** A linear layer without bias. */
async function product(
  on: Backend,
  inp: Float32Array,
  weight: Float32Array,
  K: number,
): Promise<Float32Array> {
  const [R, N] = [inp.length / K, weight.length / K];
  const out = on.allocate('f32', R * N);
  on.linearForward({ out, inp: upload(on, inp), weight: upload(on, weight), bias: null, R, K, N });
  return (await on.read(out)) as Float32Array;
}

test('linear layers and logits are those of the reference', async () => {
  const wanted: Record<string, Float32Array>[] = [];
  for (const each of CASES) wanted.push((await run(int8Reference, each)) as Record<string, Float32Array>);
  await onEveryIsa(async (isa) => {
    for (const [i, each] of CASES.entries()) {
      const { out } = await run(int8, each);
      assertClose(out, wanted[i].out, TOLERANCE, `${each.label} on ${isa}`);
    }
  });
});

test('instruction sets that multiply and add at once give the same bits', async () => {
  const fused = isas.filter((isa) => isa.startsWith('avx'));
  const first: Record<string, Float32Array>[] = [];
  await onEveryIsa(async (isa) => {
    if (!fused.includes(isa)) return;
    for (const [i, each] of CASES.entries()) {
      const got = (await run(int8, each)) as Record<string, Float32Array>;
      first[i] ??= got;
      assertSameBits(got.out, first[i].out, `${each.label} on ${isa}`);
    }
  });
});

test('rounding loses what 8 bits of a weight lose, and next to nothing of the input', async () => {
  const [R, K, N] = [4, 256, 100];
  const error = async (inp: Float32Array, weight: Float32Array) => {
    const [got, want] = [await product(int8, inp, weight, K), await product(reference, inp, weight, K)];
    const squares = (x: Float32Array) => x.reduce((sum, y) => sum + y * y, 0);
    return Math.sqrt(squares(got.map((y, i) => y - want[i])) / squares(want));
  };
  const inp = values(11, R * K);
  // Errors are uniform in ±½ of a 127th, or of 2^−14, and are compared with values that are uniform in ±1: 0.0039 and
  // 3.05e-5.
  const usual = await error(inp, values(12, K * N));
  assert.ok(usual > 0.003 && usual < 0.006, `weights: ${usual}`);
  const whole = values(12, K * N).map((x, i) =>
    Math.floor(i / N) % 64 === 0 ? 1 : Math.round(x * 127) / 127,
  );
  const exact = await error(inp, whole);
  assert.ok(exact < 4e-5, `inputs: ${exact}`);
});

test('integers at their limits do not saturate or overflow', async () => {
  const [K, N] = [192, 70];
  for (const [a, b] of [
    [1, 1],
    [1, -1],
    [-1, 1],
    [-1, -1],
  ]) {
    await onEveryIsa(async (isa) => {
      const got = await product(int8, new Float32Array(2 * K).fill(a), new Float32Array(K * N).fill(b), K);
      assertClose(got, new Float32Array(2 * N).fill(a * b * K), TOLERANCE, `${a} times ${b} on ${isa}`);
    });
  }
});

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

test('the reference’s head has the same loss', async () => {
  const [R, C, V] = [9, 70, 90];
  const head: KernelCase = {
    label: 'head',
    arrays: {
      loss: new Float32Array(R),
      argmax: new Int32Array(R),
      maxProb: new Float32Array(R),
      inp: values(4, R * C),
      weight: values(5, V * C),
      targets: Int32Array.from({ length: R }, (_, r) => (r === 3 ? -1 : (r * 17) % V)),
    },
    outputs: ['loss', 'argmax', 'maxProb'],
    call: (backend, at) =>
      backend.headForward({
        loss: at.loss,
        argmax: at.argmax,
        maxProb: at.maxProb,
        inp: at.inp,
        weight: at.weight,
        targets: at.targets,
        R,
        C,
        V,
      }),
  };
  const [got, want] = [await run(int8, head), await run(int8Reference, head)];
  for (const name of head.outputs) assertClose(got[name], want[name], TOLERANCE, name);
});

test('a weight that is not finite makes no finite product', async () => {
  const [K, N] = [100, 20];
  await onEveryIsa(async (isa) => {
    for (const value of [Number.NaN, Number.POSITIVE_INFINITY]) {
      const weight = values(9, K * N);
      weight[70 * N + 3] = value;
      for (const backend of [int8, int8Reference]) {
        const got = await product(backend, values(10, K), weight, K);
        for (const [n, y] of got.entries()) {
          assert.equal(Number.isFinite(y), n !== 3, `${value} on ${isa}: column ${n} is ${y}`);
        }
      }
    }
  });
});

test('an input that is not finite makes its row not finite, and no other', async () => {
  const [R, K, N] = [3, 100, 20];
  await onEveryIsa(async (isa) => {
    for (const value of [Number.NaN, Number.NEGATIVE_INFINITY]) {
      const inp = values(10, R * K);
      inp[K + 70] = value;
      for (const backend of [int8, int8Reference]) {
        const got = await product(backend, inp, values(9, K * N), K);
        for (const [i, y] of got.entries()) {
          assert.equal(Number.isFinite(y), Math.floor(i / N) !== 1, `${value} on ${isa}: [${i}] is ${y}`);
        }
      }
    }
  });
});

test('zeros and values near the smallest make zeros', async () => {
  const [K, N] = [100, 20];
  await onEveryIsa(async (isa) => {
    for (const value of [0, -0, 1e-40, 1e-38]) {
      const small = new Float32Array(K).fill(value);
      small[3] = 0;
      const got = await product(int8, small, values(9, K * N), K);
      assert.deepEqual(got, new Float32Array(N), `${value} on ${isa}`);
      const weight = new Float32Array(K * N).fill(value);
      assert.deepEqual(await product(int8, values(10, K), weight, K), got, `weight ${value} on ${isa}`);
    }
  });
});

test('a row’s bits depend on neither the other rows nor the threads', async () => {
  const [R, K, N] = [75, 200, 300];
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
      [20, 28],
      [50, 61],
      [0, 65],
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

test('the reference backend rounds weights where it is asked to', async () => {
  const [K, N] = [70, 9];
  const [inp, weight] = [values(1, K), values(2, K * N)];
  const asked = await createBackend({ name: 'reference', weights: 'int8' });
  assert.match(asked.description, /int8 weights/);
  assertClose(await product(asked, inp, weight, K), await product(int8, inp, weight, K), TOLERANCE, compiled);
});
