/**
 * The short comparison behind the default reading of the update rule: update form × gate initial value, at 1 layer × 2 loops
 * and 2 layers × 4 loops, two seeds, beside GPT-2 with 1 and 2 layers.
 *
 *     loopnn prepare sotu --tokenizer bytes --out DATA && node dist/bench/loop-forms.js DATA OUT
 *
 * It goes on where it was cut off; the table is printed as Markdown.
 */
import { join } from 'node:path';
import { createBackend } from '../src/backend/create.js';
import { NodeStore, nodeClock } from '../src/data/node-store.js';
import { readPreset } from '../src/data/presets.js';
import { openDataset } from '../src/data/shard.js';
import { compare, type Entrant } from '../src/experiments/compare.js';
import { Runtime } from '../src/tensor/tensor.js';
import { parseRunConfig } from '../src/train/config.js';

const SEEDS = [1337, 1338];
const SHAPES = [
  { nLayer: 1, nLoop: 2, gateInits: [1, '1/n', 0.1] },
  { nLayer: 2, nLoop: 4, gateInits: [1, '1/n'] },
];
const TRAIN = {
  batchSize: 16,
  maxSteps: 2000,
  warmupSteps: 100,
  lr: 3e-3,
  minLr: 3e-4,
  evalInterval: 500,
  evalBatches: 16,
  checkpointInterval: 1000,
};

const [dataFolder, out] = process.argv.slice(2);
if (!dataFolder || !out) {
  console.error('usage: node dist/bench/loop-forms.js DATA OUT');
  process.exit(2);
}
await using data = await openDataset(dataFolder);
if (!data.tokenizer || !data.meta) throw new Error(`${dataFolder}: needs tokenizer.json and meta.json`);
const { train } = readPreset('mini-1x2') as { train: object };

const entrants: Entrant[] = SHAPES.flatMap(({ nLayer, nLoop, gateInits }) => {
  const shape = { vocabSize: data.tokenizer!.vocabSize, blockSize: 128, nHead: 4, nEmbd: 64, nLayer };
  const loops = ['output', 'correction'].flatMap((loopForm) =>
    gateInits.map((gateInit) => ({
      label: `${nLayer}×${nLoop} | ${loopForm} | ${gateInit}`,
      model: { ...shape, depth: 'loop', nLoop, loopForm, gateInit },
    })),
  );
  const baseline = { label: `${nLayer}×1 | gpt2 | –`, model: { ...shape, depth: 'gpt2' } };
  return [baseline, ...loops].flatMap(({ label, model }) =>
    SEEDS.map((seed) => {
      const name = `${label} seed ${seed}`.replace(/[^a-z0-9.]+/gi, '-');
      const config = parseRunConfig({ model, train: { ...train, ...TRAIN, seed } }, label);
      return { name, label, config, store: new NodeStore(join(out, name)) };
    }),
  );
});

const runtime = new Runtime(createBackend());
const source = { train: data.train, val: data.val, valBytes: data.meta.val.bytes, tokenizer: data.tokenizer };
const losses = new Map<string, number[]>();
const options = { entrants, data: source, runtime, clock: nodeClock, prompt: 'The', sampleTokens: 1 };
for await (const event of compare(options)) {
  if (event.kind !== 'result') continue;
  const { label, valLoss } = event.result;
  losses.set(label, [...(losses.get(label) ?? []), valLoss]);
  console.error(`${event.entrant.name}: ${valLoss.toFixed(4)}`);
}

console.log('| layers×loops | update form | gates start at | val loss, each seed | mean |');
console.log('|---|---|---|---|---|');
for (const [label, values] of losses) {
  const mean = values.reduce((sum, x) => sum + x, 0) / values.length;
  console.log(`| ${label} | ${values.map((x) => x.toFixed(3)).join(', ')} | ${mean.toFixed(3)} |`);
}
