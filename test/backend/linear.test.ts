/** Linear layers of the native backend: values, threads, and rows that do not depend on their neighbours. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Backend, HostArray } from '../../src/backend/backend.js';
import { setIsa, webgpu } from '../engines.js';
import {
  assertSameBits,
  checkCases,
  isas,
  type KernelCase,
  native,
  nativeBf16,
  onEveryIsa,
  roundToBf16,
  rowsOf,
  run,
  upload,
  values,
} from './helpers.js';

const SHAPES = [
  [1, 1, 1],
  [1, 7, 13],
  [2, 3, 5],
  [5, 33, 1],
  [7, 1, 31],
  [13, 17, 65],
  [14, 64, 64],
  [17, 257, 33],
  [31, 100, 7],
  [33, 13, 257],
  [65, 65, 65],
  [100, 300, 130],
  [257, 31, 100],
  [390, 260, 530], // several blocks along each on every instruction set
  [520, 63, 65], // many rows for the size of the weight
  [70, 220, 1100], // an operand that tasks pack, and a large one that they share
  [8200, 3, 5],
  [20, 9000, 9], // more than is packed at once, along the sum …
  [9000, 17, 7], // … and along the rows
];

test('linear layers agree with the reference, with any number of threads', async () => {
  const cases: KernelCase[] = [];
  for (const [R, K, N] of SHAPES) {
    const dims = { R, K, N };
    const arrays = {
      out: values(1, R * N),
      inp: values(2, R * K),
      weight: values(3, K * N),
      bias: values(4, N),
      dout: values(5, R * N),
      dinp: values(6, R * K),
      dweight: values(7, K * N),
      dbias: values(8, N),
    };
    const size = `${R}×${K}×${N}`;
    cases.push({
      label: `linearForward ${size}`,
      arrays,
      outputs: ['out'],
      call: (b, s) => b.linearForward({ out: s.out, inp: s.inp, weight: s.weight, bias: s.bias, ...dims }),
    });
    cases.push({
      label: `linearForward ${size} without bias`,
      arrays,
      outputs: ['out'],
      call: (b, s) => b.linearForward({ out: s.out, inp: s.inp, weight: s.weight, bias: null, ...dims }),
    });
    for (const accumulate of [false, true]) {
      cases.push({
        label: `linearBackwardInput ${size} accumulate ${accumulate}`,
        arrays,
        outputs: ['dinp'],
        call: (b, s) =>
          b.linearBackwardInput({ dinp: s.dinp, dout: s.dout, weight: s.weight, ...dims, accumulate }),
      });
    }
    cases.push({
      label: `linearBackwardWeight ${size}`,
      arrays,
      outputs: ['dweight', 'dbias'],
      call: (b, s) =>
        b.linearBackwardWeight({ dweight: s.dweight, dbias: s.dbias, dout: s.dout, inp: s.inp, ...dims }),
    });
    cases.push({
      label: `linearBackwardWeight ${size} without bias`,
      arrays,
      outputs: ['dweight', 'dbias'],
      call: (b, s) =>
        b.linearBackwardWeight({ dweight: s.dweight, dbias: null, dout: s.dout, inp: s.inp, ...dims }),
    });
  }
  await checkCases(cases.map((c) => ({ ...c, bf16Tolerance: 1e-5 })));
});

test('no rows: outputs of no elements, and gradients that gain nothing', async () => {
  const dims = { R: 0, K: 5, N: 7 };
  const none = new Float32Array(0);
  await checkCases([
    {
      label: 'linearForward 0×5×7',
      arrays: { out: none, inp: none, weight: values(1, 35), bias: values(2, 7) },
      outputs: ['out'],
      call: (b, s) => b.linearForward({ out: s.out, inp: s.inp, weight: s.weight, bias: s.bias, ...dims }),
    },
    {
      label: 'linearBackwardWeight 0×5×7',
      arrays: { dweight: values(1, 35), dbias: values(2, 7), dout: none, inp: none },
      outputs: ['dweight', 'dbias'],
      call: (b, s) =>
        b.linearBackwardWeight({ dweight: s.dweight, dbias: s.dbias, dout: s.dout, inp: s.inp, ...dims }),
    },
  ]);
});

/** What the two forward products make of some rows. */
async function forward(
  backend: Backend,
  inp: Float32Array,
  weight: Float32Array,
  bias: Float32Array,
  K: number,
  N: number,
) {
  const R = inp.length / K;
  const linear: KernelCase = {
    label: 'linearForward',
    arrays: { out: new Float32Array(R * N), inp, weight, bias },
    outputs: ['out'],
    call: (b, s) => b.linearForward({ out: s.out, inp: s.inp, weight: s.weight, bias: s.bias, R, K, N }),
  };
  const logits: KernelCase = {
    label: 'logits',
    arrays: { out: new Float32Array(R * N), inp, weight },
    outputs: ['out'],
    call: (b, s) => b.logits({ out: s.out, inp: s.inp, weight: s.weight, R, C: K, V: N }),
  };
  const results: HostArray[] = [(await run(backend, linear)).out, (await run(backend, logits)).out];
  return results;
}

