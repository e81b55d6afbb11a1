/** The configuration of a training run, with nanoGPT's defaults. */
import { ConfigError } from '../errors.js';
import {
  averagesExits,
  exitCount,
  type ModelConfig,
  modelFields,
  parseModelConfig,
} from '../models/config.js';
import { depthOf } from '../models/depth/kinds.js';
import { requireRead, type Unread, unreadModelFields } from '../models/unread.js';
import { type ConfigOf, parseFields, unknownName } from '../fields.js';
import { scheduledLoops } from './loops.js';

export const trainFields = {
  seed: {
    kind: 'int',
    min: 0,
    max: 0xffffffff,
    default: 1337,
    help: 'names the initial weights, batches and dropout',
  },
  batchSize: { kind: 'int', min: 1, max: 65_536, default: 12, help: 'sequences in a micro-step (B)' },
  gradAccumSteps: { kind: 'int', min: 1, default: 1, help: 'micro-steps summed into one update' },
  precision: {
    kind: 'choice',
    choices: ['auto', 'f32', 'bf16', 'f16'],
    default: 'auto',
    help: 'operands of matrix products; auto is bf16 where the processor multiplies it faster than f32; f16 is for GPUs',
  },
  maxSteps: { kind: 'int', min: 1, default: 2000, help: 'updates until the run is done' },
  lr: { kind: 'number', min: 0, default: 6e-4, help: 'peak learning rate' },
  minLr: {
    kind: 'number',
    min: 0,
    default: 6e-5,
    help: 'learning rate at the end of the cosine decay',
    follows: 'a tenth of lr, or the preset’s share of it',
  },
  warmupSteps: {
    kind: 'int',
    min: 0,
    default: 100,
    help: 'updates of linear warm-up; fewer where maxSteps are few',
  },
  beta1: { kind: 'number', min: 0, below: 1, default: 0.9, help: 'decay of AdamW’s first moment' },
  beta2: { kind: 'number', min: 0, below: 1, default: 0.95, help: 'decay of AdamW’s second moment' },
  eps: { kind: 'number', min: 1e-20, default: 1e-8, help: 'AdamW’s guard against division by zero' },
  weightDecay: { kind: 'number', min: 0, default: 0.1, help: 'decay of matrices and embeddings' },
  optimizer: {
    kind: 'choice',
    choices: ['adamw', 'muon'],
    default: 'adamw',
    help: 'muon updates the matrices of the blocks, and AdamW the rest',
  },
  muonLr: {
    kind: 'number',
    min: 0,
    default: 0.02,
    help: 'Muon’s peak learning rate, which keeps its ratio to lr',
  },
  muonMomentum: { kind: 'number', min: 0, below: 1, default: 0.95, help: 'Muon’s Nesterov momentum' },
  emaDecay: {
    kind: 'number',
    min: 0,
    below: 1,
    default: 0,
    help: 'decay of the weights’ moving average, which is evaluated and published; 0 for none',
  },
  decayGates: { kind: 'boolean', default: false, help: 'whether weight decay acts on the loop gates too' },
  gradClip: { kind: 'number', min: 0, default: 1, help: 'largest gradient norm; 0 turns clipping off' },
  evalInterval: { kind: 'int', min: 1, default: 250, help: 'updates between evaluations' },
  evalBatches: { kind: 'int', min: 1, default: 20, help: 'fixed batches of each split in an evaluation' },
  checkpointInterval: { kind: 'int', min: 1, default: 250, help: 'updates between checkpoints' },
  loopSampling: {
    kind: 'choice',
    choices: ['fixed', 'uniform', 'poisson'],
    default: 'fixed',
    help: 'loops of an update: nLoop, 1 to nLoop, or log-normal Poisson with mean nLoop',
  },
  loopSchedule: {
    kind: 'choice',
    choices: ['constant', 'switch', 'grow'],
    default: 'constant',
    help: 'loops of the whole training: always nLoop, one and then nLoop, or one and then evenly growing to nLoop',
  },
  loopStart: {
    kind: 'number',
    min: 0,
    below: 1,
    default: 0,
    help: 'share of maxSteps from which switch and grow run more than one loop',
  },
  backpropLoops: {
    kind: 'int',
    min: 0,
    default: 0,
    help: 'last loops, or steps, that gradients pass through (earlier gates learn nothing); 0 for all',
  },
  exitLoss: {
    kind: 'choice',
    choices: ['last', 'uniform', 'linear', 'mixed'],
    default: 'last',
    help: 'exits whose losses are learned: the last, all alike, all by depth, or a random one for each token',
  },
  ponderCost: { kind: 'number', min: 0, default: 0.01, help: 'nats that a step of ACT costs (τ)' },
  oracle: {
    kind: 'choice',
    choices: ['likelihood', 'correctness'],
    default: 'likelihood',
    help: 'what a learned halting rule’s oracle weighs against depth: the loss, or wrong tokens',
  },
  oracleLambda: { kind: 'number', min: 0, default: 0.02, help: 'what one more exit costs the oracle (λ)' },
  oracleSigma: {
    kind: 'number',
    min: 0,
    default: 2,
    help: 'width of the oracle’s smoothing over neighbouring tokens (σ); 0 for none',
  },
  activationMemory: {
    kind: 'numberOrWord',
    words: ['unlimited', 'checkpoint'],
    min: 0,
    default: 'unlimited',
    help: 'activations to keep: unlimited, a budget in MB, or checkpoint (recompute every block)',
  },
} as const;

