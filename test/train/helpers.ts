/** Shared by the training tests: a store and a token source in memory, and small trainers. */
import type { Backend } from '../../src/backend/backend.js';
import { onEngine } from '../engines.js';
import { NativeBackend } from '../../src/backend/native/native.js';
import type { Clock, Store } from '../../src/platform.js';
import { GPT } from '../../src/models/gpt.js';
import { hashWords } from '../../src/random.js';
import { Runtime } from '../../src/tensor/tensor.js';
import type { TokenSource } from '../../src/evaluate/batches.js';
import { parseRunConfig, type TrainConfig } from '../../src/train/config.js';
import { Trainer, type TrainerOptions } from '../../src/train/trainer.js';
import type { TrainEvent } from '../../src/train/events.js';
import { MemoryStore as Memory } from '../../src/web/memory-store.js';

export class MemoryStore extends Memory {
  text(path: string): string {
    return new TextDecoder().decode(this.files.get(path) ?? new Uint8Array());
  }

  /** Full path of the only file that ends so. */
  path(ending: string): string {
    const found = [...this.files.keys()].filter((name) => name.endsWith(ending));
    if (found.length !== 1) throw new Error(`${found.length} files end in ${ending}`);
    return found[0];
  }
}

export const VOCAB = 31;

/** Tokens with a pattern that a model can learn. */
export function source(length: number, largest = VOCAB): TokenSource {
  const ids = Uint16Array.from({ length }, (_, i) => hashWords(i % 11) % largest);
  return { name: 'source', length, read: async (offset, count) => ids.slice(offset, offset + count) };
}

export const testClock: Clock = { now: () => performance.now(), yield: async () => {} };

/** A small model and its trainer; `fields` override the training configuration. */
export function makeTrainer(
  store: Store,
  fields: Record<string, unknown> = {},
  modelFields: Record<string, unknown> = {},
  backend: Backend = onEngine(new NativeBackend('f32')),
  tokens: TokenSource = source(500),
  together: Omit<Partial<TrainerOptions>, 'model' | 'config' | 'store'> = {},
): { trainer: Trainer; model: GPT; runtime: Runtime; config: TrainConfig } {
  const { model: modelConfig, train } = parseRunConfig(
    {
      model: {
        vocabSize: VOCAB,
        blockSize: 16,
        nLayer: 2,
        nHead: 2,
        nEmbd: 12,
        depth: 'loop',
        nLoop: 2,
        dropout: 0.1,
        ...modelFields,
      },
      train: {
        batchSize: 3,
        maxSteps: 12,
        warmupSteps: 2,
        evalInterval: 4,
        evalBatches: 2,
        checkpointInterval: 3,
        ...fields,
      },
    },
    'test',
  );
  const runtime = new Runtime(backend);
  const model = new GPT(modelConfig, runtime, { train: true });
  const trainer = new Trainer({
    model,
    config: train,
    train: tokens,
    val: source(200),
    store,
    clock: testClock,
    ...together,
  });
  return { trainer, model, runtime, config: train };
}

/** Runs to the end, or aborts when `stop` says so. */
export async function runAll(
  trainer: Trainer,
  stop: (event: TrainEvent) => boolean = () => false,
): Promise<TrainEvent[]> {
  const controller = new AbortController();
  const events: TrainEvent[] = [];
  await trainer.start();
  for await (const event of trainer.run(controller.signal)) {
    events.push(event);
    if (stop(event)) controller.abort();
  }
  return events;
}
