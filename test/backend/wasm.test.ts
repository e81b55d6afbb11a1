/**
 * The WebAssembly engine where it differs from the addon: its files, memory, threads and fall-backs. What its kernels
 * compute is tested by the other files here, with LOOPNN_BACKEND=wasm.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import type { HostArray } from '../../src/backend/backend.js';
import { type WasmHost, type WasmIsa, WasmModule, wasmIsas } from '../../src/backend/wasm/module.js';
import { WasmBackend } from '../../src/backend/wasm/wasm.js';
import { BackendError, ShapeError } from '../../src/errors.js';
import { createBackend } from '../../src/node/backend.js';
import { createWasmModule } from '../../src/node/wasm.js';
import { parseModelConfig } from '../../src/models/config.js';
import { GPT } from '../../src/models/gpt.js';
import { normal } from '../../src/random.js';
import { Runtime } from '../../src/tensor/tensor.js';
import { assertClose, inFreshProcess, upload, values } from './helpers.js';

const FILES = new URL('../../../wasm/', import.meta.url);
const folder = mkdtempSync(join(tmpdir(), 'loopnn-'));
after(() => rmSync(folder, { recursive: true }));

const bytesOf = (isa: WasmIsa) => new Uint8Array(readFileSync(new URL(`${isa}.wasm`, FILES)));
/** What a page without shared memory has. */
const plain: WasmHost = { read: async (isa) => bytesOf(isa), threads: 4 };

/** A product on a backend, whose bits depend on everything that matters. */
async function product(backend: WasmBackend): Promise<HostArray> {
  const [R, K, N] = [37, 130, 70];
  const [inp, weight, bias] = [R * K, K * N, N].map((n, i) => upload(backend, values(i, n)));
  const out = backend.allocate('f32', R * N);
  backend.linearForward({ out, inp, weight, bias, R, K, N });
  const found = await backend.read(out);
  for (const storage of [inp, weight, bias, out]) backend.free(storage);
  return found;
}

test('every instruction set of this runtime has a module, best first', async () => {
  assert.ok(wasmIsas().includes('simd128'));
  const found = await WasmModule.create(plain);
  assert.equal(found.isa, wasmIsas()[0]);
  for (const isa of wasmIsas()) {
    const backend = new WasmBackend(await WasmModule.create({ ...plain, isa }));
    assert.equal(backend.description, `wasm (${isa}, f32, 1 thread)`);
  }
  await assert.rejects(
    WasmModule.create({ ...plain, isa: 'avx2' as WasmIsa }),
    /^BackendError: wasm: instruction set must be one that this runtime has \(.*simd128\), got 'avx2'$/,
  );
});

test('without shared memory there is one thread, with the bits of three', async () => {
  const alone = new WasmBackend(await WasmModule.create(plain));
  const module = await createWasmModule({ threads: 3 });
  assert.equal(module.threads, 3);
  const three = new WasmBackend(module);
  assert.deepEqual(await product(three), await product(alone));
  await module.setThreads(2);
  assert.equal(three.description, `wasm (${module.isa}, f32, 2 threads)`);
  assert.deepEqual(await product(three), await product(alone));
});

test('a thread that does not start is told, and done without', async () => {
  const warnings: string[] = [];
  const host: WasmHost = {
    ...plain,
    start: async ({ worker }) => {
      if (worker > 0) throw new Error('no room');
    },
    onWarning: (message) => warnings.push(message),
  };
  const module = await WasmModule.create(host);
  assert.equal(module.threads, 1);
  assert.deepEqual(warnings, ['wasm: thread 2 of 4 did not start (no room); continuing with 1']);
  await product(new WasmBackend(module));
});

test('a file that is missing, damaged or of another version is refused by name', async () => {
  const isa = wasmIsas()[0];
  const refused = (read: WasmHost['read']) =>
    WasmModule.create({ ...plain, read }).then(
      () => assert.fail('accepted'),
      (error) => (error as Error).message,
    );
  const rule = `${isa}.wasm: must be the file that came with this version, but is not`;
  assert.ok((await refused(async () => bytesOf(isa).slice(0, 5000))).startsWith(rule));
  assert.ok((await refused(async () => new TextEncoder().encode('<html>'))).startsWith(rule));
  // A module with nothing in it.
  assert.ok((await refused(async () => Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0))).startsWith(rule));
  // Another boundary: its hash is a constant in the code, here one that is off by one.
  const other = bytesOf(isa);
  const { boundary } = await import('../../src/backend/wasm/exports.js');
  const constant = signedLeb(boundary() | 0);
  const at = Buffer.from(other).indexOf(Buffer.from([0x41, ...constant, 0x0b]));
  assert.ok(at > 0);
  other[at + 1] ^= 1;
  assert.match(await refused(async () => other), /but is not \(its kernels are \d+, not \d+\)$/);
  await assert.rejects(
    createWasmModule({ folder: pathToFileURL(`${folder}/none/`) }),
    new BackendError(`${isa}.wasm`, "must lie in the package's folder wasm/, but is not to be read (ENOENT)"),
  );
});

