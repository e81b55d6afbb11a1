/** The configuration of a model: GPT-2's dimensions, the depth rule, and the paper's open choices as settings. */
import { ConfigError } from '../errors.js';
import { type ConfigOf, parseFields } from '../fields.js';

/** Position ids and attention's dropout counter bound the block size. */
const MAX_BLOCK_SIZE = 65_536;
/** More layers or loops than this are a slip of the finger. */
const MAX_COUNT = 4096;
/** GPT-2's standard deviation of the initial weights, and the width of its smallest model, which it suits. */
const GPT2_STD = 0.02;
const GPT2_WIDTH = 768;
const SET_SHARING = 'set kvSharing to first-loop or last-loop';

export const modelFields = {
  depth: {
    kind: 'choice',
    choices: ['gpt2', 'loop', 'universal', 'adaptive', 'sharing'],
    default: 'gpt2',
    help: 'how the hidden state passes through the blocks',
  },
  vocabSize: { kind: 'int', min: 1, max: 65_536, default: 50_257, help: 'tokens in the vocabulary (V)' },
  blockSize: { kind: 'int', min: 1, max: MAX_BLOCK_SIZE, default: 1024, help: 'longest sequence (T)' },
  nLayer: {
    kind: 'int',
    min: 1,
    max: MAX_COUNT,
    default: 12,
    help: 'transformer blocks with weights of their own (L)',
  },
  nHead: { kind: 'int', min: 1, max: 65_536, default: 12, help: 'attention heads (NH)' },
  nEmbd: { kind: 'int', min: 1, max: 65_536, default: 768, help: 'channels (C)' },
  nLoop: {
    kind: 'int',
    min: 1,
    max: MAX_COUNT,
    default: 1,
    help: 'loops over the stack; steps of universal (N)',
  },
  nInnerLoop: {
    kind: 'int',
    min: 1,
    max: MAX_COUNT,
    default: 1,
    help: 'loops over each block, within every outer loop',
  },
  loopForm: {
    kind: 'choice',
    choices: ['output', 'correction'],
    default: 'correction',
    help: 'what the gate weighs: the stack’s output f(x), or its correction f(x) − x',
  },
  gate: {
    kind: 'choice',
    choices: ['vector', 'scalar'],
    default: 'vector',
    help: 'one gate a channel, or one a loop',
  },
  gateInit: {
    kind: 'numberOrWord',
    words: ['1/n'],
    default: 1,
    help: 'initial value of every gate; 1/n is one over the loop count',
  },
  initStd: {
    kind: 'numberOrWord',
    words: ['width'],
    min: 0,
    default: GPT2_STD,
    help: 'standard deviation of the initial weights: GPT-2’s 0.02 suits its width of 768, width is 0.02·√(768/C)',
  },
  residualInit: {
    kind: 'choice',
    choices: ['layers', 'applications', 'loops'],
    default: 'layers',
    help: 'divides the initial residual projections by √(2·layers), √(2·applications), or loops·√(2·layers)',
  },
  nPrelude: {
    kind: 'int',
    min: 0,
    max: MAX_COUNT,
    default: 0,
    help: 'first layers that run once, before the loops',
  },
  nCoda: {
    kind: 'int',
    min: 0,
    max: MAX_COUNT,
    default: 0,
    help: 'last layers that run once, after the loops',
  },
  inputInjection: {
    kind: 'choice',
    choices: ['none', 'add', 'linear'],
    default: 'none',
    help: 'how every loop meets the looped stack’s first input again: x + e, or x·A + e·B',
  },
  sharing: {
    kind: 'choice',
    choices: ['sequence', 'cycle', 'cycle-rev'],
    default: 'cycle',
    help: 'order in which sharing applies its layers: 1 1 2 2, 1 2 1 2 or 1 2 2 1',
  },
  nApplication: {
    kind: 'int',
    min: 1,
    max: MAX_COUNT,
    default: 12,
    help: 'block applications of sharing (A); its layers are nLayer',
  },
  norm: {
    kind: 'choice',
    choices: ['post', 'pre'],
    default: 'post',
    help: 'where universal normalises: after each residual addition, as published, or before each half',
  },
  exitHead: {
    kind: 'choice',
    choices: ['shared', 'separate'],
    default: 'shared',
    help: 'the classifier at early exits: the model’s own, or one for each exit',
  },
  halting: {
    kind: 'choice',
    choices: ['none', 'act', 'confidence', 'geometric', 'multinomial', 'sequence'],
    default: 'none',
    help: 'what stops a token before the last step, where the depth has exits',
  },
  kvSharing: {
    kind: 'choice',
    choices: ['per-application', 'first-loop', 'last-loop'],
    default: 'per-application',
    help: 'whose keys and values the loops share: nobody’s, those of the first, or in decoding those of the last for the past',
  },
  kvLoops: {
    kind: 'int',
    min: 1,
    max: MAX_COUNT,
    default: 1,
    help: 'loops that keep keys and values of their own (k); loop n shares those of loop n mod k',
  },
  dropout: { kind: 'number', min: 0, below: 1, default: 0, help: 'probability of dropping an activation' },
  bias: { kind: 'boolean', default: true, help: 'biases in linear layers and layer norms' },
  tiedHead: { kind: 'boolean', default: true, help: 'the head shares the token embedding’s weights' },
} as const;

