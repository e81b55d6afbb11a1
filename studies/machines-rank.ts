/**
 * Trains a preset on random tokens for some updates, alone or as one of several processes, and prints the times as one
 * line of JSON. studies/machines.ts starts it; by hand:
 *
 *     mpirun -n 2 node dist/studies/machines-rank.js \
 *       '{"preset":"gpt2-45m-loop","batchSize":2,"microSteps":2,"steps":5}'
 */
import { createBackend } from '../src/node/backend.js';
import { launchedPeers } from '../src/node/mpi.js';
import { readPreset } from '../src/node/presets.js';
import { nodeClock } from '../src/node/store.js';
import { GPT } from '../src/models/gpt.js';
import { hashWords } from '../src/random.js';
import { Runtime } from '../src/tensor/tensor.js';
import { parseRunConfig } from '../src/train/config.js';
import { UpdateGradient } from '../src/train/gradient.js';
import { barrier } from '../src/train/peers.js';
import { Trainer } from '../src/train/trainer.js';
import { MemoryStore } from '../src/web/memory-store.js';

/** The options of a process. */
export interface RankOptions {
  readonly preset: string;
  readonly batchSize: number;
  readonly microSteps: number;
  readonly steps: number;
  readonly precision?: 'f32' | 'bf16';
  readonly shardOptimizer?: boolean;
}

/** What it prints: the times of each update. */
export interface RankTimes {
  readonly stepMs: number[];
  readonly waitMs: number[];
  /** Milliseconds of exchanges of the gradient by themselves, which no backward pass hides. */
  readonly exchangeMs: number[];
  readonly tokens: number;
  readonly backend: string;
}

/** Exchanges by themselves that are timed. */
const EXCHANGES = 3;

/** Keeps nothing: a checkpoint of a study is written nowhere. */
class NoStore extends MemoryStore {
  override async createFolder(): Promise<void> {}
}

const options: RankOptions = JSON.parse(process.argv[2]);
const peers = await launchedPeers();
const preset = readPreset(options.preset) as { model: object };
const { model: config, train } = parseRunConfig(
  {
    model: preset.model,
    train: {
      ...{ batchSize: options.batchSize, gradAccumSteps: options.microSteps, maxSteps: options.steps },
      ...{
        precision: options.precision ?? 'auto',
        evalInterval: 1e9,
        evalBatches: 1,
        checkpointInterval: 1e9,
      },
    },
  },
  options.preset,
);
const length = 1 << 16;
const ids = Uint16Array.from({ length }, (_, i) => (hashWords(i) >>> 0) % config.vocabSize);
const tokens = {
  ...{ name: 'random', length },
  read: async (offset: number, count: number) => ids.slice(offset, offset + count),
};
const backend = await createBackend({ precision: train.precision });
const model = new GPT(config, new Runtime(backend), { train: true });
const trainer = new Trainer({
  ...{ model, config: train, train: tokens, val: tokens, store: new NoStore(), clock: nodeClock },
  ...(peers ? { peers } : {}),
  shardOptimizer: options.shardOptimizer === true,
});
await trainer.start();
const found: RankTimes = {
  ...{ stepMs: [], waitMs: [], exchangeMs: [], backend: backend.description },
  tokens: options.microSteps * options.batchSize * config.blockSize,
};
for await (const event of trainer.run()) {
  if (event.kind !== 'step') continue;
  found.stepMs.push(event.stepMs);
  found.waitMs.push(event.waitMs ?? 0);
}
if (peers) {
  const gradient = new UpdateGradient(model.parameters, options.microSteps, peers, options.shardOptimizer);
  for (let i = 0; i < EXCHANGES; i++) {
    await barrier(peers);
    found.exchangeMs.push(await gradient.finishAll(null, nodeClock));
  }
  gradient.dispose();
}
if ((peers?.rank ?? 0) === 0) console.log(JSON.stringify(found));
await peers?.finish();
