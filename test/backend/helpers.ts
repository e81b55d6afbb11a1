/**
 * What the backend tests share: seeded values, and cases that run on any backend. A case names its arrays; the
 * reference backend in double precision is the oracle. Knows no kernel.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import type { Backend, DType, HostArray, Storage } from '../../src/backend/backend.js';
import { mix32 } from '../../src/random.js';
import { loadAddon } from '../../src/backend/native/addon.js';
import { NativeBackend } from '../../src/backend/native/native.js';
import { ReferenceBackend } from '../../src/backend/reference/reference.js';
import * as engines from '../engines.js';

export const addon = loadAddon();
/** The kernels in C++: the addon's, or with LOOPNN_BACKEND=wasm those of WebAssembly. */
export const native = engines.onEngine(new NativeBackend('f32'));
export const nativeBf16 = engines.onEngine(new NativeBackend('bf16'));
export const reference = new ReferenceBackend('f64');
export const isas = engines.isas();
const threadsAtFirst = engines.threadsInUse();

/** One kernel call: its arrays by name, which of them it writes, and the call itself. */
export interface KernelCase {
  label: string;
  arrays: Record<string, HostArray | null>;
  outputs: string[];
  call(backend: Backend, at: Record<string, Storage>): void;
  /** Allowed error relative to the largest value of an output; 1e-5 unless told. */
  tolerance?: number;
  /**
   * The same for the bf16 backend, or f16 on a GPU, on arrays that are rounded to bf16 beforehand, so that only what a
   * kernel rounds in between differs from the reference; where it is absent, the kernel knows no precision.
   */
  bf16Tolerance?: number;
}

const word = new Uint32Array(1);
const float = new Float32Array(word.buffer);

/** x rounded to bfloat16, to the nearest, ties to even. */
export function roundToBf16(x: number): number {
  if (Number.isNaN(x)) return Number.NaN;
  float[0] = x;
  word[0] = ((word[0] + 0x7fff + ((word[0] >>> 16) & 1)) & 0xffff0000) >>> 0;
  return float[0];
}

/** `n` values in [−scale, scale), the same for the same seed. */
export function values(seed: number, n: number, scale = 1): Float32Array {
  return new Float32Array(n).map((_, i) => (mix32(mix32(seed) + i) / 2 ** 31 - 1) * scale);
}

/** `n` whole numbers in [least, end). */
export function integers(seed: number, n: number, end: number, least = 0): Int32Array {
  return new Int32Array(n).map((_, i) => least + (mix32(mix32(seed + 77) + i) % (end - least)));
}

export function upload(backend: Backend, array: HostArray): Storage {
  const dtype: DType = array instanceof Int32Array ? 'i32' : backend.dtype;
  const storage = backend.allocate(dtype, array.length);
  backend.write(storage, array);
  return storage;
}

/** Runs a case on fresh copies of those of its arrays that the call asks for, and returns its outputs. */
export async function run(backend: Backend, test: KernelCase): Promise<Record<string, HostArray>> {
  const uploaded: Record<string, Storage> = {};
  const at: Record<string, Storage> = {};
  for (const [name, array] of Object.entries(test.arrays)) {
    if (!array) continue;
    const get = () => {
      uploaded[name] ??= upload(backend, array);
      return uploaded[name];
    };
    Object.defineProperty(at, name, { enumerable: true, get });
  }
  test.call(backend, at);
  const result: Record<string, HostArray> = {};
  for (const name of test.outputs) if (test.arrays[name]) result[name] = await backend.read(at[name]);
  for (const storage of Object.values(uploaded)) backend.free(storage);
  return result;
}

/** Calls `body` once for every instruction set, then restores the default. */
export async function onEveryIsa(body: (isa: string) => void | Promise<void>): Promise<void> {
  try {
    for (const isa of isas) {
      engines.setIsa(isa);
      await body(isa);
    }
  } finally {
    engines.setIsa(isas[0]);
  }
}

