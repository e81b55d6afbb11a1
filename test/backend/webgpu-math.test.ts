/** The functions of one float in WGSL against JavaScript's in double precision, over their whole range. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MATH } from '../../src/backend/webgpu/math.wgsl.js';
import type { Program } from '../../src/backend/webgpu/program.js';
import { normalBelow } from '../../src/backend/reference/normal.js';
import { webgpu } from '../engines.js';
import { upload } from './helpers.js';

const skip = webgpu ? false : 'they run on WebGPU alone: LOOPNN_BACKEND=webgpu';
/** Below, results may be 0. */
const LEAST = 2 ** -125;

/** `to`: the largest number that it takes, where that is not any, nor what is no number. */
interface Precise {
  readonly of: (x: number) => number;
  readonly error: number;
  readonly to?: number;
}

const FUNCTIONS: Readonly<Record<string, Precise>> = {
  precise_exp: { of: Math.exp, error: 3e-7 },
  exp_below_0: { of: Math.exp, error: 3e-7, to: 0 },
  precise_expm1: { of: Math.expm1, error: 4e-7 },
  precise_log: { of: Math.log, error: 3e-7 },
  precise_log1p: { of: Math.log1p, error: 4e-7 },
  precise_tanh: { of: Math.tanh, error: 6e-7 },
  sigmoid: { of: (x) => 1 / (1 + Math.exp(-x)), error: 5e-7 },
  softplus: { of: (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x))), error: 5e-7 },
  normal_below: { of: normalBelow, error: 1e-6 },
};

/** Both signs, from next to nothing to the largest float, and what is no number. */
const POINTS = Float32Array.from([
  ...[0, -0, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 3.4e38, -3.4e38],
  ...[1e-30, 1e-20, 1e-10, 1e-7, 1e-6, 1e-4].flatMap((x) => [x, -x]),
  ...Array.from({ length: 4000 }, (_, i) => (i - 2000) / 1000),
  ...Array.from({ length: 4000 }, (_, i) => (i - 2000) / 18),
  ...Array.from({ length: 300 }, (_, i) => 1.3 ** (i - 150)),
]);

for (const [name, { of, error, to }] of Object.entries(FUNCTIONS)) {
  test(`${name} is right to ${error} of itself`, { skip }, async () => {
    const program: Program = {
      name: `test of ${name}`,
      arrays: { out: 'update f32', inp: 'f32' },
      runs: 'each',
      code: `${MATH}\nfn each(i: u32) { set_out(i, ${name}(inp(i))); }`,
    };
    const points = to === undefined ? POINTS : POINTS.filter((x) => x <= to);
    const [out, inp] = [new Float32Array(points.length), points].map((array) => upload(webgpu!, array));
    webgpu!.engine.run(program, { arrays: { out, inp }, count: points.length });
    const found = await webgpu!.read(out);
    for (const [i, x] of points.entries()) {
      const want = of(x);
      const rounded = Math.fround(want);
      const good = Number.isFinite(rounded)
        ? Math.abs(found[i] - want) <= error * Math.abs(want) + LEAST
        : Object.is(found[i], rounded);
      assert.ok(good, `${name}(${x}): ${found[i]} and ${want}`);
    }
  });
}
