/** The addon's boundary: what it refuses and in which words, memory, and the choice of a backend. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { createBackend } from '../../src/node/backend.js';
import { ArrayStorage } from '../../src/backend/memory/storage.js';
import { NativeBackend } from '../../src/backend/native/native.js';
import { ReferenceBackend } from '../../src/backend/reference/reference.js';
import { BackendError, ShapeError } from '../../src/errors.js';
import * as engines from '../engines.js';
import { addon, inFreshProcess, native, upload, values } from './helpers.js';

/** What only an engine can refuse whose memory the host shares, or what it says in words of its own. */
const skip = engines.webgpu ? 'a GPU shares no memory with the host' : false;

const ADAMW = { lr: 1, beta1: 0.9, beta2: 0.9, eps: 1e-8, weightDecay: 0, step: 1, gradClip: 1 };
const f32 = (n: number) => upload(native, values(1, n));
const i32 = (...ids: number[]) => upload(native, Int32Array.from(ids));

/** Asserts that `body` throws an error of exactly this class and message. */
function refuses(body: () => void, kind: typeof ShapeError | typeof BackendError, message: string): void {
  assert.throws(body, (error: unknown) => {
    assert.ok(error instanceof kind, `${error} is not a ${kind.name}`);
    assert.equal(error.message, message);
    return true;
  });
}

test('wrong lengths, dimensions and types are refused by name', { skip }, () => {
  const dims = { R: 4, K: 3, N: 2 };
  const linear = (changes: Partial<typeof dims>, out = f32(8)) =>
    native.linearForward({ out, inp: f32(12), weight: f32(6), bias: f32(2), ...dims, ...changes });
  linear({});
  refuses(() => linear({}, f32(7)), ShapeError, "linearForward: argument 'out' must hold 8 elements, got 7");
  refuses(
    () => linear({ R: 5 }, f32(10)),
    ShapeError,
    "linearForward: argument 'inp' must hold 15 elements, got 12",
  );
  refuses(() => linear({ K: 4 }), ShapeError, "linearForward: argument 'weight' must hold 8 elements, got 6");
  for (const R of [-1, 1.5, Number.NaN, 2 ** 31, Number.POSITIVE_INFINITY]) {
    refuses(
      () => linear({ R }),
      ShapeError,
      `linearForward: argument 'R' must be a whole number from 0 to 2147483647, got ${R}`,
    );
  }
  refuses(
    () => native.activationForward({ out: f32(1), inp: native.allocate('i32', 1), kind: 'gelu_new' }),
    BackendError,
    "activationForward: argument 'inp' must be a Float32Array, got 'Int32Array'",
  );
  refuses(
    () => linear({ R: 2147483647 }),
    ShapeError,
    "linearForward: argument 'out' must hold 4294967294 elements, got 8",
  );
  refuses(
    () =>
      native.attentionForward({
        out: f32(1),
        lse: f32(1),
        qkv: f32(3),
        B: 2 ** 30,
        T: 2 ** 30,
        NH: 2 ** 30,
        KV: 2 ** 30,
        HS: 1,
        dropout: null,
        rows: null,
      }),
    ShapeError,
    "attentionForward: argument 'out' must hold fewer than 2^63 elements, got 1",
  );
  refuses(
    () => linear({}, i32(1, 2, 3, 4, 5, 6, 7, 8)),
    BackendError,
    "linearForward: argument 'out' must be a Float32Array, got 'Int32Array'",
  );
  refuses(
    () =>
      native.activationForward({
        out: new ArrayStorage('f64', new Float64Array(3)),
        inp: f32(3),
        kind: 'gelu_new',
      }),
    BackendError,
    "activationForward: argument 'out' must be a Float32Array, got 'Float64Array'",
  );
  refuses(
    () => addon.linearForward(new Float32Array(1), new Float32Array(1)),
    BackendError,
    'linearForward: must be called with 8 arguments, got 2',
  );
  refuses(() => addon.fill(null, 1), BackendError, "fill: argument 'dst' must be a Float32Array, got 'null'");
  refuses(
    () => addon.activationBackward(new Float32Array(1), new Float32Array(1), new Float32Array(1), 0, 1),
    BackendError,
    "activationBackward: argument 'accumulate' must be a boolean, got 'number'",
  );
  refuses(
    () => addon.add(new Float32Array(new SharedArrayBuffer(4)), new Float32Array(1), new Float32Array(1)),
    BackendError,
    "add: argument 'out' must not lie in shared memory, got 'SharedArrayBuffer'",
  );
});

