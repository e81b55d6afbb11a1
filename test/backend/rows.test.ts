/** Kernels about rows: select, scale, gather, scatter, attention for some queries, and the decisions of halting. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Backend, Storage } from '../../src/backend/backend.js';
import { ShapeError } from '../../src/errors.js';
import * as engines from '../engines.js';
import {
  assertSameBits,
  checkCases,
  integers,
  type KernelCase,
  native,
  nativeBf16,
  onEveryIsa,
  reference,
  rowsOf,
  run,
  upload,
  values,
} from './helpers.js';

const ROWS = [
  [1, 1],
  [3, 16],
  [5, 7],
  [17, 65],
  [100, 31],
  [65, 257],
];

test('rows: select, scale, gather and scatter agree with the reference', async () => {
  const cases: KernelCase[] = [];
  for (const [R, C] of ROWS) {
    const dims = { R, C };
    const index = Int32Array.from({ length: R }, (_, r) => r).filter((r) => r % 3 !== 1);
    const arrays = {
      out: values(1, R * C),
      a: values(2, R * C),
      b: values(3, R * C),
      scale: values(4, R),
      dscale: values(5, R),
      mask: integers(6, R, 2),
      index,
      few: values(7, index.length * C),
    };
    for (const accumulate of [false, true]) {
      cases.push(
        {
          label: `selectRows ${R}×${C} ${accumulate}`,
          arrays,
          outputs: ['out'],
          call: (k, s) => k.selectRows({ out: s.out, mask: s.mask, a: s.a, b: s.b, ...dims, accumulate }),
          tolerance: 1e-7,
        },
        {
          label: `selectRows of one ${R}×${C} ${accumulate}`,
          arrays,
          outputs: ['out'],
          call: (k, s) => k.selectRows({ out: s.out, mask: s.mask, a: null, b: s.b, ...dims, accumulate }),
          tolerance: 1e-7,
        },
        {
          label: `scaleRowsForward ${R}×${C} ${accumulate}`,
          arrays,
          outputs: ['out'],
          call: (k, s) => k.scaleRowsForward({ out: s.out, inp: s.a, scale: s.scale, ...dims, accumulate }),
          tolerance: 1e-6,
        },
        {
          label: `scaleRowsBackward ${R}×${C} ${accumulate}`,
          arrays,
          outputs: ['out', 'dscale'],
          call: (k, s) =>
            k.scaleRowsBackward({
              dinp: s.out,
              dscale: s.dscale,
              dout: s.b,
              inp: s.a,
              scale: s.scale,
              ...dims,
              accumulate,
            }),
          tolerance: 1e-6,
        },
        {
          label: `copyColumns ${R}×${C} ${accumulate}`,
          arrays,
          outputs: ['out'],
          call: (k, s) => {
            const first = Math.floor(C / 3);
            k.copyColumns({
              out: s.out,
              inp: s.a,
              ...dims,
              first,
              count: C - first - Math.floor(C / 5),
              accumulate,
            });
          },
          tolerance: 1e-7,
        },
      );
    }
    cases.push(
      {
        label: `scaleRowsBackward without scale ${R}×${C}`,
        arrays,
        outputs: ['out'],
        call: (k, s) =>
          k.scaleRowsBackward({
            dinp: s.out,
            dscale: null,
            dout: s.b,
            inp: s.a,
            scale: s.scale,
            ...dims,
            accumulate: false,
          }),
        tolerance: 1e-6,
      },
      {
        label: `gatherRows ${R}×${C}`,
        arrays,
        outputs: ['few'],
        call: (k, s) => k.gatherRows({ out: s.few, inp: s.a, index: s.index, ...dims }),
        tolerance: 0,
      },
      {
        label: `scatterRows ${R}×${C}`,
        arrays,
        outputs: ['out'],
        call: (k, s) => k.scatterRows({ out: s.out, inp: s.few, index: s.index, ...dims }),
        tolerance: 0,
      },
    );
  }
  await checkCases(cases);
});

test('rows that do not ascend, or lie outside, are refused where the host sees them', () => {
  for (const backend of engines.webgpu ? [reference] : [native, reference]) {
    const call = (index: Int32Array) =>
      backend.gatherRows({
        out: backend.allocate(backend.dtype, index.length * 2),
        inp: backend.allocate(backend.dtype, 8),
        index: upload(backend, index),
        R: 4,
        C: 2,
      });
    assert.throws(() => call(Int32Array.of(1, 1)), ShapeError);
    assert.throws(() => call(Int32Array.of(2, 1)), ShapeError);
    assert.throws(() => call(Int32Array.of(0, 4)), ShapeError);
  }
});

test('embedding without positions agrees with the reference', async () => {
  const [R, C, V] = [17, 33, 5];
  const arrays = {
    out: values(1, R * C),
    tokens: integers(2, R, V),
    positions: integers(3, R, 9),
    wte: values(4, V * C),
    dwte: values(5, V * C),
  };
  await checkCases([
    {
      label: 'embeddingForward without positions',
      arrays,
      outputs: ['out'],
      call: (b, s) =>
        b.embeddingForward({
          out: s.out,
          tokens: s.tokens,
          positions: s.positions,
          wte: s.wte,
          wpe: null,
          R,
          C,
        }),
      tolerance: 0,
    },
    {
      label: 'embeddingBackward without positions',
      arrays,
      outputs: ['dwte'],
      call: (b, s) =>
        b.embeddingBackward({
          dwte: s.dwte,
          dwpe: null,
          dout: s.out,
          tokens: s.tokens,
          positions: s.positions,
          R,
          C,
        }),
    },
  ]);
});

test('attention of some queries repeats the bits of attention of all', async () => {
  for (const [B, T, NH, HS] of [
    [2, 5, 2, 8],
    [1, 300, 1, 16],
    [3, 200, 2, 24],
  ]) {
    const C = NH * HS;
    const dims = { B, T, NH, KV: NH, HS };
    const qkv = values(1, B * T * 3 * C, 2);
    // Few and far between, in runs, in one sequence only, and none.
    const lists = [
      (r: number) => r % 7 === 3,
      (r: number) => r % 50 > 20,
      (r: number) => Math.floor(r / T) === B - 1,
      () => false,
    ].map((keep) => Int32Array.from({ length: B * T }, (_, r) => r).filter(keep));
    for (const rows of lists) {
      const arrays = { out: values(2, rows.length * C), lse: values(3, B * NH * T), qkv, rows };
      const some: KernelCase = {
        label: `attention of ${rows.length} of ${B}×${T} queries`,
        arrays,
        outputs: ['out'],
        call: (b, s) =>
          b.attentionForward({ out: s.out, lse: s.lse, qkv: s.qkv, ...dims, dropout: null, rows: s.rows }),
        tolerance: 2e-6,
      };
      await checkCases([some]);
      await onEveryIsa(async (isa) => {
        for (const backend of [native, nativeBf16]) {
          const all = await run(backend, {
            label: 'all',
            arrays: { out: values(2, B * T * C), lse: values(3, B * NH * T), qkv },
            outputs: ['out'],
            call: (b, s) =>
              b.attentionForward({ out: s.out, lse: s.lse, qkv: s.qkv, ...dims, dropout: null, rows: null }),
          });
          const { out } = await run(backend, some);
          const expected = new Float32Array(rows.length * C);
          for (const [i, r] of rows.entries()) {
            expected.set(all.out.subarray(r * C, (r + 1) * C) as Float32Array, i * C);
          }
          assertSameBits(out, expected, `${some.label} on ${isa}, ${backend.precision}`);
        }
      });
    }
  }
});

const f64 = (...x: number[]) => upload(reference, Float64Array.of(...x));
const add = (values: Iterable<number>) => Array.from(values).reduce((a, b) => a + b, 0);
const i32 = (...x: number[]) => upload(reference, Int32Array.of(...x));

test('ACT: weights, remainder and who goes on', async () => {
  const [p, nextSum, goingOn] = [f64(0, 0, 0, 0), f64(0, 0, 0, 0), i32(9, 9, 9, 9)];
  const step = { h: f64(0.3, 0.6, 0.2, 0.7), sum: f64(0.5, 0.395, 0.1, 0.9), running: i32(1, 1, 1, 0) };
  reference.actForward({ ...step, p, nextSum, goingOn, epsilon: 0.01, last: false });
  assert.deepEqual(Array.from(await reference.read(p)), [0.3, 1 - 0.395, 0.2, 0]); // the second reaches 0.99
  assert.deepEqual(Array.from(await reference.read(goingOn)), [1, 0, 1, 0]);
  assert.equal((await reference.read(nextSum))[0], 0.8);
  reference.actForward({ ...step, p, nextSum, goingOn, epsilon: 0.01, last: true });
  assert.deepEqual(Array.from(await reference.read(p)), [0.5, 0.605, 0.9, 0]);
  assert.deepEqual(Array.from(await reference.read(goingOn)), [0, 0, 0, 0]);
});

test('the oracle takes the cheapest depth of a row, of its neighbourhood, or of the sequence', async () => {
  const exits = i32(9, 9, 9, 9);
  // Two depths, two sequences of two rows: depth 1 helps by 0.3, 0, 0.1, 0.
  const costs = f64(1.3, 1, 1.1, 1, 1, 1, 1, 1);
  const dims = { B: 2, T: 2, N: 2 };
  const options = { lambda: 0.06, sigma: 0, perSequence: false };
  const take = async (change: Partial<typeof options>) => {
    reference.oracle({ exits, costs, ...dims, ...options, ...change });
    return Array.from(await reference.read(exits));
  };
  assert.deepEqual(await take({}), [1, 0, 1, 0]);
  assert.deepEqual(await take({ lambda: 0.2 }), [1, 0, 0, 0]);
  assert.deepEqual(await take({ sigma: 1 }), [1, 1, 1, 0]); // a neighbour weighs e⁻¹
  assert.deepEqual(await take({ perSequence: true }), [1, 1, 0, 0]);
});

test('halting losses: values, and gradients against finite differences', async () => {
  const exits = i32(0, 1, 2, 1);
  const z = [0.4, -1.2, 2.5, 0.1];
  const here = (at: number[]) => {
    const [loss, dz] = [f64(0, 0, 0, 0), f64(9, 9, 9, 9)];
    reference.exitHereLoss({ loss, dz, z: f64(...at), exits, depth: 1, weight: 0.5 });
    return [loss, dz] as const;
  };
  const logistic = (x: number) => 1 / (1 + Math.exp(-x));
  const [loss, dz] = here(z);
  const expected = [0, -Math.log(logistic(-1.2)), -Math.log(1 - logistic(2.5)), -Math.log(logistic(0.1))];
  for (const [r, x] of Array.from(await reference.read(loss)).entries()) {
    assert.ok(Math.abs(x - expected[r]) < 1e-12);
  }
  const sum = async (at: number[]) => add(await reference.read(here(at)[0]));
  const gradient = await reference.read(dz);
  for (const r of [0, 1, 2, 3]) {
    const moved = (d: number) => sum(z.map((x, i) => (i === r ? x + d : x)));
    const numeric = (0.5 * ((await moved(1e-6)) - (await moved(-1e-6)))) / 2e-6;
    assert.ok(Math.abs(gradient[r] - numeric) < 1e-8);
  }

  const N = 3;
  const logits = Array.from(values(1, 4 * N, 2));
  const choice = (at: number[]) => {
    const [total, d] = [f64(0, 0, 0, 0), upload(reference, new Float64Array(4 * N))];
    reference.exitChoiceLoss({ loss: total, dz: d, z: f64(...at), exits, N, weight: 0.5 });
    return [total, d] as const;
  };
  const total = async (at: number[]) => add(await reference.read(choice(at)[0]));
  const slope = await reference.read(choice(logits)[1]);
  for (const k of logits.keys()) {
    const moved = (d: number) => total(logits.map((x, i) => (i === k ? x + d : x)));
    const numeric = (0.5 * ((await moved(1e-6)) - (await moved(-1e-6)))) / 2e-6;
    assert.ok(Math.abs(slope[k] - numeric) < 1e-8);
  }
});

/** What exits are decided by; `x, former, before, sharp, near (R, width)`. */
const MEASURES: Record<string, (b: Backend, s: Record<string, Storage>, R: number, width: number) => void> = {
  change: (b, s, R, C) => b.rowChange({ out: s.out, x: s.x, former: s.former, before: null, R, C }),
  'second difference': (b, s, R, C) =>
    b.rowChange({ out: s.out, x: s.x, former: s.former, before: s.before, R, C }),
  entropy: (b, s, R, V) => b.rowEntropy({ out: s.out, logits: s.sharp, R, V }),
  'entropy, nearly flat': (b, s, R, V) => b.rowEntropy({ out: s.out, logits: s.x, R, V }),
  divergence: (b, s, R, V) => b.rowDivergence({ out: s.out, logits: s.x, former: s.sharp, rows: null, R, V }),
  'divergence of neighbours': (b, s, R, V) =>
    b.rowDivergence({ out: s.out, logits: s.near, former: s.sharp, rows: null, R, V }),
  'divergence from itself': (b, s, R, V) =>
    b.rowDivergence({ out: s.out, logits: s.sharp, former: s.sharp, rows: null, R, V }),
};

