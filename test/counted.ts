/**
 * What an update costs, in numbers that no clock tells: kernel calls, bytes that they must read or write, and memory.
 */
import type { Backend, Storage } from '../src/backend/backend.js';
import { ALL_KERNELS } from '../src/backend/kernel-table.js';
import { signaturesOf } from '../src/backend/signature.js';
import { WebGpuBackend } from '../src/backend/webgpu/webgpu.js';
import { GPT } from '../src/models/gpt.js';
import { hashWords } from '../src/random.js';
import { Runtime } from '../src/tensor/tensor.js';
import { parseRunConfig } from '../src/train/config.js';
import { Trainer } from '../src/train/trainer.js';
import { webClock } from '../src/web/clock.js';
import { MemoryStore } from '../src/web/memory-store.js';

export interface UpdateCosts {
  /** Calls of the table's kernels. */
  readonly calls: number;
  /** Bytes of the arrays of these calls, each once. */
  readonly bytes: number;
  /** Bytes of all memory that the engine held at once: the pool, parameters, moments, packings and scratch. */
  readonly peakBytes: number;
  /** Of WebGPU: what was recorded meanwhile. */
  readonly dispatches: number;
  readonly boundBytes: number;
  readonly submissions: number;
  readonly reads: number;
}

type Method = (...args: unknown[]) => unknown;

/** Puts something before a method of one object. Its own calls of the method are met too. */
function before(target: object, name: string, heed: (...args: never[]) => void): void {
  const methods = target as Record<string, Method>;
  const own = methods[name];
  methods[name] = function (this: unknown, ...args) {
    heed(...(args as never[]));
    return own.apply(this, args);
  };
}

/** Counts what a backend is asked to do from now on. */
class Counter {
  calls = 0;
  bytes = 0;
  held = 0;
  peak = 0;

  constructor(backend: Backend) {
    const add = (bytes: number) => {
      this.held += bytes;
      this.peak = Math.max(this.peak, this.held);
    };
    for (const [name, { arrays }] of Object.entries(signaturesOf(ALL_KERNELS))) {
      before(backend, name, (args: Readonly<Record<string, Storage | null>>) => {
        this.calls++;
        for (const array of arrays) this.bytes += 4 * (args[array.name]?.length ?? 0);
      });
    }
    if (backend instanceof WebGpuBackend) {
      // Every buffer, whatever makes it and for what.
      const { recorder } = backend.engine;
      this.held = recorder.bytes;
      before(recorder, 'buffer', add);
      before(recorder, 'destroy', ({ size }: { size: number }) => add(-size));
    } else {
      before(backend, 'allocate', (_dtype: string, length: number) => add(4 * length));
      before(backend, 'free', (storage: Storage) => add(-4 * storage.length));
    }
  }
}

/**
 * The costs of one of a model's updates, once earlier ones have allocated and packed; the whole run's peak of memory.
 */
export async function updateCosts(
  backend: Backend,
  fields: { readonly model: object; readonly train: object },
): Promise<UpdateCosts> {
  const counter = new Counter(backend);
  const train = { ...fields.train, maxSteps: 3, evalInterval: 1000, evalBatches: 1, warmupSteps: 1 };
  const config = parseRunConfig({ model: fields.model, train }, 'counts');
  const { vocabSize, blockSize } = config.model;
  const ids = Uint16Array.from({ length: 4 * blockSize }, (_, i) => hashWords(i) % vocabSize);
  const tokens = {
    name: 'counts',
    length: ids.length,
    read: async (offset: number, count: number) => ids.slice(offset, offset + count),
  };
  const model = new GPT(config.model, new Runtime(backend), { train: true });
  const options = { model, config: config.train, train: tokens, val: tokens };
  const trainer = new Trainer({ ...options, store: new MemoryStore(), clock: webClock });
  await trainer.start();
  const seen: UpdateCosts[] = [];
  for await (const event of trainer.run()) {
    if (event.kind !== 'step') continue;
    const counts = backend instanceof WebGpuBackend ? backend.engine.recorder.counts : null;
    const { dispatches = 0, bound = 0, submissions = 0, reads = 0 } = counts ?? {};
    const { calls, bytes, peak } = counter;
    seen.push({ calls, bytes, peakBytes: peak, dispatches, boundBytes: bound, submissions, reads });
    if (event.step === 2) break;
  }
  const [first, second] = seen;
  const difference = Object.entries(second).map(([name, value]) => [
    name,
    value - first[name as keyof UpdateCosts],
  ]);
  return { ...(Object.fromEntries(difference) as unknown as UpdateCosts), peakBytes: second.peakBytes };
}
