/** The WebGPU engine's memory, commands and promises; its kernels are tested with those of all engines. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { HostArray, Storage } from '../../src/backend/backend.js';
import type { WebGpuBackend } from '../../src/backend/webgpu/webgpu.js';
import { openNodeWebGpu } from '../../src/node/webgpu.js';
import { whyNoWebGpu } from '../webgpu.js';
import { assertSameBits, integers, upload, values } from './helpers.js';

const skip = await whyNoWebGpu();

/** Elements of a buffer where bindings are small, and of arrays that lie in three of them. */
const PER_BUFFER = 16384;
const LONG = 2 * PER_BUFFER + 1234;

/** A backend whose bindings are small, and one of which they are not. */
const [small, usual] = skip
  ? []
  : [await openNodeWebGpu({ largestBinding: 4 * PER_BUFFER }), await openNodeWebGpu()];

/** What a body computes, on arrays in several buffers as on arrays in one. */
async function onBoth(body: (backend: WebGpuBackend) => Promise<Record<string, HostArray>>): Promise<void> {
  const got = await body(small!);
  for (const [name, want] of Object.entries(await body(usual!))) assertSameBits(got[name], want, name);
}

/** Whether a storage lies in several buffers. */
const isCut = (storage: Storage) => !(storage as unknown as { whole: boolean }).whole;

test('what is written to storage in several buffers is read from it, in whole and in part', {
  skip,
}, async () => {
  for (const host of [values(1, LONG), integers(1, LONG, 2 ** 30)]) {
    const storage = upload(small!, host);
    assert.ok(isCut(storage));
    assertSameBits(await small!.read(storage), host, 'whole');
    for (const [at, length] of [
      [PER_BUFFER - 3, 7],
      [PER_BUFFER - 1, PER_BUFFER + 2],
      [PER_BUFFER, 5],
      [LONG - 1, 1],
    ]) {
      const part = small!.slice(storage, at, length);
      assertSameBits(await small!.read(part), host.slice(at, at + length), `${length} from ${at}`);
      small!.write(part, host.slice(0, length));
      host.copyWithin(at, 0, length);
      assertSameBits(await small!.read(storage), host, `written from ${at}`);
    }
    small!.free(storage);
  }
});

test('fills and copies run over several buffers', { skip }, () =>
  onBoth(async (backend) => {
    const a = upload(backend, values(2, LONG));
    const b = upload(backend, values(3, LONG));
    const slice = (storage: Storage, at: number, length: number) => backend.slice(storage, at, length);
    backend.fill(slice(a, PER_BUFFER - 5, 9), 0);
    backend.fill(slice(a, 2 * PER_BUFFER - 5, 9), -1.5);
    backend.copy(slice(b, 3, PER_BUFFER + 100), slice(a, PER_BUFFER - 50, PER_BUFFER + 100));
    backend.copyWithin(a, PER_BUFFER + 7, 1, PER_BUFFER);
    backend.copyWithin(b, 1, 30, 17);
    const found = { a: await backend.read(a), b: await backend.read(b) };
    for (const storage of [a, b]) backend.free(storage);
    return found;
  }),
);

test('elementwise kernels run over several buffers, cut at different places', { skip }, () =>
  onBoth(async (backend) => {
    const n = PER_BUFFER + 1000;
    const [a, b, out] = [4, 5, 6].map((seed) => upload(backend, values(seed, LONG)));
    const at = (storage: Storage, first: number) => backend.slice(storage, first, n);
    backend.add({ out: at(out, 11), a: at(a, 0), b: at(b, 601) });
    backend.accumulate({ out: at(out, 1), inp: at(a, PER_BUFFER - 1) });
    const found = await backend.read(out);
    for (const storage of [a, b, out]) backend.free(storage);
    return { found };
  }),
);

test('products read and write weights that lie in two buffers', { skip }, () =>
  onBoth(async (backend) => {
    const [R, K, N] = [5, 12, 20];
    const [weights, gradients] = [7, 8].map((seed) => upload(backend, values(seed, LONG)));
    const [inp, dout] = [upload(backend, values(9, R * K)), upload(backend, values(10, R * N))];
    const [out, dinp] = [backend.allocate('f32', R * N), backend.allocate('f32', R * K)];
    const of = (storage: Storage) => backend.slice(storage, PER_BUFFER - 100, K * N);
    backend.linearForward({ out, inp, weight: of(weights), bias: null, R, K, N });
    backend.linearBackwardInput({ dinp, dout, weight: of(weights), R, K, N, accumulate: false });
    backend.linearBackwardWeight({ dweight: of(gradients), dbias: null, dout, inp, R, K, N });
    const found = {
      out: await backend.read(out),
      dinp: await backend.read(dinp),
      all: await backend.read(gradients),
    };
    for (const storage of [weights, gradients, inp, dout, out, dinp]) backend.free(storage);
    return found;
  }),
);

