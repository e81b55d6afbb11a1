/** What Muon does beside its products, and the average of weights, of the native backend. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkCases, type KernelCase, native, onEveryIsa, reference, upload, values } from './helpers.js';

/** R, C, first, count: whole matrices, and columns that no vector divides. */
const COLUMNS = [
  [1, 1, 0, 1],
  [3, 17, 0, 17],
  [5, 51, 17, 17],
  [130, 100, 67, 33],
  [7, 9000, 8, 8500],
] as const;

test('Muon’s momentum and update agree with the reference on columns of any width', async () => {
  const cases: KernelCase[] = COLUMNS.flatMap(([R, C, first, count]) => {
    const flags = { nonFinite: Float32Array.of(0) };
    const shape = { R, C, first, count };
    const momentum = (gradClip: number): KernelCase => ({
      label: `muonMomentum ${R}×${C} from ${first}, ${count}, clipped to ${gradClip}`,
      arrays: {
        ...flags,
        out: new Float32Array(R * count).fill(9),
        momentum: values(1, R * C),
        grad: values(2, R * C, 3),
        squares: Float32Array.of(16),
      },
      outputs: ['out', 'momentum'],
      call: (b, { out, momentum: own, grad, squares, nonFinite }) =>
        b.muonMomentum({ out, momentum: own, grad, squares, nonFinite, ...shape, beta: 0.95, gradClip }),
      tolerance: 1e-6,
    });
    const update: KernelCase = {
      label: `muonUpdate ${R}×${C} from ${first}, ${count}`,
      arrays: { ...flags, param: values(3, R * C), update: values(4, R * count) },
      outputs: ['param'],
      call: (b, { param, update: by, nonFinite }) =>
        b.muonUpdate({ param, update: by, nonFinite, ...shape, lr: 0.02, scale: 1.4, weightDecay: 0.1 }),
      tolerance: 1e-6,
    };
    return [momentum(1), momentum(0), update];
  });
  await checkCases(cases);
});

test('a matrix’s polynomial, a scaling by a norm and the average of weights agree with the reference', async () => {
  const cases: KernelCase[] = [1, 5, 33, 131].flatMap((N) => [
    {
      label: `matrixPolynomial ${N}`,
      arrays: { out: new Float32Array(N * N), x: values(1, N * N), square: values(2, N * N) },
      outputs: ['out'],
      call: (b, { out, x, square }) =>
        b.matrixPolynomial({ out, x, square, N, a: 3.4445, b: -4.775, c: 2.0315 }),
      tolerance: 1e-6,
    },
    {
      label: `scaleByNorm ${N * N}`,
      arrays: { x: values(3, N * N), squares: Float32Array.of(0.5) },
      outputs: ['x'],
      call: (b, { x, squares }) => b.scaleByNorm({ x, squares, eps: 1e-7 }),
      tolerance: 1e-6,
    },
    {
      label: `averageWeights ${N * N}`,
      arrays: { average: values(4, N * N), param: values(5, N * N), nonFinite: Float32Array.of(0) },
      outputs: ['average'],
      call: (b, { average, param, nonFinite }) =>
        b.averageWeights({ average, param, nonFinite, decay: 0.999 }),
      tolerance: 1e-6,
    },
  ]);
  await checkCases(cases);
});

test('where something is not finite, momentum, weights and their average stay', async () => {
  await onEveryIsa(async (isa) => {
    for (const backend of [native, reference]) {
      const [momentum, param, average] = [1, 2, 3].map((seed) => upload(backend, values(seed, 34)));
      const [out, grad, update] = [4, 5, 6].map((seed) => upload(backend, values(seed, 34)));
      const before = await Promise.all([momentum, param, average].map((storage) => backend.read(storage)));
      const one = upload(backend, Float32Array.of(1));
      const common = { nonFinite: one, R: 2, C: 17, first: 0, count: 17 };
      backend.muonMomentum({ out, momentum, grad, squares: one, ...common, beta: 0.9, gradClip: 1 });
      backend.muonUpdate({ param, update, ...common, lr: 1, scale: 1, weightDecay: 0.1 });
      backend.averageWeights({ average, param: update, nonFinite: one, decay: 0.5 });
      const after = await Promise.all([momentum, param, average].map((storage) => backend.read(storage)));
      assert.deepEqual(after, before, `${backend.name} on ${isa}`);
      assert.ok((await backend.read(out)).every((x) => x === 0));
    }
  });
});
