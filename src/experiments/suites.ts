/** Suites: which models a comparison trains, on which text, for how long, and who is compared with whom. Knows no training. */
import { ConfigError } from '../errors.js';
import { unknownName } from '../fields.js';

/** Fields of a configuration, before they are checked. */
export type Fields = Readonly<Record<string, unknown>>;

export interface SuiteModel {
  /** Name of its folders. */
  readonly name: string;
  readonly label: string;
  readonly model: Fields;
  /** Training fields of its own. */
  readonly train?: Fields;
  /** The losses that the paper reports, nats per token on OpenWebText. */
  readonly paper?: { readonly trainLoss?: number; readonly valLoss: number };
}

/** Models that are set against a baseline. */
export interface SuiteGroup {
  readonly title: string;
  readonly baseline: string;
  readonly others: readonly string[];
}

export interface Suite {
  readonly name: string;
  readonly scale: Scale;
  /** What the suite shows, in one line. */
  readonly title: string;
  readonly models: readonly SuiteModel[];
  readonly groups: readonly SuiteGroup[];
  /** A built-in corpus and the tokenizer it is prepared with; null where the user must bring the data. */
  readonly corpus: { readonly name: string; readonly tokenizer: string } | null;
  /** Model and training fields that all models share. */
  readonly model: Fields;
  readonly train: Fields;
  /** Peak learning rates, of which pilots pick one for each model; none for the one in `train`. */
  readonly learningRates: readonly number[];
  /** Runs of each model, where the caller names no number. */
  readonly seeds: number;
  /** What every trained model continues. */
  readonly prompt: string;
}

export type Scale = 'mini' | 'full';
export const SCALES: readonly Scale[] = ['mini', 'full'];

const FIRST_SEED = 1337;

/** The seeds of `count` runs. */
export function seedsOf(count: number): number[] {
  return Array.from({ length: count }, (_, i) => FIRST_SEED + i);
}

const gpt2 = (nLayer: number): Fields => ({ depth: 'gpt2', nLayer });
const loop = (nLayer: number, nLoop: number, more: Fields = {}): Fields => ({
  depth: 'loop',
  nLayer,
  nLoop,
  ...more,
});

/** A loop network by both readings of the update rule, which the paper leaves open, from gates at 1. */
const readings = (
  name: string,
  label: string,
  shape: Fields,
  paper?: SuiteModel['paper'],
): readonly SuiteModel[] =>
  ['output', 'correction'].map((loopForm) => ({
    name: `${name}-${loopForm}`,
    label: `${label}, ${loopForm}`,
    model: { ...shape, loopForm, gateInit: 1 },
    ...(paper ? { paper } : {}),
  }));

const PAPER_1: Pick<Suite, 'title' | 'models' | 'groups'> = {
  title: 'Fewer layers, looped, against the 12-layer GPT-2 (the paper’s first experiment)',
  models: [
    { name: 'gpt2-12', label: '12 layers', model: gpt2(12), paper: { valLoss: 3.12 } },
    {
      name: 'loop-6x6',
      label: '6 layers × 6 loops',
      model: loop(6, 6),
      paper: { trainLoss: 3.13, valLoss: 3.11 },
    },
    {
      name: 'loop-4x6x2',
      label: '4 layers × 6 × 2 loops',
      model: loop(4, 6, { nInnerLoop: 2 }),
      paper: { trainLoss: 3.15, valLoss: 3.15 },
    },
    { name: 'gpt2-6', label: '6 layers', model: gpt2(6) },
    { name: 'gpt2-4', label: '4 layers', model: gpt2(4) },
  ],
  groups: [
    {
      title: 'The paper’s claim: looped models with fewer parameters match 12 layers',
      baseline: 'gpt2-12',
      others: ['loop-6x6', 'loop-4x6x2'],
    },
    { title: 'Equal parameters: 6 layers', baseline: 'gpt2-6', others: ['loop-6x6'] },
    { title: 'Equal parameters: 4 layers', baseline: 'gpt2-4', others: ['loop-4x6x2'] },
  ],
};