export type TrainConfig = ConfigOf<typeof trainFields>;

/** A model and its training: the content of a preset file and of a run's `config.json`. */
export interface RunConfig {
  readonly model: ModelConfig;
  readonly train: TrainConfig;
}

/**
 * Parses the content of a preset or `config.json`. Throws ConfigError naming the field. `requireEffect` rejects
 * settings without effect.
 */
export function parseRunConfig(input: unknown, where: string): RunConfig {
  if (typeof input !== 'object' || input === null || Array.isArray(input)) {
    throw new ConfigError(where, "must be an object with 'model' and 'train'");
  }
  for (const key of Object.keys(input)) {
    if (!['model', 'train', 'description'].includes(key)) {
      throw unknownName(where, 'section', key, ['model', 'train', 'description']);
    }
  }
  const { model = {}, train = {} } = input as { model?: unknown; train?: unknown };
  const config = {
    model: parseModelConfig(model, `${where}: model`),
    train: parseTrainConfig(train, `${where}: train`),
  };
  requireTogether(config, `${where}: train`);
  return config;
}

/** Throws ConfigError if the training does not fit the model. */
function requireTogether({ model, train }: RunConfig, where: string): void {
  const refuse = (name: keyof TrainConfig, rule: string): never => {
    throw new ConfigError(`${where}.${name}`, rule, train[name]);
  };
  const learned = learnsHalting(model);
  const { exitLoss } = train;
  if (exitLoss !== 'last' && exitCount(model) < 2)
    refuse('exitLoss', 'must be last where the model has a single exit');
  if (exitLoss !== 'last' && averagesExits(model))
    refuse('exitLoss', 'must be last where halting is act, which averages the exits');
  if (learned && exitLoss !== 'uniform' && exitLoss !== 'linear')
    refuse(
      'exitLoss',
      `must be uniform or linear where halting is ${model.halting}, whose oracle compares all exits`,
    );
  if (exitLoss === 'last' && model.halting === 'confidence')
    refuse('exitLoss', 'must train the early exits where halting is confidence');
  if (train.loopSampling !== 'fixed' && model.nLoop === 1)
    refuse('loopSampling', 'must be fixed where nLoop is 1');
  if (learned && train.loopSampling !== 'fixed')
    refuse(
      'loopSampling',
      `must be fixed where halting is ${model.halting}, whose oracle compares all exits`,
    );
  requireSchedule({ model, train }, learned, refuse);
  if (train.optimizer === 'muon' && train.lr === 0)
    refuse('lr', 'must be above 0 where optimizer is muon, whose rate keeps its ratio to it');
  if (model.exitHead === 'separate' && exitLoss === 'last')
    refuse('exitLoss', 'must train the early exits where exitHead is separate');
  if (train.backpropLoops > 0 && exitCount(model) < 2)
    refuse('backpropLoops', 'must be 0 where the model takes a single step');
  if (train.backpropLoops > 0 && !depthOf(model).loopsFreely(model))
    refuse(
      'backpropLoops',
      `must be 0 where depth is ${model.depth}, whose first layers would learn nothing`,
    );
}

/** Whether the halting rule learns from an oracle. */
function learnsHalting({ halting }: ModelConfig): boolean {
  return ['geometric', 'multinomial', 'sequence'].includes(halting);
}

/** The training fields that nothing reads in a configuration. */
function unreadTrainFields({ model, train }: RunConfig): Partial<Record<keyof TrainConfig, Unread>> {
  const unread: Partial<Record<keyof TrainConfig, Unread>> = {};
  const leave = (names: readonly (keyof TrainConfig)[], why: string, hint: string) => {
    for (const name of names)
      unread[name] = { rule: `must be ${trainFields[name].default} where ${why}`, hint };
  };
  const { halting, nLoop } = model;
  if (halting !== 'act') leave(['ponderCost'], `halting is ${halting}`, 'set halting to act');
  if (!learnsHalting(model)) {
    const hint = 'set halting to geometric, multinomial or sequence';
    leave(['oracle', 'oracleLambda', 'oracleSigma'], `halting is ${halting}, which has no oracle`, hint);
  }
  if (!depthOf(model).hasGates(model)) {
    leave(['decayGates'], 'the model has no gates', 'set depth to loop, and nLoop or nInnerLoop above 1');
  } else if (train.weightDecay === 0) {
    leave(['decayGates'], 'weightDecay is 0', 'raise weightDecay');
  }
  // A Poisson draw may exceed nLoop.
  if (train.backpropLoops > nLoop && train.loopSampling !== 'poisson') {
    const rule = `must be at most nLoop = ${nLoop}`;
    unread.backpropLoops = { rule, hint: 'gradients pass through all loops with 0' };
  }
  if (train.optimizer !== 'muon') {
    leave(['muonLr', 'muonMomentum'], `optimizer is ${train.optimizer}`, 'set optimizer to muon');
  }
  if (train.loopSchedule === 'constant') {
    leave(['loopStart'], 'loopSchedule is constant', 'set loopSchedule to switch or grow');
  }
  return unread;
}

