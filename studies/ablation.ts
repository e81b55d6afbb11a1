/**
 * The ablation behind the loop network's defaults: it decides, stage by stage, what the paper leaves open.
 *
 *     loopnn prepare sotu --tokenizer bytes --out DATA
 *     node dist/studies/ablation.js DATA OUT run STAGE [SEED]     train what is missing, all seeds or one
 *     node dist/studies/ablation.js DATA OUT table STAGE          print the table as Markdown
 *
 * Every run is a folder in OUT; an interrupted run resumes. Several processes may work on one OUT, each with its own
 * seed. docs/reproduction.md has the stages' settings.
 */
import { join } from 'node:path';
import { createBackend } from '../src/node/backend.js';
import { NodeStore, nodeClock } from '../src/node/store.js';
import { openDataset } from '../src/data/dataset.js';
import { GPT } from '../src/models/gpt.js';
import { Runtime } from '../src/tensor/tensor.js';
import { parseRunConfig } from '../src/train/config.js';
import { evaluate } from '../src/evaluate/evaluation.js';
import { createRun } from '../src/train/run.js';
import { Trainer } from '../src/train/trainer.js';

type Settings = Readonly<Record<string, unknown>>;

/** One setting to be tried; `model` and `train` override the stage's common fields. */
interface Variant {
  readonly label: string;
  readonly model: Settings;
  readonly train?: Settings;
}

interface Stage {
  readonly seeds: readonly number[];
  readonly variants: readonly Variant[];
}

// The initial weights keep GPT-2's ratio to the width, 0.02·√(768/C): at 0.02 a model this narrow needs most of the
// tokens to get past bigrams (docs/log.md).
const width = (nEmbd: number) => ({
  nEmbd,
  nHead: nEmbd / 32,
  initStd: Number((0.02 * Math.sqrt(768 / nEmbd)).toFixed(3)),
});
const MODEL = { vocabSize: 257, blockSize: 128, ...width(96) };
const TRAIN = {
  batchSize: 4,
  maxSteps: 2000,
  warmupSteps: 100,
  lr: 3e-3,
  minLr: 3e-4,
  evalInterval: 500,
  evalBatches: 32,
  checkpointInterval: 500,
  precision: 'f32',
};
const SEEDS = [1337, 1338, 1339];

/** The choice of the first stage, and the choice at the suites' length, which is the default. */
const FIRST_CHOICE = { loopForm: 'output', gateInit: 1 };
const DEFAULT = { loopForm: 'correction', gateInit: 1 };
/** The suites' size and length. */
const SUITE = { model: width(64), train: { maxSteps: 8000, warmupSteps: 200 } };

const shape = (nLayer: number, nLoop: number, nInnerLoop = 1) => ({
  depth: 'loop',
  nLayer,
  nLoop,
  nInnerLoop,
});
const gpt2 = (nLayer: number): Variant => ({ label: `${nLayer} layers`, model: { depth: 'gpt2', nLayer } });

/** Both readings of the update rule, from gates at 1, as the suites train them. */
const readings = (name: string, loops: Settings): Variant[] =>
  ['output', 'correction'].map((loopForm) => ({
    label: `C=64, ${name} ${loopForm}, gates at 1`,
    model: { ...SUITE.model, ...loops, loopForm, gateInit: 1 },
    train: SUITE.train,
  }));

/** Update form × initial gate. */
function forms(name: string, loops: Settings): Variant[] {
  return ['output', 'correction'].flatMap((loopForm) =>
    [1, '1/n', 0.1, 0].map((gateInit) => ({
      label: `${name} ${loopForm}, gates at ${gateInit}`,
      model: { ...loops, loopForm, gateInit },
    })),
  );
}

function factor(label: string, model: Settings = {}, train: Settings = {}): Variant {
  return { label: `2×6 ${label}`, model: { ...shape(2, 6), ...FIRST_CHOICE, ...model }, train };
}

function defaultBut(label: string, model: Settings = {}, train: Settings = {}): Variant {
  return {
    label: `C=64, 1×2 ${label}`,
    model: { ...SUITE.model, ...shape(1, 2), ...DEFAULT, ...model },
    train: { ...SUITE.train, ...train },
  };
}

/** Plain depth at a width: where more layers do not lower the loss, more loops cannot be expected to. */
const depths = (nEmbd: number, maxSteps: number): Variant[] =>
  [1, 2, 4, 12].map((nLayer) => ({
    label: `C=${nEmbd}, ${nLayer} layers, ${maxSteps} steps`,
    model: { depth: 'gpt2', nLayer, ...width(nEmbd) },
    train: { maxSteps },
  }));