const ONE_LAYER: SuiteModel = {
  name: 'gpt2-1',
  label: '1 layer',
  model: gpt2(1),
  paper: { trainLoss: 3.96, valLoss: 3.98 },
};
const TWO_LAYERS: SuiteModel = { name: 'gpt2-2', label: '2 layers', model: gpt2(2) };
const PAPER_1X2 = { trainLoss: 3.65, valLoss: 3.67 };
const LOOP_1X2 = readings('loop-1x2', '1 layer × 2 loops', loop(1, 2), PAPER_1X2);

const PAPER_2: Pick<Suite, 'title' | 'models' | 'groups'> = {
  title: 'One block run twice against one block run once (the paper’s second experiment)',
  models: [ONE_LAYER, ...LOOP_1X2, TWO_LAYERS],
  groups: [
    { title: 'Equal parameters', baseline: 'gpt2-1', others: LOOP_1X2.map(({ name }) => name) },
    { title: 'Equal compute', baseline: 'gpt2-2', others: LOOP_1X2.map(({ name }) => name) },
  ],
};

const UNIVERSAL = { depth: 'universal', nLayer: 2, nLoop: 3 };
const ADAPTIVE = { depth: 'adaptive', nLayer: 6 };
const ALIGNED = { exitLoss: 'uniform' };

/** Models of two layers, most of them run for six applications. */
const LOOPED: readonly SuiteModel[] = [
  ...readings('loop', 'loop network 2 × 3', loop(2, 3)),
  { name: 'loop-inner', label: 'loop network 2, each × 3', model: loop(2, 1, { nInnerLoop: 3 }) },
  { name: 'loop-act', label: 'loop network 2 × 3, ACT', model: loop(2, 3, { halting: 'act' }) },
  { name: 'universal', label: 'Universal Transformer', model: UNIVERSAL },
  { name: 'universal-pre', label: 'Universal Transformer, pre-norm', model: { ...UNIVERSAL, norm: 'pre' } },
  { name: 'universal-act', label: 'Universal Transformer, ACT', model: { ...UNIVERSAL, halting: 'act' } },
  ...(['sequence', 'cycle', 'cycle-rev'] as const).map((sharing) => ({
    name: `sharing-${sharing}`,
    label: `sharing, ${sharing}`,
    model: { depth: 'sharing', nLayer: 2, nApplication: 6, sharing },
  })),
];

const ADAPTIVES: readonly SuiteModel[] = [
  ...(['geometric', 'multinomial', 'sequence'] as const).map((halting) => ({
    name: `adaptive-${halting}`,
    label: `Depth-Adaptive, ${halting}`,
    model: { ...ADAPTIVE, halting },
    train: ALIGNED,
  })),
  {
    name: 'adaptive-confidence',
    label: 'Depth-Adaptive, confidence, mixed',
    model: { ...ADAPTIVE, halting: 'confidence' },
    train: { exitLoss: 'mixed' },
  },
];

const SYSTEMS: Pick<Suite, 'title' | 'models' | 'groups'> = {
  title: 'Every system the paper names, at equal parameters and at equal compute',
  models: [
    { name: 'gpt2-2', label: 'GPT-2, 2 layers', model: gpt2(2) },
    { name: 'gpt2-6', label: 'GPT-2, 6 layers', model: gpt2(6) },
    ...LOOPED,
    {
      name: 'adaptive-2',
      label: 'Depth-Adaptive, 2 layers, geometric',
      model: { ...ADAPTIVE, nLayer: 2, halting: 'geometric' },
      train: ALIGNED,
    },
    ...ADAPTIVES,
  ],
  groups: [
    {
      title: 'Equal parameters: two layers',
      baseline: 'gpt2-2',
      others: [...LOOPED.map(({ name }) => name), 'adaptive-2'],
    },
    {
      title: 'Equal compute: six applications (at most, where tokens halt)',
      baseline: 'gpt2-6',
      others: [...LOOPED, ...ADAPTIVES].map(({ name }) => name),
    },
  ],
};

