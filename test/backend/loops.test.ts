/** Kernels that recipes for loops are made of: stable injection, and streams. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkCases, type KernelCase, native, onEveryIsa, rowsOf, run, values } from './helpers.js';

const SIZES = [
  [1, 1],
  [2, 7],
  [5, 16],
  [33, 17],
  [100, 65],
  [257, 100],
];

function injectionCases(R: number, C: number): KernelCase[] {
  const arrays = {
    out: values(1, R * C),
    x: values(2, R * C),
    u: values(3, R * C),
    dout: values(4, R * C),
    dx: values(5, R * C),
    du: values(6, R * C),
    // From channels that keep next to nothing to those that keep nearly all.
    a: values(7, C, 4),
    b: values(8, C, 9),
    da: values(9, C),
    db: values(10, C),
  };
  return [false, true].flatMap((exact) => [
    {
      label: `stableInjectionForward ${R}×${C} ${exact}`,
      arrays,
      outputs: ['out'],
      call: (k, s) => k.stableInjectionForward({ out: s.out, x: s.x, u: s.u, a: s.a, b: s.b, R, C, exact }),
      tolerance: 1e-6,
    } satisfies KernelCase,
    ...[false, true].map(
      (first): KernelCase => ({
        label: `stableInjectionBackward ${R}×${C} ${exact} accumulate ${first}`,
        arrays,
        outputs: ['dx', 'du', 'da', 'db'],
        call: (k, { dx, du, da, db, dout, x, u, a, b }) =>
          k.stableInjectionBackward({
            ...{ dx, du, da, db, dout, x, u, a, b, R, C, exact },
            accumulateX: first,
            accumulateU: !first,
          }),
      }),
    ),
  ]);
}

function streamCases(R: number, C: number, M: number): KernelCase[] {
  const K = M * (M + 2);
  const arrays = {
    out: values(1, R * C),
    streams: values(2, R * M * C),
    coefficients: values(3, R * K),
    dcoefficients: values(4, R * K),
    y: values(5, R * C),
    dy: values(6, R * C),
    wide: values(7, R * M * C),
    dstreams: values(8, R * M * C),
    next: values(9, R * M * C),
  };
  const dims = { R, C, M };
  const label = `${R}×${M}×${C}`;
  return [
    {
      label: `readStreamsForward ${label}`,
      arrays,
      outputs: ['out'],
      call: (k, { out, streams, coefficients }) =>
        k.readStreamsForward({ out, streams, coefficients, ...dims }),
      tolerance: 1e-6,
    },
    {
      label: `writeStreamsForward ${label}`,
      arrays,
      outputs: ['next'],
      call: (k, { next, streams, y, coefficients }) =>
        k.writeStreamsForward({ out: next, streams, y, coefficients, ...dims }),
      tolerance: 1e-6,
    },
    {
      label: `readStreamsBackward of copies ${label}`,
      arrays,
      outputs: ['dstreams'],
      call: (k, { dstreams, y, coefficients }) =>
        k.readStreamsBackward({
          ...{ dstreams, dcoefficients: null, dout: y, streams: null, coefficients, ...dims },
          accumulate: false,
        }),
      tolerance: 1e-6,
    },
    ...[false, true].flatMap((first): KernelCase[] => [
      {
        label: `readStreamsBackward ${label} accumulate ${first}`,
        arrays,
        outputs: ['dstreams', 'dcoefficients'],
        call: (k, { dstreams, dcoefficients, y, streams, coefficients }) =>
          k.readStreamsBackward({
            ...{ dstreams, dcoefficients, dout: y, streams, coefficients, ...dims },
            accumulate: first,
          }),
      },
      {
        label: `writeStreamsBackward ${label} accumulate ${first}`,
        arrays,
        outputs: ['dstreams', 'dy', 'dcoefficients'],
        call: (k, { dstreams, dy, dcoefficients, wide, streams, y, coefficients }) =>
          k.writeStreamsBackward({
            ...{ dstreams, dy, dcoefficients, dout: wide, streams, y, coefficients, ...dims },
            accumulateStreams: first,
            accumulateY: !first,
          }),
      },
    ]),
  ];
}

test('stable injection agrees with the reference', async () => {
  await checkCases(SIZES.flatMap(([R, C]) => injectionCases(R, C)));
});

test('streams agree with the reference', async () => {
  const widths = [1, 2, 3];
  await checkCases(SIZES.flatMap(([R, C], i) => streamCases(R, C, widths[i % 3])));
  await checkCases([...streamCases(33, 65, 2), ...streamCases(3, 9000, 4)]);
});

test('a row is injected, read and written with the same bits whatever rows stand beside it', async () => {
  const [R, C, M] = [70, 33, 3];
  const forward = (test: KernelCase) => /Forward/.test(test.label);
  const cases = [...injectionCases(R, C), ...streamCases(R, C, M)].filter(forward);
  const own = [...injectionCases(1, C), ...streamCases(1, C, M)].filter(forward);
  await onEveryIsa(async (isa) => {
    for (const [i, all] of cases.entries()) {
      const whole = await run(native, all);
      for (const r of [0, 41, R - 1]) {
        const arrays = Object.fromEntries(
          Object.entries(all.arrays).map(([name, array]) => {
            const shared = ['a', 'b', 'da', 'db'].includes(name);
            return [name, shared ? array : rowsOf(array!, array!.length / R, r)];
          }),
        );
        const alone = await run(native, { ...own[i], arrays });
        for (const name of all.outputs) {
          const expected = rowsOf(whole[name], whole[name].length / R, r);
          assert.deepEqual(alone[name], expected, `${all.label}: ${name}, row ${r} on ${isa}`);
        }
      }
    }
  });
});

test('streams that are copies, read from one of them, take what a loop makes to the bit', async () => {
  const [R, C, M] = [5, 37, 3];
  const x = values(1, R * C);
  const streams = Float32Array.from({ length: R * M * C }, (_, i) => {
    const [r, c] = [Math.floor(i / (M * C)), i % C];
    return x[r * C + c];
  });
  const y = values(2, R * C, 9);
  for (const from of [0, 1, 2]) {
    const row = [0, 1, 2].flatMap((i) => [0, 1, 2].map((j) => Number(i === j)).concat(Number(i === from), 1));
    const coefficients = Float32Array.from({ length: R * row.length }, (_, k) => row[k % row.length]);
    await onEveryIsa(async (isa) => {
      const { out } = await run(native, {
        label: 'writeStreamsForward',
        arrays: { out: new Float32Array(R * M * C), streams, y, coefficients },
        outputs: ['out'],
        call: (k, s) =>
          k.writeStreamsForward({
            out: s.out,
            streams: s.streams,
            y: s.y,
            coefficients: s.coefficients,
            R,
            C,
            M,
          }),
      });
      const same = Array.from(out).every((value, i) => value === y[Math.floor(i / (M * C)) * C + (i % C)]);
      assert.ok(same, `read from ${from} on ${isa}`);
    });
  }
});