/** Everything that decides a model's parameters and its forward pass. */
export type ModelConfig = ConfigOf<typeof modelFields>;

/**
 * Standard deviation of the initial weights. With `width` it grows as 1/√C, so that a narrow network's first
 * activations are as large as GPT-2's: with 0.02 at C = 64 a short training hardly leaves the beginning (docs/log.md).
 */
export function initialStd({ initStd, nEmbd: C }: ModelConfig): number {
  return initStd === 'width' ? GPT2_STD * Math.sqrt(GPT2_WIDTH / C) : initStd;
}

/** Throws ConfigError unless loops share keys, for whoever asks for kvLoops: a configuration by itself has them always. */
export function requireSharing({ kvSharing, kvLoops }: ModelConfig, where = 'model'): void {
  if (kvSharing !== 'per-application') return;
  const rule = 'must not be given where kvSharing is per-application';
  throw new ConfigError(`${where}.kvLoops`, rule, kvLoops, SET_SHARING);
}

/** Parses and checks a model's configuration. Throws ConfigError naming the field. */
export function parseModelConfig(input: unknown, where = 'model'): ModelConfig {
  const config = parseFields(modelFields, input, where);
  if (config.nEmbd % config.nHead !== 0) {
    throw new ConfigError(`${where}.nEmbd`, `must be a multiple of nHead = ${config.nHead}`, config.nEmbd);
  }
  requireMeaning(config, input as Partial<ModelConfig>, where);
  return config;
}

/** Depths that have exits: a halting rule and losses at every exit make sense there. */
const WITH_EXITS: readonly ModelConfig['depth'][] = ['loop', 'universal', 'adaptive'];

/** Fields that only some depths read; elsewhere they must keep their default. (The gates' and the update's may change it.) */
const READ_BY: Partial<Record<keyof ModelConfig, readonly ModelConfig['depth'][]>> = {
  nLoop: ['loop', 'universal'],
  nInnerLoop: ['loop'],
  nPrelude: ['loop'],
  nCoda: ['loop'],
  inputInjection: ['loop'],
  nApplication: ['sharing'],
  sharing: ['sharing'],
  norm: ['universal'],
  kvSharing: ['loop', 'universal'],
  exitHead: WITH_EXITS,
  halting: WITH_EXITS,
};

