/**
 * A separate program: multiplies one matrix with the addon that LOOPNN_NATIVE_PATH names, on each instruction set and
 * in each precision. Exits 1 with a line on the error; an addon that does not fit the machine crashes here.
 */
import { nativeInfo, setIsa } from './addon.js';
import { NativeBackend } from './native.js';

/** Not multiples of a vector; small whole numbers, so that every order of addition gives the same sum. */
const [R, K, N] = [5, 67, 37];
const whole = (n: number, factor: number) =>
  Float32Array.from({ length: n }, (_, i) => ((i * factor) % 7) - 3);
const inp = whole(R * K, 3);
const weight = whole(K * N, 5);

async function multiply(backend: NativeBackend): Promise<Float32Array> {
  const upload = (values: Float32Array) => {
    const storage = backend.allocate('f32', values.length);
    backend.write(storage, values);
    return storage;
  };
  const out = backend.allocate('f32', R * N);
  backend.linearForward({ out, inp: upload(inp), weight: upload(weight), bias: null, R, K, N });
  return (await backend.read(out)) as Float32Array;
}

function expected(row: number, column: number): number {
  let sum = 0;
  for (let k = 0; k < K; k++) sum += inp[row * K + k] * weight[k * N + column];
  return sum;
}

try {
  for (const isa of nativeInfo().isas) {
    setIsa(isa);
    for (const precision of ['f32', 'bf16'] as const) {
      const product = await multiply(new NativeBackend(precision));
      if (product.some((value, i) => value !== expected(Math.floor(i / N), i % N))) {
        throw new Error(`multiplies wrongly on ${isa} in ${precision}`);
      }
    }
  }
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}