test('a row has the same bits alone, in a small batch and in a large one', async () => {
  for (const [K, N] of [
    [33, 7],
    [257, 65],
    [520, 130],
  ]) {
    const R = 930;
    const inp = values(11, R * K);
    const weight = values(12, K * N);
    const bias = values(13, N);
    await onEveryIsa(async (isa) => {
      for (const backend of [native, nativeBf16]) {
        const all = await forward(backend, inp, weight, bias, K, N);
        for (const [first, count] of [
          [0, 1],
          [13, 1],
          [14, 3],
          [223, 30],
          [500, 29],
          [929, 1],
        ]) {
          const some = await forward(backend, rowsOf(inp, K, first, count), weight, bias, K, N);
          for (const i of [0, 1]) {
            assertSameBits(
              some[i],
              rowsOf(all[i], N, first, count),
              `${isa} ${backend.precision} ${K}×${N} row ${first}, kernel ${i}`,
            );
          }
        }
      }
    });
  }
});

const noBf16 = webgpu ? 'a GPU has f16, whose rounding WebGPU leaves open' : false;
test('bf16 operands are rounded to the nearest, ties to even', { skip: noBf16 }, async () => {
  const bits = (...words: number[]) => new Float32Array(Uint32Array.from(words).buffer);
  const inp = bits(
    ...[0x3f800000, 0x3f808000, 0x3f808001, 0x3f818000, 0x3f817fff, 0xbf808000, 0xbf818000, 0x80000000],
    ...[0x7f7fffff, 0x7f800000, 0xff800000, 0x7f7f7fff],
  );
  const got: KernelCase = {
    label: 'linearForward with weight 1',
    arrays: { out: new Float32Array(inp.length), inp, weight: Float32Array.of(1) },
    outputs: ['out'],
    call: (b, s) =>
      b.linearForward({ out: s.out, inp: s.inp, weight: s.weight, bias: null, R: inp.length, K: 1, N: 1 }),
  };
  const infinity = Number.POSITIVE_INFINITY;
  await onEveryIsa(async (isa) => {
    const { out } = await run(nativeBf16, got);
    assert.deepEqual(Array.from(out).slice(0, 7), Array.from(inp, roundToBf16).slice(0, 7), isa);
    assert.deepEqual(
      Array.from(out).slice(0, 7),
      [1, 1, 1 + 2 ** -7, 1 + 2 ** -6, 1 + 2 ** -7, -1, -1 - 2 ** -6],
      isa,
    );
    assert.equal(out[7], 0, isa);
    assert.deepEqual(Array.from(out).slice(8, 11), [infinity, infinity, -infinity], isa);
    assert.equal(out[11], 3.3895313892515355e38, isa);
    const nan = bits(0x7fffffff, 0xffffffff, 0x7f800001);
    const { out: notNumbers } = await run(nativeBf16, {
      ...got,
      arrays: { out: new Float32Array(3), inp: nan, weight: Float32Array.of(1) },
      call: (b, s) =>
        b.linearForward({ out: s.out, inp: s.inp, weight: s.weight, bias: null, R: 3, K: 1, N: 1 }),
    });
    assert.ok(notNumbers.every(Number.isNaN), isa);
  });
});

test('a weight is packed anew after every kind of write to its memory, and only then', async () => {
  const dims = { R: 1, K: 2, N: 1 };
  const whole = upload(native, Float32Array.of(1, 2, 3, 4));
  const weight = native.slice(whole, 1, 2);
  const inp = upload(native, Float32Array.of(1, 10));
  const out = upload(native, Float32Array.of(0));
  const product = async () => {
    native.linearForward({ out, inp, weight, bias: null, ...dims });
    return (await native.read(out))[0];
  };
  assert.equal(await product(), 32);
  native.write(native.slice(whole, 2, 1), Float32Array.of(5));
  assert.equal(await product(), 52);
  native.fill(whole, 1);
  assert.equal(await product(), 11);
  native.copy(weight, inp);
  assert.equal(await product(), 101);
  native.accumulate({ out: weight, inp });
  assert.equal(await product(), 202);
  const state = () => upload(native, Float32Array.of(0, 0));
  const options = { lr: 1, beta1: 0, beta2: 0, eps: 0, weightDecay: 0, step: 1, gradClip: 0 };
  const [squares, nonFinite] = [0, 0].map((x) => upload(native, Float32Array.of(x)));
  const grad = upload(native, Float32Array.of(1, 1));
  native.adamw({ param: weight, m: state(), v: state(), grad, squares, nonFinite, ...options });
  assert.equal(await product(), 191);
  for (const isa of isas) {
    setIsa(isa);
    assert.equal(await product(), 191, isa);
  }
  setIsa(isas[0]);
  native.free(whole);
});