const LOOPS: Pick<Suite, 'title' | 'models' | 'groups'> = {
  title: 'One network at many loop counts, trained with a fixed and with a sampled count',
  models: [
    { name: 'fixed', label: '1 × 6, always 6 loops', model: loop(1, 6) },
    {
      name: 'uniform',
      label: '1 × 6, 1 to 6 loops',
      model: loop(1, 6),
      train: { loopSampling: 'uniform' },
    },
    {
      name: 'poisson',
      label: '1 × 6, Poisson with mean 6',
      model: loop(1, 6),
      train: { loopSampling: 'poisson' },
    },
    {
      name: 'every-loop',
      label: '1 × 6, a loss at every loop',
      model: loop(1, 6),
      train: ALIGNED,
    },
  ],
  groups: [{ title: 'At six loops', baseline: 'fixed', others: ['uniform', 'poisson', 'every-loop'] }],
};

/** At this size two cores finish, and more layers lower the loss: the paper's proportions, 4 million bytes instead of tokens. */
const MINI: Pick<Suite, 'corpus' | 'model' | 'train' | 'learningRates' | 'prompt'> = {
  corpus: { name: 'sotu', tokenizer: 'bytes' },
  // What 'width' gives to three digits, which the committed results were trained with.
  model: { nEmbd: 64, nHead: 2, blockSize: 128, initStd: 0.069 },
  train: {
    batchSize: 4,
    maxSteps: 8000,
    warmupSteps: 200,
    evalInterval: 500,
    evalBatches: 32,
    checkpointInterval: 1000,
  },
  learningRates: [1.5e-3, 3e-3, 6e-3],
  prompt: 'The people of the United States',
};

/** The paper's sizes, with nanoGPT's batches and schedule; it needs a cluster's patience. */
const FULL: Pick<Suite, 'corpus' | 'model' | 'train' | 'learningRates' | 'prompt'> = {
  corpus: null,
  model: { nEmbd: 768, nHead: 12, blockSize: 1024 },
  train: {
    batchSize: 12,
    gradAccumSteps: 40,
    maxSteps: 600_000,
    warmupSteps: 2000,
    evalInterval: 2000,
    evalBatches: 200,
    checkpointInterval: 1000,
    activationMemory: 'checkpoint',
  },
  learningRates: [3e-4, 6e-4, 1.2e-3],
  prompt: 'The people of the United States',
};

const DEMO: Omit<Suite, 'scale'> = {
  name: 'demo',
  title: 'One block, the same block looped twice, and two blocks',
  models: [
    ONE_LAYER,
    { name: 'loop-1x2', label: '1 layer × 2 loops', model: loop(1, 2), paper: PAPER_1X2 },
    TWO_LAYERS,
  ],
  groups: [
    { title: 'Equal parameters', baseline: 'gpt2-1', others: ['loop-1x2'] },
    { title: 'Equal compute', baseline: 'gpt2-2', others: ['loop-1x2'] },
  ],
  corpus: { name: 'sotu', tokenizer: 'bytes' },
  // Narrow, so that minutes are enough to pass the point from which depth pays (docs/log.md).
  model: { nEmbd: 64, nHead: 4, blockSize: 256, initStd: 'width' },
  train: {
    batchSize: 8,
    maxSteps: 3000,
    warmupSteps: 100,
    lr: 3e-3,
    minLr: 3e-4,
    evalInterval: 250,
    evalBatches: 16,
    checkpointInterval: 1000,
  },
  learningRates: [],
  seeds: 1,
  prompt: 'The people of the United States',
};

const BODIES = { 'paper-1': PAPER_1, 'paper-2': PAPER_2, systems: SYSTEMS, loops: LOOPS };

export const SUITE_NAMES: readonly string[] = ['demo', ...Object.keys(BODIES)];

/** A suite by name and scale. Throws ConfigError for an unknown one. */
export function findSuite(name: string, scale: Scale): Suite {
  if (name === 'demo') {
    if (scale === 'full') throw new ConfigError('--scale', 'must be mini for the demo', scale);
    return { ...DEMO, scale };
  }
  if (!Object.hasOwn(BODIES, name)) throw unknownName('--suite', 'name', name, SUITE_NAMES);
  const body = BODIES[name as keyof typeof BODIES];
  return { name, scale, ...body, ...(scale === 'mini' ? MINI : FULL), seeds: name === 'paper-2' ? 3 : 2 };
}
