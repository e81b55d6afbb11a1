/** Norm and rotation of queries and keys: against the reference, against their formula, and row by row. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { rotations } from '../../src/nn/rotary.js';
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
  values,
} from './helpers.js';

const P = 9;
/** R, NH, KV, HS. */
const SHAPES = [
  [1, 1, 1, 1],
  [3, 2, 2, 2],
  [5, 4, 1, 7],
  [33, 6, 2, 24],
  [70, 3, 3, 64],
  [2, 2, 1, 130],
];

function casesOf([R, NH, KV, HS]: number[], norm: boolean, turn: boolean): KernelCase[] {
  const dims = { R, NH, KV, HS };
  const n = R * (NH + 2 * KV) * HS;
  const label = `R${R} NH${NH} KV${KV} HS${HS}${norm ? ', norm' : ''}${turn ? ', rotation' : ''}`;
  const arrays = {
    qkv: values(1, n, 2),
    dqkv: values(2, n),
    rstd: norm ? values(3, R * (NH + KV)).map((x) => x + 2) : null,
    positions: integers(4, R, P),
    rotation: turn ? turns(HS) : null,
  };
  const given = { rstd: null, rotation: null };
  return [
    {
      label: `headsForward ${label}`,
      arrays,
      outputs: ['qkv', 'rstd'],
      call: (b, { dqkv: _, ...s }) => b.headsForward({ ...given, ...(s as At), ...dims, eps: 0.01 }),
    },
    {
      label: `headsBackward ${label}`,
      arrays,
      outputs: ['dqkv'],
      call: (b, s) => b.headsBackward({ ...given, ...(s as At), ...dims }),
    },
  ];
}

/** Any angles' cosines and sines, for heads of an odd size too (P, HS). */
function turns(HS: number): Float32Array {
  const half = Math.floor(HS / 2);
  const angle = (i: number) => 3 * Math.sin(i * i);
  return Float32Array.from({ length: P * HS }, (_, i) =>
    i % HS < half ? Math.cos(angle(i)) : Math.sin(angle(i - half)),
  );
}

/** The arrays of a case, which are all that its kernel takes. */
type At = Pick<Parameters<typeof native.headsBackward>[0], 'dqkv' | 'qkv' | 'positions'>;

test('heads agree with the reference, with and without norm and rotation', async () => {
  const kinds = [
    [true, true],
    [true, false],
    [false, true],
  ];
  await checkCases(SHAPES.flatMap((shape) => kinds.flatMap(([norm, turn]) => casesOf(shape, norm, turn))));
});

test('a rotated head: pairs half a head apart, turned by position · θ^(−2j/HS); values stay as they are', async () => {
  const [HS, theta] = [4, 100];
  const qkv = Float64Array.of(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12);
  const { qkv: out } = await run(reference, {
    label: 'one row',
    arrays: { qkv, positions: Int32Array.of(3), rotation: rotations(5, HS, theta) },
    outputs: ['qkv'],
    call: (b, s) =>
      b.headsForward({ ...(s as At), rstd: null, rotation: s.rotation, R: 1, NH: 1, KV: 1, HS, eps: 0 }),
  });
  const turned = [0, 4].flatMap((h) => {
    const [first, second] = [0, 1].map((j) => {
      const angle = 3 * theta ** ((-2 * j) / HS);
      const [a, b] = [qkv[h + j], qkv[h + 2 + j]];
      return [a * Math.cos(angle) - b * Math.sin(angle), b * Math.cos(angle) + a * Math.sin(angle)];
    });
    return [first[0], second[0], first[1], second[1]];
  });
  for (const [i, x] of [...turned, 9, 10, 11, 12].entries()) assert.ok(Math.abs(out[i] - x) < 1e-12, `${i}`);
});

test('a row of heads has the same bits alone and in a batch', async () => {
  const [R, NH, KV, HS] = [70, 4, 2, 24];
  const width = (NH + 2 * KV) * HS;
  const qkv = values(1, R * width);
  const positions = integers(2, R, P);
  const caseOf = (first: number, count: number): KernelCase => ({
    label: 'headsForward',
    arrays: {
      qkv: rowsOf(qkv, width, first, count),
      rstd: new Float32Array(count * (NH + KV)),
      positions: positions.slice(first, first + count),
      rotation: turns(HS),
    },
    outputs: ['qkv'],
    call: (b, s) =>
      b.headsForward({ ...(s as At), rstd: s.rstd, rotation: s.rotation, R: count, NH, KV, HS, eps: 1e-5 }),
  });
  await onEveryIsa(async (isa) => {
    const all = await run(native, caseOf(0, R));
    for (const first of [0, 30, 69]) {
      const one = await run(native, caseOf(first, 1));
      assertSameBits(one.qkv, rowsOf(all.qkv, width, first), `${isa} row ${first}`);
    }
  });
});