/** Throws ConfigError where fields that are right on their own do not fit together. */
function requireMeaning(config: ModelConfig, input: Partial<ModelConfig>, where: string): void {
  for (const [name, depths] of Object.entries(READ_BY) as [keyof ModelConfig, readonly string[]][]) {
    const usual = modelFields[name].default;
    if (config[name] === usual || depths.includes(config.depth)) continue;
    const rule = `must be ${usual} where depth is ${config.depth}`;
    throw new ConfigError(`${where}.${name}`, rule, config[name], `set depth to ${depths.join(' or ')}`);
  }
  const { nLayer, nPrelude, nCoda, nApplication: A, sharing } = config;
  if (nPrelude + nCoda >= nLayer) {
    const rule = `must leave a layer to loop: together below nLayer = ${nLayer}`;
    throw new ConfigError(`${where}.nPrelude + nCoda`, rule, nPrelude + nCoda);
  }
  if (config.inputInjection !== 'none' && config.nLoop === 1) {
    const rule = 'must be none where nLoop is 1, which has no second loop to inject into';
    throw new ConfigError(`${where}.inputInjection`, rule, config.inputInjection);
  }
  if (config.depth === 'universal' && config.nEmbd % 2 !== 0) {
    throw new ConfigError(`${where}.nEmbd`, 'must be even for sines and cosines', config.nEmbd);
  }
  if (config.halting !== 'none' && exitCount(config) < 2) {
    const rule = 'must be none where there is a single exit';
    throw new ConfigError(`${where}.halting`, rule, config.halting, 'raise nLoop, or nLayer of adaptive');
  }
  if (config.exitHead === 'separate' && exitCount(config) < 2) {
    throw new ConfigError(
      `${where}.exitHead`,
      'must be shared where there is a single exit',
      config.exitHead,
      'raise nLoop, or nLayer of adaptive',
    );
  }
  if (config.halting === 'act' && config.exitHead === 'separate') {
    throw new ConfigError(
      `${where}.exitHead`,
      'must be shared where halting is act, which averages the states',
      config.exitHead,
    );
  }
  if (config.halting === 'confidence' && nCoda > 0) {
    const rule = 'must be 0 where halting is confidence, which reads a state before the coda';
    throw new ConfigError(`${where}.nCoda`, rule, nCoda);
  }
  const { kvSharing, kvLoops, nLoop } = config;
  if (kvSharing !== 'per-application' && kvLoops >= nLoop) {
    const rule = `must be below nLoop = ${nLoop} where kvSharing is ${kvSharing}, or nothing is shared`;
    throw new ConfigError(`${where}.kvLoops`, rule, kvLoops);
  }
  if (kvSharing === 'per-application' && kvLoops !== 1) {
    const rule = 'must be 1 where kvSharing is per-application';
    throw new ConfigError(`${where}.kvLoops`, rule, kvLoops, SET_SHARING);
  }
  if (config.depth !== 'sharing') return;
  if (input.nApplication === undefined) {
    throw new ConfigError(`${where}.nApplication`, 'must be given where depth is sharing');
  }
  const least = { sequence: nLayer, cycle: nLayer, 'cycle-rev': 2 * nLayer }[sharing];
  if (A < least || (sharing === 'sequence' && A % nLayer !== 0)) {
    const multiple = sharing === 'sequence' ? `a multiple of nLayer = ${nLayer}` : `at least ${least}`;
    throw new ConfigError(`${where}.nApplication`, `must be ${multiple} where sharing is ${sharing}`, A);
  }
}

/** Exits of a model: states that its head could read, the last one included; 1 where the depth has no early ones. */
export function exitCount({ depth, nLayer, nLoop }: ModelConfig): number {
  if (depth === 'adaptive') return nLayer;
  return WITH_EXITS.includes(depth) ? nLoop : 1;
}

/** Runs of a block in one forward pass, with `loops` loops or steps where the depth allows a choice. */
export function applicationCount(config: ModelConfig, loops?: number): number {
  const { depth, nLayer, nLoop, nInnerLoop, nPrelude, nCoda, nApplication } = config;
  switch (depth) {
    case 'gpt2':
      return nLayer;
    case 'adaptive':
      return loops ?? nLayer;
    case 'sharing':
      return nApplication;
    case 'universal':
      return nLayer * (loops ?? nLoop);
    case 'loop': {
      const once = nPrelude + nCoda;
      return (once + (nLayer - once) * (loops ?? nLoop)) * nInnerLoop;
    }
  }
}