/** The training fields that something reads in a configuration: if they are equal, so is the training. */
export function readTrainFields(config: RunConfig): Partial<TrainConfig> {
  const unread = unreadTrainFields(config);
  return Object.fromEntries(Object.entries(config.train).filter(([name]) => !(name in unread)));
}

/** Fields that the user gave, of a model and of its training. */
export interface GivenFields {
  readonly model?: Readonly<Record<string, unknown>> | undefined;
  readonly train?: Readonly<Record<string, unknown>> | undefined;
}

/**
 * Throws ConfigError if a given field differs from its default and none of the configurations made with it reads it.
 */
export function requireEffect(
  { model = {}, train = {} }: GivenFields,
  configs: readonly RunConfig[],
  where: string,
): void {
  const unreadModels = configs.map((config) => unreadModelFields(config.model));
  requireRead(model, modelFields, unreadModels, `${where}: model`);
  requireRead(train, trainFields, configs.map(unreadTrainFields), `${where}: train`);
}

/** Throws ConfigError if a loop schedule does not fit, or never reaches nLoop loops. */
function requireSchedule(
  { model, train }: RunConfig,
  learned: boolean,
  refuse: (name: keyof TrainConfig, rule: string) => never,
): void {
  const { loopSchedule, maxSteps } = train;
  if (loopSchedule === 'constant') return;
  if (model.nLoop === 1) refuse('loopSchedule', 'must be constant where nLoop is 1');
  if (train.loopSampling !== 'fixed')
    refuse('loopSampling', `must be fixed where loopSchedule is ${loopSchedule}, which sets the loops`);
  if (learned)
    refuse(
      'loopSchedule',
      `must be constant where halting is ${model.halting}, whose oracle compares all exits`,
    );
  if (scheduledLoops(0, train, model.nLoop) === model.nLoop)
    refuse('loopStart', `must leave updates of fewer loops where loopSchedule is ${loopSchedule}`);
  if (scheduledLoops(maxSteps - 1, train, model.nLoop) < model.nLoop)
    refuse('loopStart', `must leave updates of nLoop = ${model.nLoop} loops before maxSteps = ${maxSteps}`);
}

/**
 * Training fields over those of a preset or a run. Unless given, `minLr` follows a given `lr` and keeps its ratio to
 * it; `warmupSteps` follows a given `maxSteps`: if it is more than half of all updates, it becomes a tenth of them.
 */
export function overrideTrain(base: Partial<TrainConfig>, given: Partial<TrainConfig>): Partial<TrainConfig> {
  const { lr = trainFields.lr.default, minLr, warmupSteps } = base;
  const followed: { minLr?: number; warmupSteps?: number } = {};
  if (given.lr !== undefined && minLr !== undefined && given.lr !== lr) {
    followed.minLr = lr === 0 ? 0 : given.lr * (minLr / lr);
  }
  if (given.maxSteps !== undefined && warmupSteps !== undefined) {
    followed.warmupSteps = warmupWithin(warmupSteps, given.maxSteps);
  }
  return { ...base, ...followed, ...given };
}

function warmupWithin(warmupSteps: number, maxSteps: number): number {
  return 2 * warmupSteps > maxSteps ? Math.floor(maxSteps / 10) : warmupSteps;
}

function parseTrainConfig(input: unknown, where: string): TrainConfig {
  const parsed = parseFields(trainFields, input, where);
  const { lr, minLr, maxSteps, warmupSteps } = parsed;
  const given = input as Partial<TrainConfig>;
  const config = {
    ...parsed,
    minLr: given.minLr ?? (lr * minLr) / trainFields.lr.default,
    warmupSteps: given.warmupSteps ?? warmupWithin(warmupSteps, maxSteps),
  };
  if (config.minLr > config.lr)
    throw new ConfigError(`${where}.minLr`, `must not exceed lr = ${config.lr}`, config.minLr);
  if (config.warmupSteps > config.maxSteps) {
    throw new ConfigError(
      `${where}.warmupSteps`,
      `must not exceed maxSteps = ${config.maxSteps}`,
      config.warmupSteps,
    );
  }
  return config;
}
