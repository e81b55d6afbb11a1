/** Linear layers of the native backend: values, threads, and rows that do not depend on their neighbours. */
import { test } from 'node:test';
import type { HostArray } from '../../src/backend/backend.js';
import {
  assertSameBits,
  checkCases,
  type KernelCase,
  native,
  onEveryIsa,
  rowsOf,
  run,
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
  [470, 260, 530],
  [8200, 3, 5], // a sum over rows so long that it is cut into slices
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
      call: (b, s) => b.linearForward(s.out, s.inp, s.weight, s.bias, dims),
    });
    cases.push({
      label: `linearForward ${size} without bias`,
      arrays,
      outputs: ['out'],
      call: (b, s) => b.linearForward(s.out, s.inp, s.weight, null, dims),
    });
    for (const accumulate of [false, true]) {
      cases.push({
        label: `linearBackwardInput ${size} accumulate ${accumulate}`,
        arrays,
        outputs: ['dinp'],
        call: (b, s) => b.linearBackwardInput(s.dinp, s.dout, s.weight, dims, accumulate),
      });
    }
    cases.push({
      label: `linearBackwardWeight ${size}`,
      arrays,
      outputs: ['dweight', 'dbias'],
      call: (b, s) => b.linearBackwardWeight(s.dweight, s.dbias, s.dout, s.inp, dims),
    });
    cases.push({
      label: `linearBackwardWeight ${size} without bias`,
      arrays,
      outputs: ['dweight', 'dbias'],
      call: (b, s) => b.linearBackwardWeight(s.dweight, null, s.dout, s.inp, dims),
    });
  }
  await checkCases(cases);
});

test('no rows: outputs of no elements, and gradients that gain nothing', async () => {
  const dims = { R: 0, K: 5, N: 7 };
  const none = new Float32Array(0);
  await checkCases([
    {
      label: 'linearForward 0×5×7',
      arrays: { out: none, inp: none, weight: values(1, 35), bias: values(2, 7) },
      outputs: ['out'],
      call: (b, s) => b.linearForward(s.out, s.inp, s.weight, s.bias, dims),
    },
    {
      label: 'linearBackwardWeight 0×5×7',
      arrays: { dweight: values(1, 35), dbias: values(2, 7), dout: none, inp: none },
      outputs: ['dweight', 'dbias'],
      call: (b, s) => b.linearBackwardWeight(s.dweight, s.dbias, s.dout, s.inp, dims),
    },
  ]);
});

/** What the two forward products make of some rows. */
async function forward(inp: Float32Array, weight: Float32Array, bias: Float32Array, K: number, N: number) {
  const R = inp.length / K;
  const linear: KernelCase = {
    label: 'linearForward',
    arrays: { out: new Float32Array(R * N), inp, weight, bias },
    outputs: ['out'],
    call: (b, s) => b.linearForward(s.out, s.inp, s.weight, s.bias, { R, K, N }),
  };
  const logits: KernelCase = {
    label: 'logits',
    arrays: { out: new Float32Array(R * N), inp, weight },
    outputs: ['out'],
    call: (b, s) => b.logits(s.out, s.inp, s.weight, { R, C: K, V: N }),
  };
  const results: HostArray[] = [(await run(native, linear)).out, (await run(native, logits)).out];
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
      const all = await forward(inp, weight, bias, K, N);
      for (const [first, count] of [
        [0, 1],
        [13, 1],
        [14, 3],
        [223, 30],
        [500, 29],
        [929, 1],
      ]) {
        const some = await forward(rowsOf(inp, K, first, count), weight, bias, K, N);
        for (const i of [0, 1]) {
          assertSameBits(
            some[i],
            rowsOf(all[i], N, first, count),
            `${isa} ${K}×${N} row ${first}, kernel ${i}`,
          );
        }
      }
    });
  }
});
