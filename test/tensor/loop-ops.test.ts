/** The gradients of ops for loops against finite differences in double precision. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  copiesAsStreams,
  meanOfStreams,
  readStreams,
  stableInjection,
  writeStreams,
} from '../../src/tensor/loop-ops.js';
import { checkGradients, doubleRuntime, randomParameter, randomTensor, read } from './helpers.js';

test('stableInjection: gradients by state, input, a and b, with either gain', async () => {
  const runtime = doubleRuntime();
  const x = randomTensor(runtime, 'x', [4, 3]);
  const u = randomTensor(runtime, 'u', [4, 3]);
  const a = randomParameter(runtime, 'a', [3], 'bias');
  const b = randomParameter(runtime, 'b', [3], 'bias');
  for (const exact of [false, true]) {
    await checkGradients(runtime, { x, u, a, b }, () => stableInjection(x, u, a, b, exact));
  }
});

test('stableInjection: a channel carries over less than all, and the exact gain is the integral’s', async () => {
  const runtime = doubleRuntime();
  using one = runtime.from(Float64Array.of(1, 1), [2, 1]);
  using zero = runtime.from(Float64Array.of(0, 0), [2, 1]);
  const at = (name: string, value: number) => {
    const p = randomParameter(runtime, name, [1], 'bias');
    runtime.backend.fill(p.storage, value);
    return p;
  };
  for (const [a, b] of [
    [0, 0],
    [-6, -9],
    [3, 5],
  ]) {
    const [pa, pb] = [at('a', a), at('b', b)];
    const [A, delta] = [Math.exp(a), Math.log1p(Math.exp(b))];
    using kept = stableInjection(one, zero, pa, pb, true);
    using euler = stableInjection(zero, one, pa, pb, false);
    using exact = stableInjection(zero, one, pa, pb, true);
    const keep = (await read(kept))[0];
    assert.ok(keep > 0 && keep < 1);
    assert.ok(Math.abs(keep - Math.exp(-delta * A)) < 1e-15);
    assert.ok(Math.abs((await read(euler))[0] - delta) < 1e-14);
    assert.ok(Math.abs((await read(exact))[0] - (1 - keep) / A) < 1e-14);
  }
});

test('streams: gradients of copies, their mean, reading and writing', async () => {
  const runtime = doubleRuntime();
  for (const M of [2, 3]) {
    const x = randomTensor(runtime, 'x', [4, 5]);
    const streams = randomTensor(runtime, 's', [4, M * 5]);
    const coefficients = randomTensor(runtime, 'k', [4, M * (M + 2)]);
    await checkGradients(runtime, { x }, () => copiesAsStreams(x, M));
    await checkGradients(runtime, { streams }, () => meanOfStreams(streams, M));
    await checkGradients(runtime, { streams, coefficients }, () => readStreams(streams, coefficients, M));
    await checkGradients(runtime, { streams, x, coefficients }, () =>
      writeStreams(streams, x, coefficients, M),
    );
    await checkGradients(runtime, { streams, coefficients }, () => {
      using u = readStreams(streams, coefficients, M);
      return writeStreams(streams, u, coefficients, M);
    });
  }
});
