/** Element-wise kernels of the native backend: add, copy, fill, activations, dropout, gated residual. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ACTIVATIONS, type LoopForm } from '../../src/backend/backend.js';
import { dropoutKeep, dropoutThreshold, sampleKey } from '../../src/backend/memory/dropout.js';
import { normalBelow } from '../../src/backend/reference/normal.js';
import {
  assertClose,
  assertSameBits,
  checkCases,
  type KernelCase,
  native,
  onEveryIsa,
  rowsOf,
  run,
  upload,
  values,
} from './helpers.js';

const LENGTHS = [0, 1, 2, 3, 5, 7, 13, 17, 31, 33, 65, 100, 257, 8191, 8193, 30_000];

test('add, copy, fill and activations agree with the reference', async () => {
  const cases: KernelCase[] = [];
  for (const n of LENGTHS) {
    const arrays = { out: values(1, n), a: values(2, n, 6), b: values(3, n) };
    cases.push(
      { label: `add ${n}`, arrays, outputs: ['out'], call: (b, s) => b.add({ out: s.out, a: s.a, b: s.b }) },
      {
        label: `accumulate ${n}`,
        arrays,
        outputs: ['a'],
        call: (b, s) => b.accumulate({ out: s.a, inp: s.b }),
      },
      { label: `copy ${n}`, arrays, outputs: ['out'], call: (b, s) => b.copy(s.out, s.a), tolerance: 0 },
      { label: `fill ${n}`, arrays, outputs: ['out'], call: (b, s) => b.fill(s.out, 2.5), tolerance: 0 },
    );
    for (const kind of ACTIVATIONS) {
      cases.push({
        label: `activationForward ${kind} ${n}`,
        arrays,
        outputs: ['out'],
        call: (b, s) => b.activationForward({ out: s.out, inp: s.a, kind }),
        tolerance: 3e-7,
      });
      for (const accumulate of [false, true]) {
        cases.push({
          label: `activationBackward ${kind} ${n} accumulate ${accumulate}`,
          arrays,
          outputs: ['out'],
          call: (b, s) => b.activationBackward({ dinp: s.out, dout: s.b, inp: s.a, kind, accumulate }),
          tolerance: 1e-6,
        });
      }
    }
  }
  await checkCases(cases);
});

test('gated activations agree with the reference, and a row with itself alone', async () => {
  const cases: KernelCase[] = [];
  for (const [R, I] of [
    [1, 1],
    [3, 7],
    [2, 33],
    [70, 130],
    [3, 8200],
  ]) {
    const arrays = { out: values(1, R * I), inp: values(2, 2 * R * I, 6), dinp: values(3, 2 * R * I) };
    const dims = { R, I };
    for (const kind of R * I > 5000 ? (['silu'] as const) : ACTIVATIONS) {
      const label = `${kind} ${R}×${I}`;
      cases.push({
        label: `gatedActivationForward ${label}`,
        arrays,
        outputs: ['out'],
        call: (b, s) => b.gatedActivationForward({ out: s.out, inp: s.inp, kind, ...dims }),
        tolerance: 1e-6,
      });
      for (const accumulate of [false, true]) {
        cases.push({
          label: `gatedActivationBackward ${label} accumulate ${accumulate}`,
          arrays,
          outputs: ['dinp'],
          call: (b, s) =>
            b.gatedActivationBackward({ dinp: s.dinp, dout: s.out, inp: s.inp, kind, accumulate, ...dims }),
          tolerance: 2e-6,
        });
      }
    }
  }
  await checkCases(cases);
  const [R, I] = [70, 130];
  const inp = values(2, 2 * R * I, 6);
  const caseOf = (first: number, count: number): KernelCase => ({
    label: 'gatedActivationForward',
    arrays: { out: new Float32Array(count * I), inp: rowsOf(inp, 2 * I, first, count) },
    outputs: ['out'],
    call: (b, s) => b.gatedActivationForward({ out: s.out, inp: s.inp, kind: 'gelu', R: count, I }),
  });
  await onEveryIsa(async (isa) => {
    const { out } = await run(native, caseOf(0, R));
    for (const first of [0, 63, 69]) {
      const one = await run(native, caseOf(first, 1));
      assertSameBits(one.out, rowsOf(out, I, first), `${isa} row ${first}`);
    }
  });
});

/** x times a logistic function, which does not cancel: ½(1 + tanh u) = 1/(1 + e^(−2u)). */
const timesLogistic = (x: number, u: number) => x / (1 + Math.exp(-u));
const smooth = {
  gelu_new: (x: number) => timesLogistic(x, 2 * Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)),
  gelu: (x: number) => x * normalBelow(x),
  silu: (x: number) => timesLogistic(x, x),
  quick_gelu: (x: number) => timesLogistic(x, 1.702 * x),
};

