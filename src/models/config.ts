/** The configuration of a model: GPT-2's dimensions, the depth rule, and the paper's open choices as settings. */
import { ConfigError } from '../errors.js';
import { type ConfigOf, parseFields } from './fields.js';

/** Position ids and attention's dropout counter bound the block size. */
const MAX_BLOCK_SIZE = 65_536;
/** More layers or loops than this are a slip of the finger. */
const MAX_COUNT = 4096;

export const modelFields = {
  depth: {
    kind: 'choice',
    choices: ['gpt2', 'loop'],
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
  nLoop: { kind: 'int', min: 1, max: MAX_COUNT, default: 1, help: 'loops over the whole stack (N)' },
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
  dropout: { kind: 'number', min: 0, below: 1, default: 0, help: 'probability of dropping an activation' },
  bias: { kind: 'boolean', default: true, help: 'biases in linear layers and layer norms' },
  tiedHead: { kind: 'boolean', default: true, help: 'the head shares the token embedding’s weights' },
} as const;

/** Everything that decides a model's parameters and its forward pass. */
export type ModelConfig = ConfigOf<typeof modelFields>;

/** Parses and checks a model's configuration. Throws ConfigError naming the field. */
export function parseModelConfig(input: unknown, where = 'model'): ModelConfig {
  const config = parseFields(modelFields, input, where);
  if (config.nEmbd % config.nHead !== 0) {
    throw new ConfigError(`${where}.nEmbd`, `must be a multiple of nHead = ${config.nHead}`, config.nEmbd);
  }
  if (config.depth === 'gpt2') {
    for (const name of ['nLoop', 'nInnerLoop'] as const) {
      if (config[name] === 1) continue;
      throw new ConfigError(
        `${where}.${name}`,
        'must be 1 where depth is gpt2, which walks the stack once',
        config[name],
        'set depth to loop',
      );
    }
  }
  return config;
}