test('a GPU refuses wrong lengths, dimensions, types, options and storage of others by name', {
  skip: engines.webgpu ? false : 'it runs on WebGPU alone: LOOPNN_BACKEND=webgpu',
}, () => {
  const dims = { R: 4, K: 3, N: 2 };
  const linear = (changes: Partial<typeof dims>, out = f32(8)) =>
    native.linearForward({ out, inp: f32(12), weight: f32(6), bias: f32(2), ...dims, ...changes });
  linear({});
  refuses(() => linear({}, f32(7)), ShapeError, "linearForward: argument 'out' must hold 8 elements, got 7");
  refuses(() => linear({ K: 4 }), ShapeError, "linearForward: argument 'inp' must hold 16 elements, got 12");
  refuses(
    () => linear({ R: -1 }),
    ShapeError,
    "linearForward: argument 'R' must be a whole number from 0 to 2147483647, got -1",
  );
  refuses(
    () => linear({}, i32(1, 2, 3, 4, 5, 6, 7, 8)),
    ShapeError,
    "linearForward: argument 'out' must hold floating-point elements, got 'i32'",
  );
  refuses(
    () => native.add({ out: f32(2), a: f32(2), b: new ReferenceBackend('f32').allocate('f32', 2) }),
    BackendError,
    'add: must be given storage of this backend',
  );
  refuses(
    () =>
      native.gatedResidualForward({
        out: f32(6),
        x: f32(6),
        f: f32(6),
        gate: f32(2),
        R: 2,
        C: 3,
        G: 2,
        form: 'output',
      }),
    ShapeError,
    "gatedResidualForward: argument 'G' must be 1 or 3, got 2",
  );
});

test('ids outside their table are refused before anything is written', { skip }, async () => {
  const out = f32(6);
  const before = await native.read(out);
  const embed = (tokens: number[], positions: number[]) =>
    native.embeddingForward({
      out,
      tokens: i32(...tokens),
      positions: i32(...positions),
      wte: f32(15),
      wpe: f32(6),
      R: 2,
      C: 3,
    });
  refuses(
    () => embed([0, 5], [0, 1]),
    ShapeError,
    "embeddingForward: argument 'tokens' must hold ids from 0 to 4 (element 1), got 5",
  );
  refuses(
    () => embed([0, 4], [-1, 1]),
    ShapeError,
    "embeddingForward: argument 'positions' must hold ids from 0 to 1 (element 0), got -1",
  );
  assert.deepEqual(await native.read(out), before);
  refuses(
    () =>
      native.embeddingForward({
        out,
        tokens: i32(0, 0),
        positions: i32(0, 0),
        wte: f32(14),
        wpe: f32(6),
        R: 2,
        C: 3,
      }),
    ShapeError,
    "embeddingForward: argument 'wte' must hold whole rows of 3 elements, got 14",
  );
  refuses(
    () =>
      native.headForward({
        loss: f32(1),
        argmax: null,
        maxProb: null,
        inp: f32(2),
        weight: f32(6),
        targets: i32(3),
        R: 1,
        C: 2,
        V: 3,
      }),
    ShapeError,
    "headForward: argument 'targets' must hold ids from -1 to 2 (element 0), got 3",
  );
});

test('outputs that overlap another argument are refused', { skip }, () => {
  const whole = f32(20);
  const part = (offset: number, n: number) => native.slice(whole, offset, n);
  native.accumulate({ out: part(0, 10), inp: part(10, 10) });
  refuses(
    () => native.add({ out: part(0, 10), a: part(1, 10), b: f32(10) }),
    BackendError,
    "add: argument 'out' must not overlap argument 'a'",
  );
  refuses(
    () => native.activationForward({ out: part(0, 10), inp: part(0, 10), kind: 'gelu_new' }),
    BackendError,
    "activationForward: argument 'out' must not overlap argument 'inp'",
  );
  refuses(
    () => native.copy(part(0, 10), part(9, 10)),
    BackendError,
    "copy: argument 'dst' must not overlap argument 'src'",
  );
  const arrays = { param: part(0, 5), grad: part(4, 5), m: part(10, 5), v: part(15, 5) };
  refuses(
    () => native.adamw({ ...arrays, squares: f32(1), nonFinite: f32(1), ...ADAMW }),
    BackendError,
    "adamw: argument 'param' must not overlap argument 'grad'",
  );
});

