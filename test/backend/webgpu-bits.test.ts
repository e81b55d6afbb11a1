/**
 * Kernels of one rounding an element, on SwiftShader: its +, −, ×, ÷ and √ are exact, so they give the bits of the
 * reference, which computes in doubles. GPUs may round otherwise.
 */
import { test } from 'node:test';
import { openNodeWebGpu } from '../../src/node/webgpu.js';
import { ReferenceBackend } from '../../src/backend/reference/reference.js';
import { whyNoWebGpu } from '../webgpu.js';
import { assertSameBits, integers, type KernelCase, run, values } from './helpers.js';

const backend = (await whyNoWebGpu()) === false ? await openNodeWebGpu() : null;
const skip = backend?.description.includes('SwiftShader') ? false : 'needs SwiftShader';

const [R, C] = [37, 29];
const n = R * C;
const dims = { R, C };
const a = values(1, n);
const b = values(2, n);
const out = values(3, n);
const rows = Int32Array.from({ length: 13 }, (_, i) => 2 * i + (i % 2));

const CASES: readonly KernelCase[] = [
  {
    label: 'add',
    arrays: { out, a, b },
    outputs: ['out'],
    call: (k, s) => k.add({ out: s.out, a: s.a, b: s.b }),
  },
  {
    label: 'accumulate',
    arrays: { out, a },
    outputs: ['out'],
    call: (k, s) => k.accumulate({ out: s.out, inp: s.a }),
  },
  ...(['relu', 'relu2'] as const).map(
    (kind) =>
      ({
        label: kind,
        arrays: { out, a },
        outputs: ['out'],
        call: (k, s) => k.activationForward({ out: s.out, inp: s.a, kind }),
      }) satisfies KernelCase,
  ),
  {
    label: 'scaleRowsForward',
    arrays: { out, a, scale: values(4, R) },
    outputs: ['out'],
    call: (k, s) => k.scaleRowsForward({ out: s.out, inp: s.a, scale: s.scale, ...dims, accumulate: false }),
  },
  {
    label: 'selectRows',
    arrays: { out, a, b, mask: integers(5, R, 2) },
    outputs: ['out'],
    call: (k, s) => k.selectRows({ out: s.out, mask: s.mask, a: s.a, b: s.b, ...dims, accumulate: true }),
  },
  {
    label: 'copyColumns',
    arrays: { out, a },
    outputs: ['out'],
    call: (k, s) => k.copyColumns({ out: s.out, inp: s.a, ...dims, first: 3, count: 11, accumulate: true }),
  },
  {
    label: 'gatherRows',
    arrays: { out: values(6, 13 * C), a, rows },
    outputs: ['out'],
    call: (k, s) => k.gatherRows({ out: s.out, inp: s.a, index: s.rows, ...dims }),
  },
  {
    label: 'embeddingForward',
    arrays: {
      out,
      tokens: integers(7, R, 11),
      positions: integers(8, R, 5),
      wte: values(9, 11 * C),
      wpe: values(10, 5 * C),
    },
    outputs: ['out'],
    call: (k, s) =>
      k.embeddingForward({
        out: s.out,
        tokens: s.tokens,
        positions: s.positions,
        wte: s.wte,
        wpe: s.wpe,
        ...dims,
      }),
  },
  {
    label: 'gated residual of zeros and ones',
    arrays: { out, a, b, gate: Float32Array.from({ length: C }, (_, c) => c % 2) },
    outputs: ['out'],
    call: (k, s) =>
      k.gatedResidualForward({ out: s.out, x: s.a, f: s.b, gate: s.gate, ...dims, G: C, form: 'output' }),
  },
  {
    label: 'products of one term',
    arrays: { out: values(11, R * 7), a: values(12, R), weight: values(13, 7), bias: null },
    outputs: ['out'],
    call: (k, s) => k.linearForward({ out: s.out, inp: s.a, weight: s.weight, bias: null, R, K: 1, N: 7 }),
  },
];

for (const kernel of CASES) {
  test(`${kernel.label} has the reference's bits`, { skip }, async () => {
    const want = await run(new ReferenceBackend(), kernel);
    const got = await run(backend!, kernel);
    for (const name of kernel.outputs) assertSameBits(got[name], want[name], name);
  });
}
