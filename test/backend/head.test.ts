/** The head of the native backend: loss, arg-max, gradients, ignored targets, ties, runs of rows. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openNodeWebGpu } from '../../src/node/webgpu.js';
import { webgpu } from '../engines.js';
import {
  assertClose,
  assertSameBits,
  checkCases,
  integers,
  type KernelCase,
  native,
  onEveryIsa,
  reference,
  rowsOf,
  run,
  upload,
  values,
} from './helpers.js';

const SHAPES = [
  [1, 1, 1],
  [1, 5, 2],
  [2, 3, 7],
  [3, 17, 31],
  [5, 33, 100],
  [13, 65, 257],
  [33, 7, 1000],
  [100, 31, 65],
  [300, 13, 33],
  [20, 6, 9001],
];

function arraysFor(R: number, C: number, V: number) {
  return {
    loss: values(1, R),
    argmax: integers(2, R, 5),
    maxProb: values(3, R),
    dinp: values(4, R * C),
    dweight: values(5, V * C),
    inp: values(6, R * C, 2),
    weight: values(7, V * C),
    targets: integers(8, R, V, -1),
    rowWeights: values(9, R).map((w, i) => (i % 4 === 3 ? 0 : w)),
  };
}

test('the head agrees with the reference, with any number of threads', async () => {
  const cases: KernelCase[] = [];
  for (const [R, C, V] of SHAPES) {
    const arrays = arraysFor(R, C, V);
    const dims = { R, C, V };
    const size = `${R}×${C}×${V}`;
    cases.push({
      label: `headForward ${size}`,
      arrays,
      outputs: ['loss', 'argmax', 'maxProb'],
      call: (b, s) =>
        b.headForward({
          loss: s.loss,
          argmax: s.argmax,
          maxProb: s.maxProb,
          inp: s.inp,
          weight: s.weight,
          targets: s.targets,
          ...dims,
        }),
    });
    cases.push({
      label: `headForwardBackward ${size}`,
      arrays,
      outputs: ['loss', 'argmax', 'maxProb', 'dinp', 'dweight'],
      call: (b, s) =>
        b.headForwardBackward({
          loss: s.loss,
          argmax: s.argmax,
          maxProb: s.maxProb,
          dinp: s.dinp,
          dweight: s.dweight,
          inp: s.inp,
          weight: s.weight,
          targets: s.targets,
          rowWeights: s.rowWeights,
          ...dims,
        }),
    });
    cases.push({
      label: `headForwardBackward ${size}, loss only`,
      arrays: { ...arrays, argmax: null, maxProb: null },
      outputs: ['loss', 'dinp', 'dweight'],
      call: (b, s) =>
        b.headForwardBackward({
          loss: s.loss,
          argmax: null,
          maxProb: null,
          dinp: s.dinp,
          dweight: s.dweight,
          inp: s.inp,
          weight: s.weight,
          targets: s.targets,
          rowWeights: s.rowWeights,
          ...dims,
        }),
    });
    cases.push({
      label: `logits ${size}`,
      arrays: { out: values(10, R * V), inp: arrays.inp, weight: arrays.weight },
      outputs: ['out'],
      call: (b, s) => b.logits({ out: s.out, inp: s.inp, weight: s.weight, ...dims }),
    });
  }
  // In bf16 the gradients of the logits are rounded too, to 8 bits.
  await checkCases(cases.map((c) => ({ ...c, bf16Tolerance: /Backward/.test(c.label) ? 2 ** -7 : 1e-5 })));
});

test('rows come in several runs: a vocabulary so large, or so many of them', async () => {
  // Of 26 · 2^20 logits, or 2048 rows, at once; or on a GPU, where so many take minutes without one, of those that a
  // small binding has.
  const shapes = webgpu
    ? [[40, 3, 1000]]
    : [
        [209, 3, 131_072],
        [4100, 3, 70],
      ];
  const cases = shapes.map(([R, C, V]): KernelCase => {
    const arrays = arraysFor(R, C, V);
    return {
      label: `headForwardBackward in several runs ${R}×${C}×${V}`,
      arrays,
      outputs: ['loss', 'argmax', 'dinp', 'dweight'],
      call: (b, s) =>
        b.headForwardBackward({
          loss: s.loss,
          argmax: s.argmax,
          maxProb: s.maxProb,
          dinp: s.dinp,
          dweight: s.dweight,
          inp: s.inp,
          weight: s.weight,
          targets: s.targets,
          rowWeights: s.rowWeights,
          R,
          C,
          V,
        }),
    };
  });
  if (!webgpu) return checkCases(cases);
  const small = await openNodeWebGpu({ largestBinding: 2 ** 16, teams: webgpu.engine.teams });
  const [large] = cases;
  const [got, want] = [await run(small, large), await run(reference, large)];
  for (const name of large.outputs) assertClose(got[name], want[name], 1e-5, name);
  small.engine.recorder.dispose();
});

test('equal logits: the lowest index wins, wherever the equal ones lie', async () => {
  const V = 100;
  for (const [first, second] of [
    [0, 1],
    [3, 19],
    [15, 16],
    [40, 99],
    [98, 99],
    [17, 33],
  ]) {
    const weight = new Float32Array(V).fill(-1);
    weight[first] = weight[second] = 2;
    await onEveryIsa(async (isa) => {
      const argmax = native.allocate('i32', 1);
      const loss = native.allocate('f32', 1);
      native.headForward({
        loss,
        argmax,
        maxProb: null,
        inp: upload(native, Float32Array.of(1)),
        weight: upload(native, weight),
        targets: upload(native, Int32Array.of(first)),
        R: 1,
        C: 1,
        V,
      });
      assert.equal((await native.read(argmax))[0], first, `${isa}: ${first} and ${second}`);
    });
  }
});

test('an ignored target has loss 0 and no gradient, even where its row is not finite', async () => {
  const arrays = arraysFor(3, 4, 20);
  arrays.targets.set([-1, 5, -1]);
  arrays.inp.set([Number.NaN, 1, 1, 1], 8);
  await onEveryIsa(async (isa) => {
    const got = await run(native, {
      label: 'ignored',
      arrays,
      outputs: ['loss', 'dinp'],
      call: (b, s) =>
        b.headForwardBackward({
          loss: s.loss,
          argmax: null,
          maxProb: null,
          dinp: s.dinp,
          dweight: s.dweight,
          inp: s.inp,
          weight: s.weight,
          targets: s.targets,
          rowWeights: s.rowWeights,
          R: 3,
          C: 4,
          V: 20,
        }),
    });
    assert.deepEqual([got.loss[0], got.loss[2]], [0, 0], isa);
    assert.deepEqual(Array.from(got.dinp.slice(0, 4)), [0, 0, 0, 0], isa);
    assert.deepEqual(Array.from(got.dinp.slice(8)), [0, 0, 0, 0], isa);
    assert.ok(got.loss[1] > 0, isa);
  });
});

test('a logit that is no number, or infinite, makes its row’s loss no number, and no other row’s', async () => {
  const [R, C, V] = [3, 2, 70];
  for (const broken of [Number.NaN, Number.POSITIVE_INFINITY]) {
    for (const v of [0, 5, 69]) {
      const arrays = { ...arraysFor(R, C, V), targets: Int32Array.of(3, 4, 69) };
      arrays.inp.set([1, 0, 1, 1, 1, 0]);
      arrays.weight.fill(0.5);
      arrays.weight[v * C + 1] = 3e38;
      // Row 1 alone has a second channel: 0.5 + NaN, or 3e38 · 1e10.
      arrays.inp[3] = Number.isNaN(broken) ? Number.NaN : 1e10;
      await onEveryIsa(async (isa) => {
        const { loss, maxProb, dinp } = await run(native, {
          label: 'not finite',
          arrays,
          outputs: ['loss', 'maxProb', 'dinp'],
          call: (b, s) =>
            b.headForwardBackward({
              loss: s.loss,
              argmax: null,
              maxProb: s.maxProb,
              dinp: s.dinp,
              dweight: s.dweight,
              inp: s.inp,
              weight: s.weight,
              targets: s.targets,
              rowWeights: s.rowWeights,
              R,
              C,
              V,
            }),
        });
        const where = `${isa}, ${broken} at ${v}`;
        assert.ok(Number.isNaN(loss[1]) && Number.isNaN(maxProb[1]), `${where}: ${loss}, ${maxProb}`);
        assert.ok(Number.isNaN(dinp[2]), where);
        assert.ok(Math.abs(loss[0] - Math.log(V)) < 1e-4 && Math.abs(loss[2] - Math.log(V)) < 1e-4, where);
      });
    }
  }
});

test('a row of the head has the same bits alone and in a batch', async () => {
  const [R, C, V] = [70, 33, 333];
  const arrays = arraysFor(R, C, V);
  const caseOf = (first: number, count: number): KernelCase => ({
    label: 'headForward',
    arrays: {
      loss: new Float32Array(count),
      argmax: new Int32Array(count),
      maxProb: new Float32Array(count),
      inp: rowsOf(arrays.inp, C, first, count),
      weight: arrays.weight,
      targets: arrays.targets.slice(first, first + count),
    },
    outputs: ['loss', 'argmax', 'maxProb'],
    call: (b, s) =>
      b.headForward({
        loss: s.loss,
        argmax: s.argmax,
        maxProb: s.maxProb,
        inp: s.inp,
        weight: s.weight,
        targets: s.targets,
        R: count,
        C,
        V,
      }),
  });
  await onEveryIsa(async (isa) => {
    const all = await run(native, caseOf(0, R));
    for (const first of [0, 1, 13, 14, 69]) {
      const one = await run(native, caseOf(first, 1));
      for (const name of ['loss', 'argmax', 'maxProb']) {
        assertSameBits(one[name], all[name].slice(first, first + 1), `${isa} row ${first} ${name}`);
      }
    }
  });
});