/** A whole number as WebAssembly writes it. */
function signedLeb(value: number): number[] {
  const bytes: number[] = [];
  for (;;) {
    const low = value & 0x7f;
    value >>= 7;
    if ((value === 0 && !(low & 0x40)) || (value === -1 && low & 0x40)) return [...bytes, low];
    bytes.push(low | 0x80);
  }
}

test('what does not fit into 4 GiB is refused, and the engine works on', async () => {
  const backend = new WasmBackend(await WasmModule.create(plain));
  assert.throws(
    () => backend.allocate('f32', 2 ** 31),
    /^BackendError: wasm: must find 8589934592 bytes free in WebAssembly's memory, which holds 4 GiB at most; /,
  );
  // Scratch of a kernel: nothing of its call is done, and the next one runs.
  const [R, C, V] = [1, 1, 2 ** 30];
  const tiny = backend.allocate('f32', 1);
  assert.throws(() => backend.allocate('f32', R * C * V), BackendError);
  assert.throws(() => backend.allocate('f64', 1), BackendError);
  assert.throws(() => backend.allocate('f32', -1), ShapeError);
  backend.free(tiny);
  await product(backend);
});

test('storages stay right when the memory grows, and freed ones are used again', async () => {
  const module = await WasmModule.create(plain);
  const backend = new WasmBackend(module);
  const few = values(1, 100);
  const storage = upload(backend, few);
  const part = backend.slice(storage, 10, 5);
  const before = module.buffer.byteLength;
  const large = backend.allocate('f32', 4 << 20);
  assert.ok(module.buffer.byteLength > before);
  assert.deepEqual(await backend.read(storage), few);
  assert.deepEqual(await backend.read(part), few.slice(10, 15));
  backend.free(large);
  const grown = module.buffer.byteLength;
  for (let i = 0; i < 50; i++) backend.free(backend.allocate('f32', 4 << 20));
  assert.equal(module.buffer.byteLength, grown);
  await backend.receive(part, async (into) => {
    backend.allocate('f32', 32 << 20); // moves the memory while it is waited for
    into.fill(7);
  });
  assert.deepEqual(await backend.read(part), new Float32Array(5).fill(7));
});

test('storage that is freed, foreign or a part is refused', async () => {
  const backend = new WasmBackend(await WasmModule.create(plain));
  const other = new WasmBackend(await WasmModule.create(plain));
  const [a, b] = [1, 2].map((i) => upload(backend, values(i, 8)));
  const foreign = upload(other, values(3, 8));
  assert.throws(
    () => backend.free(backend.slice(a, 1, 7)),
    /free: must be given a whole storage, not a slice/,
  );
  assert.throws(
    () => backend.accumulate({ out: a, inp: foreign }),
    /accumulate: must be given storage of this backend/,
  );
  assert.throws(() => backend.accumulate({ out: a, inp: a }), /'out' must not overlap argument 'inp'/);
  backend.free(b);
  assert.throws(
    () => backend.accumulate({ out: a, inp: b }),
    new ShapeError('accumulate', "argument 'inp' must hold 8 elements", 0),
  );
  assert.throws(() => backend.fill(b, 1), /must not be used after it was freed/);
  assert.throws(() => backend.free(b), BackendError);
  assert.throws(
    () =>
      backend.embeddingForward({
        out: a,
        tokens: upload(backend, Int32Array.of(1, 9)),
        positions: upload(backend, Int32Array.of(0, 0)),
        wte: upload(backend, values(4, 16)),
        wpe: null,
        R: 2,
        C: 4,
      }),
    new ShapeError('embeddingForward', "argument 'tokens' must hold ids from 0 to 3 (element 1)", 9),
  );
});