/** Checks cases against the reference on every instruction set, and that 2 and 3 threads repeat the bits of 1. */
export async function checkCases(cases: KernelCase[]): Promise<void> {
  await checkOn(native, cases);
  const rounded = cases
    .filter(({ bf16Tolerance }) => bf16Tolerance !== undefined)
    .map((test) => ({
      ...test,
      label: `bf16 ${test.label}`,
      tolerance: test.bf16Tolerance!,
      arrays: Object.fromEntries(
        Object.entries(test.arrays).map(([name, array]) => [
          name,
          array instanceof Float32Array ? array.map(roundToBf16) : array,
        ]),
      ),
    }));
  await checkOn(nativeBf16, rounded);
}

async function checkOn(backend: Backend, cases: KernelCase[]): Promise<void> {
  const expected: Record<string, HostArray>[] = [];
  for (const test of cases) expected.push(await run(reference, test));
  try {
    await onEveryIsa(async (isa) => {
      const single: Record<string, HostArray>[] = [];
      // A GPU has no threads to set: its bits repeat, whatever the precision.
      const repeats = backend === nativeBf16 ? [1] : [1, 2];
      for (const threads of engines.webgpu ? repeats : [1, 2, 3]) {
        await engines.setThreads(threads);
        for (const [i, test] of cases.entries()) {
          const got = await run(backend, test);
          const where = `${test.label} on ${isa}`;
          if (threads === 1) {
            single[i] = got;
            for (const name of Object.keys(expected[i])) {
              assertClose(got[name], expected[i][name], test.tolerance ?? 1e-5, `${where}: ${name}`);
            }
          } else {
            for (const name of Object.keys(got)) {
              assertSameBits(got[name], single[i][name], `${where}, ${threads} threads: ${name}`);
            }
          }
        }
      }
    });
  } finally {
    await engines.setThreads(threadsAtFirst);
  }
}

/** |got − want| ≤ tolerance · (largest |want|, at least 0.1) for every element; whole numbers must be equal. */
export function assertClose(got: HostArray, want: HostArray, tolerance: number, message: string): void {
  assert.equal(got.length, want.length, message);
  if (got instanceof Int32Array) {
    assert.deepEqual(Array.from(got), Array.from(want), message);
    return;
  }
  let magnitude = 0.1;
  for (const x of want) if (Number.isFinite(x)) magnitude = Math.max(magnitude, Math.abs(x));
  for (let i = 0; i < want.length; i++) {
    const error = Object.is(got[i], want[i]) ? 0 : Math.abs(got[i] - want[i]);
    if (!(error <= tolerance * magnitude)) {
      assert.fail(`${message}[${i}]: got ${got[i]}, want ${want[i]}, magnitude ${magnitude}`);
    }
  }
}

export function assertSameBits(got: HostArray, want: HostArray, message: string): void {
  assert.equal(got.length, want.length, message);
  const a = new Uint32Array(got.slice().buffer);
  const b = new Uint32Array(want.slice().buffer);
  for (let i = 0; i < a.length; i++) {
    if (a[i] !== b[i]) assert.fail(`${message}[${i}]: ${got[i]} and ${want[i]} differ in their bits`);
  }
}

/** Rows [first, first + count) of an array of rows. */
export function rowsOf<A extends HostArray>(array: A, width: number, first: number, count = 1): A {
  return array.slice(first * width, (first + count) * width) as A;
}

/** Runs a line of JavaScript in a fresh process, where no addon has been loaded yet, and returns what it prints. */
export function inFreshProcess(environment: Record<string, string>, body: string): string {
  const create = new URL('../../src/node/backend.js', import.meta.url).href;
  const script = `import { createBackend } from ${JSON.stringify(create)};\n${body}`;
  return execFileSync(process.execPath, ['--input-type=module', '-e', script], {
    encoding: 'utf8',
    env: { ...process.env, ...environment },
  }).trim();
}
