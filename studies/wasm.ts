/**
 * Measures the speed of the WebAssembly engine as ratios of two sides, in turns in one process: a product on one thread
 * against the same kernels compiled for SSE2 or NEON; training steps against the reference; two threads against one.
 * Prints the least and the median time of both sides, and the ratio of the leasts.
 *
 *     node dist/studies/wasm.js [ROUNDS]
 */
import type { Backend } from '../src/backend/backend.js';
import { setIsa, setThreads } from '../src/backend/native/addon.js';
import { NativeBackend } from '../src/backend/native/native.js';
import { ReferenceBackend } from '../src/backend/reference/reference.js';
import { wasmIsas } from '../src/backend/wasm/module.js';
import { WasmBackend } from '../src/backend/wasm/wasm.js';
import { benchmarkSteps } from '../src/bench/steps.js';
import { machine } from '../src/node/machine.js';
import { nodeClock } from '../src/node/store.js';
import { createWasmModule } from '../src/node/wasm.js';
import { median } from '../src/statistics.js';
import { parseRunConfig } from '../src/train/config.js';

/** Milliseconds of one measurement. */
type Measure = () => number | Promise<number>;

const rounds = Number(process.argv[2] ?? 15);
const { processor, node, commit } = machine();
console.log(`${processor}, Node ${node}, commit ${commit}, ${rounds} rounds`);

/** Takes both in turns and prints how many times as long the slow side takes. */
async function compare(what: string, fast: Measure, slow: Measure): Promise<void> {
  const found = { fast: [] as number[], slow: [] as number[] };
  for (let round = -2; round < rounds; round++) {
    for (const [side, measure] of [
      ['fast', fast],
      ['slow', slow],
    ] as const) {
      const ms = await measure();
      if (round >= 0) found[side].push(ms); // in the first rounds the runtime compiles
    }
  }
  const show = (times: number[]) => `${Math.min(...times).toFixed(2)} (${median(times).toFixed(2)})`;
  const ratio = Math.min(...found.slow) / Math.min(...found.fast);
  console.log(
    `${what.padEnd(52)} ${ratio.toFixed(2).padStart(6)}×   ${show(found.fast)} and ${show(found.slow)} ms`,
  );
}

/** The product of a linear layer of GPT-2's smallest model. */
function product(backend: Backend, choose: () => void = () => {}): Measure {
  const [R, K, N] = [1024, 768, 3072];
  const [inp, weight, out] = [R * K, K * N, R * N].map((n) => backend.allocate('f32', n));
  backend.fill(inp, 0.5);
  backend.fill(weight, 0.25);
  return async () => {
    choose();
    const started = performance.now();
    backend.linearForward({ out, inp, weight, bias: null, R, K, N });
    const ms = performance.now() - started;
    const first = (await backend.read(backend.slice(out, 0, 1)))[0];
    if (first !== K / 8) throw new Error(`the product must be ${K / 8}, got ${first}`);
    return ms;
  };
}

/** The least time of some training steps of one block looped twice. */
function steps(
  backend: Backend,
  nEmbd: number,
  count: number,
  choose: () => Promise<void> = async () => {},
): Measure {
  const config = parseRunConfig(
    {
      model: { depth: 'loop', nLayer: 1, nLoop: 2, nHead: 2, nEmbd, blockSize: 128, vocabSize: 257 },
      train: { batchSize: 4 },
    },
    'study',
  );
  return async () => {
    await choose();
    const [{ stepMs }] = await benchmarkSteps(
      [{ name: 'study', config }],
      count,
      backend,
      null,
      nodeClock,
      () => {},
    );
    return stepMs.min;
  };
}

setThreads(1);
const portable = product(new NativeBackend('f32'), () => setIsa('portable'));
for (const isa of wasmIsas()) {
  const one = new WasmBackend(await createWasmModule({ isa, threads: 1 }));
  await compare(`product 1024×768×3072, wasm ${isa} against portable`, product(one), portable);
  await compare(
    `step of 1×2, C = 64, wasm ${isa} against reference`,
    steps(one, 64, 20),
    steps(new ReferenceBackend(), 64, 1),
  );
}
const module = await createWasmModule({ threads: 2 });
const both = new WasmBackend(module);
const on = (threads: number) => steps(both, 128, 20, () => module.setThreads(threads));
await compare(`step of 1×2, C = 128, wasm ${module.isa}, two threads against one`, on(2), on(1));