test('what exits are decided by agrees with the reference, and a row has the same bits alone', async () => {
  for (const [R, width] of [...ROWS, [9, 3000]]) {
    const sharp = values(4, R * width, 12);
    const near = sharp.map((x, i) => x + (i % 7) / 100);
    const [x, former, before] = [1, 2, 3].map((seed) => values(seed, R * width));
    const all = { x, former, before, sharp, near };
    const caseOf = (label: string, first: number, count: number): KernelCase => ({
      label: `${label} ${R}×${width}`,
      arrays: {
        out: new Float32Array(count),
        ...Object.fromEntries(
          Object.entries(all).map(([name, array]) => [name, rowsOf(array, width, first, count)]),
        ),
      },
      outputs: ['out'],
      call: (b, s) => MEASURES[label](b, s, count, width),
    });
    await checkCases(Object.keys(MEASURES).map((label) => caseOf(label, 0, R)));
    await onEveryIsa(async (isa) => {
      for (const label of Object.keys(MEASURES)) {
        const { out } = await run(native, caseOf(label, 0, R));
        const alone = await run(native, caseOf(label, R - 1, 1));
        assertSameBits(alone.out, out.slice(R - 1), `${label} on ${isa}, alone`);
      }
    });
  }
});

test('divergence from some rows of the former predictions is that from those rows alone', async () => {
  const [R, V] = [17, 65];
  const former = values(1, R * V, 4);
  for (const rows of [[0, 1, 16], [3, 4, 9, 12], []].map((list) => Int32Array.from(list))) {
    const logits = values(2, rows.length * V, 4);
    const out = new Float32Array(rows.length);
    const some: KernelCase = {
      label: `divergence of ${rows.length} rows`,
      arrays: { out, logits, former, rows },
      outputs: ['out'],
      call: (b, s) => b.rowDivergence({ out: s.out, logits: s.logits, former: s.former, rows: s.rows, R, V }),
    };
    await checkCases([some]);
    const own = new Float32Array(rows.length * V);
    for (const [i, r] of rows.entries()) own.set(rowsOf(former, V, r), i * V);
    const gathered = await run(native, {
      label: 'gathered',
      arrays: { out, logits, own },
      outputs: ['out'],
      call: (b, s) =>
        b.rowDivergence({ out: s.out, logits: s.logits, former: s.own, rows: null, R: rows.length, V }),
    });
    assertSameBits((await run(native, some)).out, gathered.out, some.label);
  }
});

