/** The kernels that decide about rows, on the engine against the reference in double precision. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Backend, HostArray, Storage } from '../../src/backend/backend.js';
import { checkCases, integers, type KernelCase, native, reference, run, upload, values } from './helpers.js';

const LENGTHS = [1, 5, 33, 200];

/** Kernels over n rows, by what they write; `N` exits and depths up to 3. */
const KERNELS: Record<
  string,
  readonly [outputs: string[], call: (k: Backend, s: Record<string, Storage>, n: number) => void]
> = {
  actForward: [['f', 'g', 'i'], (k, s) => k.actForward({ ...act(s), epsilon: 0.01, last: false })],
  'actForward, the last': [['f', 'g', 'i'], (k, s) => k.actForward({ ...act(s), epsilon: 0.01, last: true })],
  actBackward: [['f', 'g'], (k, s) => k.actBackward({ ...actBackward(s), dnextSum: s.y })],
  'actBackward of the last': [['f', 'g'], (k, s) => k.actBackward({ ...actBackward(s), dnextSum: null })],
  ponder: [['f'], (k, { f, x, mask, other }) => k.ponder({ ponder: f, p: x, running: mask, goingOn: other })],
  stopped: [
    ['f'],
    (k, { f, mask, other }) => k.stopped({ out: f, running: mask, goingOn: other, value: Infinity }),
  ],
  stopAbove: [['mask'], (k, { mask, x }) => k.stopAbove({ running: mask, values: x, threshold: 0.25 })],
  stopBelow: [['mask'], (k, { mask, x }) => k.stopBelow({ running: mask, values: x, threshold: 0.25 })],
  'stopAbove, all': [
    ['mask'],
    (k, { mask, x }) => k.stopAbove({ running: mask, values: x, threshold: -Infinity }),
  ],
  stopAt: [['mask'], (k, { mask, exits }) => k.stopAt({ running: mask, exits, depth: 2 })],
  countRunning: [['exits'], (k, { mask, exits }) => k.countRunning({ counts: exits, running: mask })],
  argmaxRows: [['i'], (k, { i, wide }) => k.argmaxRows({ exits: i, z: wide, N: 4 })],
  differ: [['f'], (k, { f, exits, targets }) => k.differ({ out: f, a: exits, b: targets })],
  weightsAt: [
    ['f'],
    (k, { f, exits, targets }) =>
      k.weightsAt({ weights: f, exits, targets, depth: 1, last: false, value: 0.25 }),
  ],
  'weightsAt the last': [
    ['f'],
    (k, { f, exits, targets }) =>
      k.weightsAt({ weights: f, exits, targets, depth: 1, last: true, value: 0.25 }),
  ],
  exitHereLoss: [
    ['f', 'g'],
    (k, { f, g, far, exits }) => k.exitHereLoss({ loss: f, dz: g, z: far, exits, depth: 1, weight: 0.5 }),
  ],
  exitChoiceLoss: [
    ['f', 'next'],
    (k, { f, next, wide, exits }) =>
      k.exitChoiceLoss({ loss: f, dz: next, z: wide, exits, N: 4, weight: 0.5 }),
  ],
};

const act = ({ f, g, i, x, y, mask }: Record<string, Storage>) => ({
  ...{ p: f, nextSum: g, goingOn: i, h: x, sum: y, running: mask },
});
const actBackward = ({ f, g, x, mask, other }: Record<string, Storage>) => ({
  ...{ dh: f, dsum: g, dp: x, running: mask, goingOn: other },
});

test('kernels that decide about rows agree with the reference', async () => {
  const cases: KernelCase[] = [];
  for (const n of LENGTHS) {
    const arrays: Record<string, HostArray> = {
      f: values(1, n),
      g: values(2, n),
      i: integers(3, n, 9),
      x: values(4, n, 0.5).map((x) => x + 0.5),
      y: values(5, n, 0.5).map((x) => x + 0.5),
      far: values(6, n, 50),
      wide: values(7, 4 * n, 20).map(Math.round), // some are equal
      next: values(8, 4 * n),
      mask: integers(9, n, 2),
      other: integers(10, n, 2),
      exits: integers(11, n, 4),
      targets: integers(12, n, 5, -1),
    };
    for (const [label, [outputs, call]] of Object.entries(KERNELS)) {
      cases.push({
        label: `${label} ${n}`,
        arrays,
        outputs,
        call: (k, s) => call(k, s, n),
        tolerance: 1e-6,
      });
    }
  }
  await checkCases(cases);
});

test('causal means agree with the reference, at once and in pieces', async () => {
  const cases: KernelCase[] = [];
  for (const [T, C] of [
    [1, 1],
    [7, 3],
    [300, 65],
  ]) {
    for (const past of [0, 5]) {
      cases.push({
        label: `causalMean ${T}×${C} after ${past}`,
        arrays: { out: values(1, T * C), sums: values(2, C, 3), inp: values(3, T * C) },
        outputs: ['out', 'sums'],
        call: (k, { out, sums, inp }) => k.causalMean({ out, sums, inp, T, C, past }),
      });
    }
  }
  await checkCases(cases);
});

test('the oracle agrees with the reference over rows, neighbourhoods and sequences', async () => {
  const cases: KernelCase[] = [];
  for (const [B, T, N] of [
    [1, 1, 1],
    [3, 9, 4],
    [2, 130, 3],
  ]) {
    for (const [sigma, perSequence] of [
      [0, false],
      [1.5, false],
      [4000, false],
      [0, true],
    ] as const) {
      cases.push({
        label: `oracle ${B}×${T}×${N} σ ${sigma} ${perSequence}`,
        arrays: { exits: integers(1, B * T, 9), costs: values(2, N * B * T, 0.4) },
        outputs: ['exits'],
        call: (k, { exits, costs }) => k.oracle({ exits, costs, B, T, N, lambda: 0.02, sigma, perSequence }),
      });
    }
  }
  await checkCases(cases);
});

test('counts are summed exactly', async () => {
  for (const [n, end] of [
    [0, 2],
    [1, 2],
    [70, 2],
    [1000, 40_000],
    [9000, 2 ** 31 - 1],
  ]) {
    const counts = integers(1, n, end);
    const exact = counts.reduce((sum, count) => sum + count, 0);
    for (const backend of [native, reference]) {
      const [out, inp] = [backend.allocate(backend.dtype, 2), upload(backend, counts)];
      backend.sumCounts({ out, counts: inp });
      const [high, low] = await backend.read(out);
      assert.equal(high + low, exact, `${n} counts on ${backend.name}`);
    }
  }
});

test('a loss at an exit that is no number shows', async () => {
  const nan = Float32Array.of(Number.NaN, 0);
  const found = await run(native, {
    label: 'losses',
    arrays: {
      here: new Float32Array(2),
      choice: new Float32Array(1),
      dz: new Float32Array(2),
      z: nan,
      exits: Int32Array.of(1, 1),
      one: Int32Array.of(1),
    },
    outputs: ['here', 'choice'],
    call: (k, { here, choice, dz, z, exits, one }) => {
      k.exitHereLoss({ loss: here, dz, z, exits, depth: 1, weight: 1 });
      k.exitChoiceLoss({ loss: choice, dz, z, exits: one, N: 2, weight: 1 });
    },
  });
  assert.ok(Number.isNaN(found.here[0]) && Number.isFinite(found.here[1]));
  assert.ok(Number.isNaN(found.choice[0]));
});