const STAGES: Readonly<Record<string, Stage>> = {
  // At which size and after how many tokens do more layers lower the loss?
  scale: { seeds: SEEDS.slice(0, 1), variants: [...depths(96, 4000), ...depths(64, 8000)] },
  forms: {
    seeds: SEEDS.slice(0, 2),
    variants: [gpt2(1), gpt2(2), ...forms('1×2', shape(1, 2)), ...forms('2×6', shape(2, 6))],
  },
  // One factor at a time around the winner of the first stage, and changes that its rival might need.
  factors: {
    seeds: SEEDS.slice(0, 2),
    variants: [
      factor('as the first stage chose'),
      factor('correction, lr 1.5e-3', { loopForm: 'correction' }, { lr: 1.5e-3, minLr: 1.5e-4 }),
      factor('correction, residual init counts applications', {
        loopForm: 'correction',
        residualInit: 'applications',
      }),
      factor('lr 1.5e-3', {}, { lr: 1.5e-3, minLr: 1.5e-4 }),
      factor('scalar gates', { gate: 'scalar' }),
      factor('residual init counts applications', { residualInit: 'applications' }),
    ],
  },
  // At the suites' own size and length: does the choice hold, or does it only learn sooner?
  longer: {
    seeds: SEEDS.slice(0, 2),
    variants: readings('2×6', shape(2, 6)),
  },
  // One factor at a time around the default, at the suites' size and length.
  default: {
    seeds: SEEDS,
    variants: [
      defaultBut('default'),
      defaultBut('gates from 1/n', { gateInit: '1/n' }),
      defaultBut('scalar gates', { gate: 'scalar' }),
      defaultBut('decayed gates', {}, { decayGates: true }),
      defaultBut('residual init counts loops', { residualInit: 'loops' }),
      defaultBut('residual init counts applications', { residualInit: 'applications' }),
      defaultBut('lr 1.5e-3', {}, { lr: 1.5e-3, minLr: 1.5e-4 }),
      defaultBut('lr 6e-3', {}, { lr: 6e-3, minLr: 6e-4 }),
    ],
  },
  // Which learning rate is best at the suites' length, and do earlier evaluations of the runs show it?
  rates: {
    seeds: SEEDS.slice(0, 1),
    variants: [1.5e-3, 3e-3, 6e-3].flatMap((lr) =>
      [gpt2(1), gpt2(2)].map(({ label, model }) => ({
        label: `C=64, ${label}, lr ${lr}`,
        model: { ...model, ...SUITE.model },
        train: { maxSteps: 8000, lr, minLr: lr / 10 },
      })),
    ),
  },
  // Was the paper's baseline in the suite `paper-1` held back by its learning rate, 3e-3?
  baseline: {
    seeds: SEEDS.slice(0, 2),
    variants: [
      {
        label: 'C=64, 12 layers, lr 1.5e-3',
        model: { ...gpt2(12).model, ...SUITE.model },
        train: { ...SUITE.train, lr: 1.5e-3, minLr: 1.5e-4 },
      },
    ],
  },
  // The default's rival where loops multiply: the suite `paper-1` has `correction` at 4×(6×2).
  deep: {
    seeds: SEEDS.slice(0, 2),
    variants: readings('4×(6×2)', shape(4, 6, 2)).slice(0, 1),
  },
};

const [dataFolder, out, mode, stageName, seedText] = process.argv.slice(2);
const stage = STAGES[stageName];
if (!stage || (mode !== 'run' && mode !== 'table')) {
  console.error('usage: node dist/studies/ablation.js DATA OUT run|table STAGE [SEED]');
  console.error(`stages: ${Object.keys(STAGES).join(', ')}`);
  process.exit(2);
}
const folderOf = ({ label }: Variant, seed: number) => `${label} seed ${seed}`.replace(/[^a-z0-9.]+/gi, '-');
const RESULT_FILE = 'result.json';

if (mode === 'run') {
  await using data = await openDataset(dataFolder);
  const runtime = new Runtime(await createBackend({ precision: 'f32' }));
  for (const variant of stage.variants) {
    for (const seed of stage.seeds) {
      if (seedText === undefined || seed === Number(seedText)) await trainOne(variant, seed, data, runtime);
    }
  }
} else {
  console.log('| setting | val loss, each seed | mean | spread |');
  console.log('|---|---|---|---|');
  for (const variant of stage.variants) {
    const losses: number[] = [];
    for (const seed of stage.seeds) {
      const store = new NodeStore(join(out, folderOf(variant, seed)));
      if (!(await store.list('.')).includes(RESULT_FILE)) continue;
      losses.push(JSON.parse(new TextDecoder().decode(await store.read(RESULT_FILE))).loss);
    }
    if (losses.length === 0) continue;
    const mean = losses.reduce((sum, x) => sum + x, 0) / losses.length;
    const spread = Math.max(...losses) - Math.min(...losses);
    const each = losses.map((x) => x.toFixed(4)).join(', ');
    console.log(`| ${variant.label} | ${each} | ${mean.toFixed(4)} | ${spread.toFixed(4)} |`);
  }
}

/** Trains a variant with a seed, or resumes it, and scores its final weights on the whole held-out text. */
async function trainOne(
  variant: Variant,
  seed: number,
  data: Awaited<ReturnType<typeof openDataset>>,
  runtime: Runtime,
): Promise<void> {
  const store = new NodeStore(join(out, folderOf(variant, seed)));
  if ((await store.list('.')).includes(RESULT_FILE)) return;
  const config = parseRunConfig(
    { model: { ...MODEL, ...variant.model }, train: { ...TRAIN, ...variant.train, seed } },
    variant.label,
  );
  await createRun(store, config, data.tokenizer);
  const model = new GPT(config.model, runtime, { train: true });
  const { train, val } = data;
  const trainer = new Trainer({ model, config: config.train, train, val, store, clock: nodeClock });
  try {
    await trainer.start();
    for await (const event of trainer.run())
      if (event.kind === 'eval') console.error(variant.label, seed, event);
    const options = { B: 16, bytes: data.meta?.val.bytes ?? null };
    const result = await evaluate(model, val, options, nodeClock);
    await store.replace(RESULT_FILE, `${JSON.stringify(result, null, 2)}\n`);
  } finally {
    trainer.dispose();
    model.dispose();
    runtime.pool.trim();
  }
}