test('a state of zeros has not moved by any measure, nor stays where it is', async () => {
  for (const backend of [native, reference]) {
    const zeros = backend.allocate(backend.dtype, 8);
    const [out, x] = [backend.allocate(backend.dtype, 2), upload(backend, values(1, 8))];
    const running = upload(backend, Int32Array.of(1, 1));
    for (const state of [zeros, x]) {
      backend.rowChange({ out, x: state, former: zeros, before: null, R: 2, C: 4 });
      backend.stopBelow({ running, values: out, threshold: 1e30 });
    }
    assert.deepEqual(Array.from(await backend.read(running)), [1, 1]);
  }
});

test('stopping, counting and compacting rows', async () => {
  const running = i32(1, 1, 1, 0);
  const counts = i32(0, 0, 0, 0);
  reference.stopAbove({ running, values: f64(0.2, 0.9, 0.5, 0.1), threshold: 0.5 });
  reference.countRunning({ counts, running });
  const others = i32(1, 1, 1, 0);
  reference.stopBelow({ running: others, values: f64(0.2, 0.9, 0.5, 0.1), threshold: 0.5 });
  assert.deepEqual(Array.from(await reference.read(others)), [0, 1, 1, 0]);
  reference.stopAt({ running, exits: i32(4, 4, 2, 4), depth: 2 });
  reference.countRunning({ counts, running });
  assert.deepEqual(Array.from(await reference.read(counts)), [2, 0, 1, 0]);
  assert.deepEqual(Array.from(await reference.read(reference.compact(running)!)), [0]);
  const exits = i32(9, 9);
  reference.argmaxRows({ exits, z: f64(1, 3, 3, 5, 2, 2), N: 3 });
  assert.deepEqual(Array.from(await reference.read(exits)), [1, 0]);
  const weights = f64(9, 9, 9);
  reference.weightsAt({
    weights,
    exits: i32(1, 1, 2),
    targets: i32(5, -1, 5),
    depth: 1,
    last: false,
    value: 0.25,
  });
  assert.deepEqual(Array.from(await reference.read(weights)), [0.25, 0, 0]);
  reference.weightsAt({
    weights,
    exits: i32(1, 1, 2),
    targets: i32(5, -1, 5),
    depth: 1,
    last: true,
    value: 0.25,
  });
  assert.deepEqual(Array.from(await reference.read(weights)), [0.25, 0, 0.25]);
});