test('a write after a kernel that reads the place is seen by later kernels alone', { skip }, async () => {
  const backend = usual!;
  for (const n of [64, 300_000]) {
    const [inp, one] = [upload(backend, new Float32Array(n)), upload(backend, new Float32Array(n).fill(1))];
    const outs = [1, 2, 3].map((value) => {
      const out = backend.allocate('f32', n);
      backend.write(inp, new Float32Array(n).fill(value));
      backend.add({ out, a: inp, b: one });
      return out;
    });
    for (const [i, out] of outs.entries()) {
      assertSameBits(await backend.read(out), new Float32Array(n).fill(i + 2), `${n} elements, write ${i}`);
    }
    for (const storage of [inp, one, ...outs]) backend.free(storage);
  }
});

test('slices at any offset have the results of whole arrays', { skip }, async () => {
  const backend = usual!;
  const [R, K, N] = [3, 8, 12];
  const host = { inp: values(11, R * K), weight: values(12, K * N), bias: values(13, N) };
  const results: HostArray[] = [];
  for (const at of [0, 1, 2, 3, 65]) {
    const held: Storage[] = [];
    const place = (array: Float32Array) => {
      const whole = backend.allocate('f32', array.length + at);
      held.push(whole);
      const part = backend.slice(whole, at, array.length);
      backend.write(part, array);
      return part;
    };
    const out = place(new Float32Array(R * N));
    backend.linearForward({
      out,
      inp: place(host.inp),
      weight: place(host.weight),
      bias: place(host.bias),
      R,
      K,
      N,
    });
    results.push(await backend.read(out));
    assertSameBits(results.at(-1)!, results[0], `offset ${at}`);
    for (const storage of held) backend.free(storage);
  }
});

test('arrays of one buffer may be read and written by one kernel', { skip }, async () => {
  const backend = usual!;
  const [R, K, N] = [4, 8, 4];
  const arrays = {
    inp: values(14, R * K),
    weight: values(15, K * N),
    bias: values(16, N),
    out: new Float32Array(R * N),
  };
  const compute = async (at: Record<string, Storage>) => {
    const { out, inp, weight, bias } = at;
    backend.linearForward({ out, inp, weight, bias, R, K, N });
    backend.accumulate({ out, inp: backend.slice(weight, 3, R * N) });
    backend.add({ out, a: out, b: out });
    return backend.read(out);
  };
  const apart = Object.fromEntries(
    Object.entries(arrays).map(([name, array]) => [name, upload(backend, array)]),
  );
  const whole = backend.allocate('f32', 1000);
  let next = 1;
  const together = Object.fromEntries(
    Object.entries(arrays).map(([name, array]) => {
      const part = backend.slice(whole, next, array.length);
      next += array.length + 1;
      backend.write(part, array);
      return [name, part];
    }),
  );
  assertSameBits(await compute(together), await compute(apart), 'in one buffer');
  for (const storage of [whole, ...Object.values(apart)]) backend.free(storage);
});

test('any number of dispatches may wait, and few submissions take them along', { skip }, async () => {
  const backend = usual!;
  const { counts } = backend.engine.recorder;
  const [sum, one] = [upload(backend, new Float32Array(5)), upload(backend, new Float32Array(5).fill(1))];
  const before = { ...counts };
  for (let i = 0; i < 2500; i++) backend.accumulate({ out: sum, inp: one });
  assert.deepEqual([...(await backend.read(sum))], new Array(5).fill(2500));
  assert.equal(counts.dispatches - before.dispatches, 2500);
  assert.equal(counts.submissions - before.submissions, 3);
  assert.equal(counts.reads - before.reads, 1);
  for (const storage of [sum, one]) backend.free(storage);
});

test('two runs of the same kernels have the same bits, on one device and on two', { skip }, async () => {
  const [R, K, N] = [33, 30, 27];
  const bits = async (backend: WebGpuBackend) => {
    const [dout, inp] = [upload(backend, values(17, R * N)), upload(backend, values(18, R * K))];
    const [dweight, dbias] = [upload(backend, values(19, K * N)), upload(backend, values(20, N))];
    backend.linearBackwardWeight({ dweight, dbias, dout, inp, R, K, N });
    const found = [...(await backend.read(dweight)), ...(await backend.read(dbias))];
    for (const storage of [dout, inp, dweight, dbias]) backend.free(storage);
    return Float32Array.from(found);
  };
  const first = await bits(usual!);
  assertSameBits(await bits(usual!), first, 'again');
  assertSameBits(await bits(small!), first, 'on another device');
});

test('freed storage is no longer counted, and can be freed while commands that use it wait', {
  skip,
}, async () => {
  const backend = usual!;
  const { engine } = backend;
  const before = engine.bytes;
  const [sum, one] = [upload(backend, new Float32Array(64)), upload(backend, new Float32Array(64).fill(1))];
  backend.accumulate({ out: sum, inp: one });
  backend.free(one);
  assert.deepEqual([...(await backend.read(sum))], new Array(64).fill(1));
  backend.free(sum);
  assert.equal(engine.bytes, before);
});

test('5,000 dispatches with forced collections leave the device alive and memory flat', {
  skip,
  timeout: 60_000,
}, () => {
  const script = fileURLToPath(new URL('webgpu-dispatches.js', import.meta.url));
  const printed = execFileSync(process.execPath, ['--expose-gc', script], { encoding: 'utf8' });
  const { sum, early, late } = JSON.parse(printed) as { sum: number; early: number; late: number };
  assert.equal(sum, 5000);
  assert.ok(late - early < 24 << 20, `resident memory grew from ${early} to ${late}`);
});
