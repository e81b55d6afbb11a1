/** Small trainings, the same in Node and in a browser: the gradient of a first micro-step, and some updates. */
import {
  type Backend,
  GPT,
  MemoryStore,
  parseRunConfig,
  Runtime,
  Trainer,
  webClock,
} from '../../src/browser.js';
import { randomBatch, type TokenSource } from '../../src/evaluate/batches.js';
import { crc32c } from '../../src/formats/crc32c.js';
import { hashWords } from '../../src/random.js';
import { microStepLoss, trainingOptions } from '../../src/train/trainer.js';

const VOCAB = 64;
const shape = { nLayer: 1, nHead: 2, nEmbd: 16, blockSize: 16, vocabSize: VOCAB };

/** Models and how they are trained: one block looped twice, a loop with ACT, and one with the recipes' parts. */
export const trainings = {
  '1×2': { model: { ...shape, depth: 'loop', nLoop: 2, dropout: 0.1 }, train: {} },
  'a loop with ACT': {
    model: { ...shape, depth: 'loop', nLoop: 3, halting: 'act' },
    train: { ponderCost: 0.1 },
  },
  'a loop with the parts of recipes': {
    model: {
      ...shape,
      depth: 'loop',
      nLoop: 2,
      nKvHead: 1,
      positions: 'rotary',
      qkNorm: true,
      normType: 'rmsnorm',
      activation: 'silu',
      gatedMlp: true,
      bias: false,
      tiedHead: false,
      inputInjection: 'stable',
      loopEmbedding: true,
    },
    train: { optimizer: 'muon', muonLr: 0.02, emaDecay: 0.6, exitLoss: 'linear' },
  },
} as const;
export type Training = keyof typeof trainings;

export interface Trained {
  /** Of all parameters, in their order. */
  readonly gradient: readonly number[];
  readonly losses: readonly number[];
  /** A checksum of the weights in the end. */
  readonly weights: number;
}

/** Updates of a training, and after how many it is stopped and resumed from its checkpoint where it is. */
const STEPS = 20;
export const STOP = 9;

/** Trains on a backend; where `stopping`, through a checkpoint in the middle, into a new model. */
export async function trained(backend: Backend, name: Training, stopping = false): Promise<Trained> {
  const { model, train } = parseRunConfig(
    {
      model: trainings[name].model,
      train: {
        batchSize: 2,
        gradAccumSteps: 2,
        maxSteps: STEPS,
        warmupSteps: 2,
        lr: 0.01,
        minLr: 0.001,
        evalInterval: STEPS,
        evalBatches: 1,
        checkpointInterval: STOP,
        ...trainings[name].train,
      },
    },
    'training',
  );
  const store = new MemoryStore();
  const losses: number[] = [];
  let gradient: number[] = [];
  for (const until of stopping ? [STOP, STEPS] : [STEPS]) {
    const gpt = new GPT(model, new Runtime(backend), { train: true });
    const options = { model: gpt, config: train, train: source, val: source, store, clock: webClock };
    const trainer = new Trainer(options);
    await trainer.start();
    if (losses.length === 0) gradient = await firstGradient(gpt, train);
    const stop = new AbortController();
    for await (const event of trainer.run(stop.signal)) {
      if (event.kind !== 'step') continue;
      losses.push(event.loss);
      if (event.step === until) stop.abort();
    }
    trainer.dispose();
    gpt.dispose();
  }
  const weights = crc32c(await store.read('checkpoints/last-0000020/model.safetensors'));
  return { gradient, losses, weights };
}

const key = { seed: 1, step: 0, microStep: 0 };

async function firstGradient(gpt: GPT, train: Parameters<typeof trainingOptions>[1]): Promise<number[]> {
  const { parameters, config } = gpt;
  parameters.zeroGradients();
  const batch = await randomBatch(source, train.batchSize, config.blockSize, VOCAB, key);
  await microStepLoss(gpt, batch, 1, trainingOptions(gpt, train, key, 0));
  const all: number[] = [];
  for (const { gradient } of parameters.all) all.push(...(await gpt.runtime.backend.read(gradient!)));
  parameters.zeroGradients();
  return all;
}

/** Tokens with a pattern that a model can learn. */
const ids = Uint16Array.from({ length: 500 }, (_, i) => hashWords(i % 23) % VOCAB);
const source: TokenSource = {
  name: 'source',
  length: ids.length,
  read: async (offset, count) => ids.slice(offset, offset + count),
};