test('options that make no sense are refused', { skip }, () => {
  const adamw = (changes: object) =>
    native.adamw({
      ...{ param: f32(3), grad: f32(3), m: f32(3), v: f32(3), squares: f32(1), nonFinite: f32(1) },
      ...ADAMW,
      ...changes,
    });
  refuses(
    () => adamw({ lr: Number.NaN }),
    BackendError,
    "adamw: argument 'lr' must be a finite number, got NaN",
  );
  refuses(() => adamw({ beta2: 1.5 }), BackendError, "adamw: argument 'beta2' must be at most 1, got 1.5");
  refuses(
    () => adamw({ step: 0 }),
    ShapeError,
    "adamw: argument 'step' must be a whole number from 1 to 2147483647, got 0",
  );
  const dropout = (p: number) =>
    native.dropout({
      out: f32(4),
      inp: f32(4),
      R: 2,
      C: 2,
      T: 1,
      dropout: { p, key: [0, 0], firstSample: 0 },
      accumulate: false,
    });
  refuses(() => dropout(0), BackendError, "dropout: argument 'p' must lie between 0 and 1, got 0");
  refuses(() => dropout(1), BackendError, "dropout: argument 'p' must lie between 0 and 1, got 1");
  refuses(
    () =>
      native.gatedResidualForward({
        out: f32(6),
        x: f32(6),
        f: f32(6),
        gate: f32(2),
        R: 2,
        C: 3,
        G: 2,
        form: 'output',
      }),
    ShapeError,
    "gatedResidualForward: argument 'G' must be 1 or 3, got 2",
  );
  assert.throws(
    () => addon.setIsa('mmx'),
    /instruction set must be one that this machine has \(.*\), got 'mmx'/,
  );
  assert.throws(() => addon.setThreads(0), ShapeError);
});

test('memory is zeroed, aligned by size, usable after others are freed, and gone when freed', {
  skip,
}, async () => {
  for (const n of [1, 100, 50_000, 2_000_000]) {
    const a = native.allocate('f32', n);
    assert.equal(a.length, n);
    const values = await native.read(a);
    assert.ok(
      values.every((x) => x === 0),
      `${n} zeros`,
    );
    native.fill(a, 3);
    const b = native.allocate('f32', n);
    native.copy(b, a);
    native.free(a);
    assert.equal(a.length, 0, 'a freed storage is empty');
    refuses(
      () => native.fill(a, 1),
      BackendError,
      "fill: argument 'dst' must not have been freed or detached",
    );
    assert.equal((await native.read(b))[n - 1], 3);
    native.free(b);
  }
});

test('only whole storages from allocate can be freed, once', { skip }, () => {
  const a = native.allocate('f32', 10);
  refuses(
    () => native.free(native.slice(a, 1, 9)),
    BackendError,
    'free: must be given a whole storage, not a slice of one',
  );
  refuses(
    () => addon.free(new ArrayBuffer(8)),
    BackendError,
    "free: argument 'buffer' must come from allocate and not have been freed",
  );
  const { buffer } = (a as ArrayStorage).data;
  native.free(a);
  refuses(
    () => addon.free(buffer),
    BackendError,
    "free: argument 'buffer' must come from allocate and not have been freed",
  );
  assert.throws(() => native.allocate('f32', 2 ** 50), BackendError);
  assert.throws(() => native.allocate('f32', -1), ShapeError);
  assert.throws(() => native.allocate('f64', 1), BackendError);
});

test('untouched memory is not resident, and freed memory leaves at once', { skip }, () => {
  const before = process.memoryUsage.rss();
  const big = native.allocate('f32', 64 << 20);
  assert.ok(process.memoryUsage.rss() - before < 64 << 20, 'no page of 256 MiB is touched yet');
  native.fill(big, 1);
  assert.ok(process.memoryUsage.rss() - before > 200 << 20, 'filled pages are resident');
  native.free(big);
  assert.ok(process.memoryUsage.rss() - before < 64 << 20, 'freed pages are gone');
});