test('smooth activations keep their relative precision far out, where the exponential vanishes and overflows', async () => {
  const x = Float32Array.of(-1e30, -1000, -20, -9, -5.5, -4, -1e-3, -1e-20, 0, 1e-20, 4, 9, 20, 1000, 1e30);
  const odd = [Number.NaN, Number.POSITIVE_INFINITY];
  await onEveryIsa(async (isa) => {
    for (const kind of ['gelu_new', 'gelu', 'silu', 'quick_gelu'] as const) {
      const apply = async (x: Float32Array, backward: boolean) => {
        const { out } = await run(native, {
          label: kind,
          arrays: { out: new Float32Array(x.length), x, dout: new Float32Array(x.length).fill(1) },
          outputs: ['out'],
          call: (b, s) =>
            backward
              ? b.activationBackward({ dinp: s.out, dout: s.dout, inp: s.x, kind, accumulate: false })
              : b.activationForward({ out: s.out, inp: s.x, kind }),
        });
        return Array.from(out);
      };
      const found = await apply(x, false);
      for (let i = 0; i < x.length; i++) {
        const want = smooth[kind](x[i]);
        assert.ok(
          Math.abs(found[i] - want) <= 3e-6 * Math.abs(want) + 1e-37,
          `${isa} ${kind} x ${x[i]}: ${found[i]} and ${want}`,
        );
      }
      assert.deepEqual(await apply(Float32Array.from(odd), false), odd, `${isa} ${kind}`);
      const ends = await apply(Float32Array.of(-1e30, -1000, 1000, 1e30, Number.NaN), true);
      assert.deepEqual(ends.map(Math.abs), [0, 0, 1, 1, Number.NaN], `${isa} ${kind}`);
    }
  });
});

test('the normal distribution of the reference is that of mpmath', () => {
  for (const [x, want] of [
    [-37, 5.725571222524577e-300],
    [-9, 1.1285884059538405e-19],
    [-3.0001, 0.001349454913260718],
    [-2.9999, 0.001350341282954924],
    [-1, 0.15865525393145705],
    [-0.001, 0.49960105778608893],
    [0, 0.5],
    [0.5, 0.6914624612740131],
    [2.9999, 0.998649658717045],
    [3.0001, 0.9986505450867392],
    [8, 0.9999999999999993],
  ]) {
    const found = normalBelow(x);
    assert.ok(Math.abs(found - want) <= 1e-13 * want, `x ${x}: ${found} and ${want}`);
  }
});