test('LOOPNN_BACKEND, LOOPNN_ISA and LOOPNN_NUM_THREADS choose', () => {
  const describe = `console.log((await createBackend()).description)`;
  const environment = { LOOPNN_BACKEND: 'wasm', LOOPNN_ISA: 'simd128', LOOPNN_NUM_THREADS: '2' };
  assert.equal(inFreshProcess(environment, describe), 'wasm (simd128, f32, 2 threads)');
  const attempt = `try { await createBackend() } catch (e) { console.log(e.name + ' ' + e.message) }`;
  assert.match(
    inFreshProcess({ ...environment, LOOPNN_ISA: 'sse9' }, attempt),
    /^ConfigError LOOPNN_ISA: must be one that WebAssembly has here \(.*simd128\), got 'sse9'$/,
  );
  assert.match(
    inFreshProcess({ ...environment, LOOPNN_NUM_THREADS: 'many' }, attempt),
    /^ConfigError LOOPNN_NUM_THREADS: must be a whole number from 1 to 1024, got 'many'$/,
  );
});

test('auto falls back to WebAssembly, and from there to the reference, and says what is lost', () => {
  const broken = join(folder, 'broken.node');
  writeFileSync(broken, 'not a library');
  const fallback = `const w = []; const b = await createBackend({ onWarning: (m) => w.push(m) }); console.log([b.name, b.precision, ...w].join('\\n'))`;
  const environment = { LOOPNN_BACKEND: '', LOOPNN_ISA: '', LOOPNN_NATIVE_PATH: broken };
  const [name, precision, ...warnings] = inFreshProcess(environment, fallback).split('\n');
  assert.deepEqual([name, precision, warnings.length], ['wasm', 'f32', 1]);
  assert.match(
    warnings[0],
    /^using WebAssembly, with half the speed of the addon or less and 4 GiB of memory: native addon: /,
  );

  // A copy of the package without its wasm files.
  const copy = join(folder, 'package');
  cpSync(new URL('../../src/', import.meta.url), join(copy, 'dist/src'), { recursive: true });
  const create = pathToFileURL(join(copy, 'dist/src/node/backend.js')).href;
  const script = `import { createBackend } from ${JSON.stringify(create)};\n${fallback}`;
  const output = execFileSync(process.execPath, ['--input-type=module', '-e', script], {
    encoding: 'utf8',
    env: { ...process.env, ...environment },
  });
  const [last, , warning] = output.trim().split('\n');
  assert.equal(last, 'reference');
  assert.match(
    warning,
    /^using the slow reference backend: native addon: .*; \S+\.wasm: must lie in the package's folder wasm\//,
  );
});

test('a process ends although threads wait for work', () => {
  const out = inFreshProcess(
    { LOOPNN_BACKEND: 'wasm', LOOPNN_NUM_THREADS: '3' },
    `await createBackend(); console.log('end')`,
  );
  assert.equal(out, 'end');
});

test('bf16 and int8 work, and the reference agrees with a model', async () => {
  const module = await WasmModule.create(plain);
  const losses: number[] = [];
  for (const backend of [
    await createBackend({ name: 'reference' }),
    new WasmBackend(module),
    new WasmBackend(module, 'bf16'),
    new WasmBackend(module, 'f32', true),
  ]) {
    const config = parseModelConfig({
      depth: 'loop',
      nLayer: 1,
      nLoop: 2,
      nHead: 2,
      nEmbd: 32,
      blockSize: 16,
      vocabSize: 50,
    });
    const model = new GPT(config, new Runtime(backend), { train: false });
    for (const p of model.parameters.all) {
      const gain = p.role === 'norm' ? 1 : 0;
      backend.write(
        p.storage,
        normal(3, p.name, p.size, 0.2).map((x) => x + gain),
      );
    }
    const tokens = Int32Array.from({ length: 32 }, (_, i) => (i * 7) % 50);
    using output = model.score(tokens, tokens, 2);
    const found = (await output.losses.read()) as Float32Array;
    losses.push(found.reduce((sum, loss) => sum + loss, 0) / found.length);
    model.dispose();
  }
  const [want, ...got] = losses;
  assertClose(Float32Array.from(got), new Float32Array(3).fill(want), 1e-2, `${losses}`);
  assert.ok(Math.abs(got[0] - want) < 1e-5);
  assert.notEqual(got[1], got[0]);
  assert.notEqual(got[2], got[0]);
});