test('createBackend chooses by name and falls back with one warning', async () => {
  const warnings: string[] = [];
  const warn = (message: string) => warnings.push(message);
  assert.ok((await createBackend({ name: 'auto', onWarning: warn })) instanceof NativeBackend);
  assert.equal((await createBackend({ name: 'reference', onWarning: warn })).name, 'reference');
  assert.equal((await createBackend({ name: 'native', precision: 'bf16' })).precision, 'bf16');
  assert.equal((await createBackend({ name: 'reference' })).precision, 'f32');
  await assert.rejects(
    createBackend({ name: 'reference', precision: 'bf16' }),
    /precision: must be f32 on the reference backend, got 'bf16'/,
  );
  await assert.rejects(
    createBackend({ name: 'cuda', onWarning: warn }),
    /backend: must be auto, native, wasm, webgpu or reference, got 'cuda'/,
  );
  assert.deepEqual(warnings, []);
});

test('a missing, truncated or foreign addon is a BackendError with a remedy; auto falls back', () => {
  const dir = mkdtempSync(path.join(tmpdir(), 'loopnn-'));
  try {
    const broken = path.join(dir, 'broken.node');
    writeFileSync(broken, 'not a library');
    const attempt = `try { await createBackend({ name: 'native' }) } catch (e) { console.log(e.name + ' ' + e.message) }`;
    assert.equal(
      inFreshProcess({ LOOPNN_NATIVE_PATH: path.join(dir, 'missing.node') }, attempt),
      'BackendError native addon: LOOPNN_NATIVE_PATH: must have been built, but its file is missing or unreadable; run `npm run build`',
    );
    const message = inFreshProcess({ LOOPNN_NATIVE_PATH: broken }, attempt);
    assert.match(
      message,
      /^BackendError native addon: LOOPNN_NATIVE_PATH: must fit this machine and Node .*; run `npm run build`$/,
    );
    assert.ok(!message.includes(dir), 'no path of the machine');
    const fallback = `const w = []; const b = await createBackend({ name: 'auto', onWarning: (m) => w.push(m) }); console.log(b.name, w.length)`;
    assert.equal(inFreshProcess({ LOOPNN_NATIVE_PATH: broken }, fallback), 'wasm 1');
  } finally {
    rmSync(dir, { recursive: true });
  }
});

test('LOOPNN_ISA and LOOPNN_NUM_THREADS decide at load; an impossible set is an error', () => {
  const describe = `console.log((await createBackend({ name: 'native' })).description)`;
  assert.equal(
    inFreshProcess({ LOOPNN_ISA: 'portable', LOOPNN_NUM_THREADS: '3' }, describe),
    'native (portable, f32, 3 threads)',
  );
  const attempt = `try { await createBackend({ name: 'native' }) } catch (e) { console.log(e.name + ' ' + e.message) }`;
  assert.match(
    inFreshProcess({ LOOPNN_ISA: 'sse9' }, attempt),
    /^ConfigError LOOPNN_ISA: instruction set must be one that this machine has \(.*portable\), got 'sse9'$/,
  );
  assert.equal(
    inFreshProcess({ LOOPNN_NUM_THREADS: 'many' }, attempt),
    "ConfigError LOOPNN_NUM_THREADS: must be a whole number from 1 to 1024, got 'many'",
  );
});

test('the addon keeps working in worker threads', () => {
  const nativeModule = fileURLToPath(new URL('../../src/backend/native/native.js', import.meta.url));
  const script = `
    import { pathToFileURL } from 'node:url';
    const { NativeBackend } = await import(pathToFileURL(${JSON.stringify(nativeModule)}).href);
    const b = new NativeBackend();
    const x = b.allocate('f32', 100000);
    for (let i = 0; i < 200; i++) b.fill(x, i);
    if ((await b.read(x))[99999] !== 199) process.exit(1);
  `;
  const source = JSON.stringify(`data:text/javascript,${encodeURIComponent(script)}`);
  const main = `
    import { Worker } from 'node:worker_threads';
    const run = () => new Promise((yes, no) => new Worker(new URL(${source})).on('exit', yes).on('error', no));
    console.log(await Promise.all([run(), run(), run()]));
  `;
  const output = execFileSync(process.execPath, ['--input-type=module', '-e', main], { encoding: 'utf8' });
  assert.match(output, /\[ 0, 0, 0 \]/);
});

test('a storage larger than the runtime allows is refused, not a crash', () => {
  assert.throws(() => new NativeBackend().allocate('f32', 2 ** 40), BackendError);
});