test('dropout keeps exactly the elements that the hash of host.ts keeps', async () => {
  const key = [0x12345678, 0xfedcba98] as const;
  for (const [R, C, T, p, firstSample] of [
    [1, 1, 1, 0.5, 0],
    [7, 5, 3, 0.1, 2],
    [6, 33, 2, 0.9, 1_000_000],
    [130, 65, 65, 0.2, 4_294_967_295],
    [3, 8200, 3, 0.3, 7],
  ]) {
    const inp = values(5, R * C).map((v) => v || 1);
    const want = new Float32Array(R * C);
    const threshold = dropoutThreshold(p);
    for (let r = 0; r < R; r++) {
      const k = sampleKey(key, firstSample + Math.floor(r / T));
      for (let c = 0; c < C; c++) {
        const i = r * C + c;
        want[i] = dropoutKeep(k, (r % T) * C + c, threshold) ? inp[i] / (1 - p) : 0;
      }
    }
    await onEveryIsa(async (isa) => {
      for (const accumulate of [false, true]) {
        const before = values(6, R * C);
        const { out } = await run(native, {
          label: 'dropout',
          arrays: { out: before, inp },
          outputs: ['out'],
          call: (b, s) =>
            b.dropout({ out: s.out, inp: s.inp, R, C, T, dropout: { p, key, firstSample }, accumulate }),
        });
        const message = `${isa} ${R}×${C} p ${p}`;
        if (accumulate) {
          assertClose(
            out,
            want.map((w, i) => w + before[i]),
            1e-6,
            message,
          );
        } else {
          for (let i = 0; i < out.length; i++) assert.equal(out[i] === 0, want[i] === 0, `${message} [${i}]`);
          assertClose(out, want, 1e-6, message);
        }
      }
    });
  }
});

test('dropout repeats itself with any number of threads', async () => {
  const dropout = { p: 0.25, key: [3, 4] as const, firstSample: 9 };
  await checkCases(
    [1, 7, 200].map((R) => ({
      label: `dropout ${R} rows`,
      arrays: { out: values(1, R * 190), inp: values(2, R * 190) },
      outputs: ['out'],
      call: (b, s) => b.dropout({ out: s.out, inp: s.inp, R, C: 190, T: 5, dropout, accumulate: true }),
      tolerance: 1e-6,
    })),
  );
});

test('gated residuals agree with the reference in both forms, with vector and scalar gates', async () => {
  const cases: KernelCase[] = [];
  for (const [R, C] of [
    [1, 1],
    [2, 7],
    [5, 16],
    [33, 17],
    [100, 65],
    [257, 100],
  ]) {
    for (const G of new Set([1, C])) {
      for (const form of ['output', 'correction'] as LoopForm[]) {
        const n = R * C;
        const arrays = {
          out: values(1, n),
          x: values(2, n),
          f: values(3, n),
          gate: values(4, G),
          dout: values(5, n),
          dx: values(6, n),
          df: values(7, n),
          dgate: values(8, G),
        };
        const dims = { R, C, G };
        const label = `${R}×${C} G ${G} ${form}`;
        cases.push({
          label: `gatedResidualForward ${label}`,
          arrays,
          outputs: ['out'],
          call: (b, s) => b.gatedResidualForward({ out: s.out, x: s.x, f: s.f, gate: s.gate, ...dims, form }),
          tolerance: 1e-6,
        });
        for (const [first, second] of [
          [false, false],
          [true, false],
          [false, true],
        ]) {
          cases.push({
            label: `gatedResidualBackward ${label} accumulate ${first} ${second}`,
            arrays,
            outputs: ['dx', 'df', 'dgate'],
            call: (b, s) =>
              b.gatedResidualBackward({
                dx: s.dx,
                df: s.df,
                dgate: s.dgate,
                dout: s.dout,
                x: s.x,
                f: s.f,
                gate: s.gate,
                ...dims,
                form,
                accumulateX: first,
                accumulateF: second,
              }),
          });
        }
      }
    }
  }
  await checkCases(cases);
});

test('element-wise results do not depend on where an element lies', async () => {
  const n = 20_000;
  const x = values(31, n, 5);
  await onEveryIsa(async (isa) => {
    const all = upload(native, new Float32Array(n));
    native.activationForward({ out: all, inp: upload(native, x), kind: 'gelu_new' });
    const whole = await native.read(all);
    for (const [first, count] of [
      [0, 1],
      [7, 3],
      [8190, 5],
      [19_983, 17],
    ]) {
      const part = upload(native, new Float32Array(count));
      native.activationForward({
        out: part,
        inp: upload(native, x.slice(first, first + count)),
        kind: 'gelu_new',
      });
      assertSameBits(await native.read(part), whole.slice(first, first + count), `${isa} from ${first}`);
    }
  });
});
