/** Embedding, norms, AdamW and the sum of squares of the native backend. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
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

const ROWS = [
  [1, 1],
  [2, 3],
  [3, 16],
  [5, 7],
  [13, 33],
  [17, 65],
  [100, 31],
  [257, 100],
  [65, 257],
];

test('embedding agrees with the reference; a token that occurs often is added in order', async () => {
  const cases: KernelCase[] = [];
  for (const [R, C] of ROWS) {
    const [V, P] = [11, 5];
    const arrays = {
      out: values(1, R * C),
      tokens: integers(2, R, V),
      positions: integers(3, R, P),
      wte: values(4, V * C),
      wpe: values(5, P * C),
      dout: values(6, R * C),
    };
    const dims = { R, C };
    cases.push({
      label: `embeddingForward ${R}×${C}`,
      arrays,
      outputs: ['out'],
      call: (b, s) =>
        b.embeddingForward({
          out: s.out,
          tokens: s.tokens,
          positions: s.positions,
          wte: s.wte,
          wpe: s.wpe,
          ...dims,
        }),
      tolerance: 1e-6,
    });
    cases.push({
      label: `embeddingBackward ${R}×${C}`,
      arrays,
      outputs: ['wte', 'wpe'],
      call: (b, s) =>
        b.embeddingBackward({
          dwte: s.wte,
          dwpe: s.wpe,
          dout: s.dout,
          tokens: s.tokens,
          positions: s.positions,
          ...dims,
        }),
    });
  }
  await checkCases(cases);
});

test('the norms agree with the reference, layer norm with and without bias', async () => {
  const cases: KernelCase[] = [];
  for (const [R, C] of ROWS) {
    const inp = values(1, R * C).map((v, i) => v + (i % 3));
    const mean = new Float32Array(R);
    const rstd = new Float32Array(R);
    for (let r = 0; r < R; r++) {
      const row = rowsOf(inp, C, r);
      mean[r] = row.reduce((a, b) => a + b, 0) / C;
      rstd[r] = 1 / Math.sqrt(row.reduce((a, b) => a + (b - mean[r]) ** 2, 0) / C + 1e-5);
    }
    const arrays = {
      out: values(2, R * C),
      mean,
      rstd,
      inp,
      weight: values(3, C),
      bias: values(4, C),
      dinp: values(5, R * C),
      dweight: values(6, C),
      dbias: values(7, C),
      dout: values(8, R * C),
    };
    const dims = { R, C };
    for (const withBias of [true, false]) {
      const label = `${R}×${C} bias ${withBias}`;
      cases.push({
        label: `layernormForward ${label}`,
        arrays,
        outputs: ['out', 'mean', 'rstd'],
        call: (b, s) =>
          b.layernormForward({
            out: s.out,
            mean: s.mean,
            rstd: s.rstd,
            inp: s.inp,
            weight: s.weight,
            bias: withBias ? s.bias : null,
            ...dims,
            eps: withBias ? 1e-5 : 0.1,
          }),
      });
      cases.push({
        label: `layernormBackward ${label}`,
        arrays,
        outputs: ['dinp', 'dweight', 'dbias'],
        call: (b, s) =>
          b.layernormBackward({
            dinp: s.dinp,
            dweight: s.dweight,
            dbias: withBias ? s.dbias : null,
            dout: s.dout,
            inp: s.inp,
            weight: s.weight,
            mean: s.mean,
            rstd: s.rstd,
            ...dims,
            accumulate: withBias,
          }),
      });
    }
    for (const accumulate of [true, false]) {
      const label = `${R}×${C} ${accumulate}`;
      cases.push({
        label: `rmsnormForward ${label}`,
        arrays,
        outputs: ['out', 'rstd'],
        call: (b, s) =>
          b.rmsnormForward({
            out: s.out,
            rstd: s.rstd,
            inp: s.inp,
            weight: s.weight,
            ...dims,
            eps: accumulate ? 1e-5 : 0.1,
          }),
      });
      cases.push({
        label: `rmsnormBackward ${label}`,
        arrays,
        outputs: ['dinp', 'dweight'],
        call: (b, s) =>
          b.rmsnormBackward({
            dinp: s.dinp,
            dweight: s.dweight,
            dout: s.dout,
            inp: s.inp,
            weight: s.weight,
            rstd: s.rstd,
            ...dims,
            accumulate,
          }),
      });
    }
  }
  await checkCases(cases);
});

test('a row of a norm has the same bits alone and in a batch', async () => {
  const [R, C] = [70, 333];
  const inp = values(1, R * C, 3);
  const caseOf = (first: number, count: number, rms: boolean): KernelCase => ({
    label: rms ? 'rmsnormForward' : 'layernormForward',
    arrays: {
      out: new Float32Array(count * C),
      mean: new Float32Array(count),
      rstd: new Float32Array(count),
      inp: rowsOf(inp, C, first, count),
      weight: values(2, C),
      bias: values(3, C),
    },
    outputs: ['out', 'mean', 'rstd'],
    call: (b, s) => {
      const { out, rstd, inp, weight, mean, bias } = s;
      const shared = { out, rstd, inp, weight, R: count, C, eps: 1e-5 };
      if (rms) b.rmsnormForward(shared);
      else b.layernormForward({ ...shared, mean, bias });
    },
  });
  await onEveryIsa(async (isa) => {
    for (const rms of [false, true]) {
      const all = await run(native, caseOf(0, R, rms));
      for (const first of [0, 31, 32, 69]) {
        const one = await run(native, caseOf(first, 1, rms));
        assertSameBits(one.out, rowsOf(all.out, C, first), `${isa} row ${first}`);
        assertSameBits(one.rstd, all.rstd.slice(first, first + 1), `${isa} rstd ${first}`);
      }
    }
  });
});

test('AdamW agrees with the reference over its first steps', async () => {
  const cases: KernelCase[] = [];
  for (const n of [1, 5, 17, 100, 8193, 20_001]) {
    for (const step of [1, 2, 1000]) {
      cases.push({
        label: `adamw ${n} step ${step}`,
        arrays: {
          param: values(1, n),
          grad: values(2, n, 3),
          m: values(3, n, 0.1),
          v: values(4, n, 0.01).map(Math.abs),
          squares: Float32Array.of(16),
          nonFinite: Float32Array.of(0),
        },
        outputs: ['param', 'm', 'v'],
        call: (b, s) =>
          b.adamw({
            param: s.param,
            grad: s.grad,
            m: s.m,
            v: s.v,
            squares: s.squares,
            nonFinite: s.nonFinite,
            lr: 0.01,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            weightDecay: 0.1,
            step,
            gradClip: step === 2 ? 0 : 1, // a quarter of the gradient, or all of it
          }),
        tolerance: 1e-6,
      });
    }
  }
  await checkCases(cases);
});

test('AdamW changes nothing where something is not finite', async () => {
  await onEveryIsa(async (isa) => {
    for (const backend of [native, reference]) {
      const [param, m, v] = [1, 2, 3].map((seed) => upload(backend, values(seed, 17)));
      const before = await Promise.all([param, m, v].map((storage) => backend.read(storage)));
      const one = upload(backend, Float32Array.of(1));
      const options = { lr: 1, beta1: 0.9, beta2: 0.9, eps: 1e-8, weightDecay: 0.1, step: 1, gradClip: 1 };
      const grad = upload(backend, values(4, 17));
      backend.adamw({ param, m, v, grad, squares: one, nonFinite: one, ...options });
      const after = await Promise.all([param, m, v].map((storage) => backend.read(storage)));
      assert.deepEqual(after, before, `${backend.name} on ${isa}`);
    }
  });
});

const SUMMED = [0, 1, 3, 17, 257, 32_767, 32_769, 200_003];

test('a sum keeps what its rounding leaves, and tells what is not finite', async () => {
  await onEveryIsa(async (isa) => {
    for (const backend of [native, reference]) {
      for (const n of SUMMED) {
        const array = values(n, n, 2).map((x) => x + 3);
        const [out, nonFinite] = [backend.allocate(backend.dtype, 2), backend.allocate(backend.dtype, 1)];
        const inp = upload(backend, array);
        backend.sum({ out, nonFinite, inp });
        const [high, low] = await backend.read(out);
        const exact = array.reduce((sum, x) => sum + x, 0);
        assert.ok(Math.abs(high + low - exact) <= 2 ** -40 * (1 + Math.abs(exact)), `${isa}, ${n}`);
        assert.equal((await backend.read(nonFinite))[0], 0);
        if (n === 0) continue;
        backend.write(inp, Float32Array.of(Number.NaN));
        backend.sum({ out, nonFinite, inp });
        assert.equal((await backend.read(nonFinite))[0], 1, `${isa}, ${n}`);
        backend.write(inp, Float32Array.of(0));
        backend.sum({ out, nonFinite, inp });
        assert.equal((await backend.read(nonFinite))[0], 1, 'the flag stays');
      }
    }
  });
});

test('a sum of what nearly cancels is exact to a small part of what it adds', async () => {
  await onEveryIsa(async (isa) => {
    for (const n of [4, 1001, 5003, 70_001]) {
      const array = values(n, n).map((x, i) => x * 10 ** ((i % 13) - 6));
      for (let i = 1; i < n; i += 2) array[i] = -array[(i * 7) % n] * (1 + 2 ** -20);
      const [out, nonFinite] = [native.allocate('f32', 2), native.allocate('f32', 1)];
      native.sum({ out, nonFinite, inp: upload(native, array) });
      const [high, low] = await native.read(out);
      const numbers = Array.from(array);
      const exact = numbers.reduce((sum, x) => sum + x, 0);
      const size = numbers.reduce((sum, x) => sum + Math.abs(x), 0);
      assert.ok(
        Math.abs(high + low - exact) <= 2 ** -40 * size,
        `${isa}, ${n}: ${high} + ${low}, not ${exact}`,
      );
    }
  });
});

test('the sum of squares is exact where doubles make it so, and shows what is not finite', async () => {
  const cases: KernelCase[] = SUMMED.map((n) => ({
    label: `sumSquares ${n}`,
    arrays: { out: new Float32Array(1), nonFinite: new Float32Array(1), inp: values(n, n, 2) },
    outputs: ['out', 'nonFinite'],
    call: (b, s) => b.sumSquares({ out: s.out, nonFinite: s.nonFinite, inp: s.inp }),
    tolerance: 1e-7,
  }));
  await checkCases(cases);
  await onEveryIsa(async (isa) => {
    for (const [value, want] of [
      [Number.NaN, Number.NaN],
      [Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY],
      [3e38, Number.POSITIVE_INFINITY],
      [1e-30, 0],
    ]) {
      const inp = new Float32Array(33);
      inp[32] = value;
      const [out, nonFinite] = [native.allocate('f32', 1), native.allocate('f32', 1)];
      native.sumSquares({ out, nonFinite, inp: upload(native, inp) });
      assert.equal((await native.read(out))[0], want, `${isa} with ${value}`);
      const finite = Number.isFinite(want);
      assert.equal((await native.read(nonFinite))[0], finite ? 0 : 1, `${isa} with ${value}`);
    }
  });
});
