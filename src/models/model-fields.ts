/**
 * The fields of a model's configuration: GPT-2's dimensions, the depth rule, and the paper's open choices as settings.
 * `config.ts` checks which of them fit together.
 */
import type { ConfigOf } from '../fields.js';
import type { Heads } from '../tensor/attention-ops.js';

/** Position ids and attention's dropout counter bound the block size. */
const MAX_BLOCK_SIZE = 65_536;
/** More layers or loops than this are taken for a typing error. */
const MAX_COUNT = 4096;
/** GPT-2's standard deviation of the initial weights, and the width of its smallest model, for which it is meant. */
const GPT2_STD = 0.02;
const GPT2_WIDTH = 768;

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
  nKvHead: {
    kind: 'numberOrWord',
    words: ['nHead'],
    whole: true,
    min: 1,
    default: 'nHead',
    help: 'heads of keys and values (KV), each for nHead/KV heads of queries that follow each other',
  },
  nEmbd: { kind: 'int', min: 1, max: 65_536, default: 768, help: 'channels (C)' },
  positions: {
    kind: 'choice',
    choices: ['learned', 'rotary'],
    default: 'learned',
    help: 'where a token stands: a learned embedding, or a rotation of queries and keys',
  },
  ropeTheta: {
    kind: 'number',
    min: 1,
    default: 10_000,
    help: 'base of the angles of rotary positions: position · ropeTheta^(−2j/HS)',
  },
  qkNorm: { kind: 'boolean', default: false, help: 'RMS norm, without weights, of each query and key head' },
  nInner: {
    kind: 'numberOrWord',
    words: ['4x', '8/3x'],
    whole: true,
    min: 1,
    default: '4x',
    help: 'width inside each MLP; 4x is 4·C, 8/3x (8·C/3 up to a multiple of 64) has its weights where gatedMlp',
  },
  activation: {
    kind: 'choice',
    choices: ['gelu_new', 'gelu', 'relu', 'relu2', 'silu', 'quick_gelu'],
    default: 'gelu_new',
    help: 'function inside each MLP, by its name in transformers; universal has relu unless told otherwise',
  },
  gatedMlp: {
    kind: 'boolean',
    default: false,
    help: 'a second layer into each MLP, gated by the first’s activation: SwiGLU with silu, GEGLU with gelu',
  },
  normType: {
    kind: 'choice',
    choices: ['layernorm', 'rmsnorm'],
    default: 'layernorm',
    help: 'every norm of the model; rmsnorm divides by the root mean square alone, and has no bias',
  },
  layerNormEpsilon: {
    kind: 'number',
    min: 0,
    below: 1,
    default: 1e-5,
    help: 'what norms add to the variance, or to the mean square',
  },
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
    choices: ['none', 'add', 'linear', 'scalars', 'stable', 'stable-exact'],
    default: 'none',
    help: 'how every loop meets the stack’s first input e again: x + e, x·A + e·B, λx + μe, or Parcae’s way',
  },
  initialState: {
    kind: 'choice',
    choices: ['input', 'random'],
    default: 'input',
    help: 'what the first loop starts from: the looped stack’s input, or a random state, which needs input injection',
  },
  loopNorm: { kind: 'boolean', default: false, help: 'normalise the state after each loop' },
  loopEmbedding: {
    kind: 'boolean',
    default: false,
    help: 'a learned vector for each loop, added to its input',
  },
  hyperConnections: {
    kind: 'choice',
    choices: ['none', 'static', 'dynamic'],
    default: 'none',
    help: 'whether the loops’ state is several streams, mixed once a loop: by learned weights, or by each token too',
  },
  nStream: { kind: 'int', min: 2, max: 16, default: 2, help: 'streams of hyperConnections (n)' },
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

/** All settings that determine a model's parameters and its forward pass. */
export type ModelConfig = ConfigOf<typeof modelFields>;

/** The heads of attention. */
export function headsOf({ nEmbd, nHead: NH, nKvHead }: ModelConfig): Heads {
  return { NH, KV: nKvHead === 'nHead' ? NH : nKvHead, HS: nEmbd / NH };
}

/** Width inside each MLP. */
export function innerWidth({ nInner, nEmbd: C }: ModelConfig): number {
  if (nInner === '8/3x') return 64 * Math.ceil((8 * C) / (3 * 64));
  return nInner === '4x' ? 4 * C : nInner;
}

/**
 * Standard deviation of the initial weights. With `width` it grows as 1/√C, so that a narrow network's first
 * activations are as large as GPT-2's: with 0.02 at C = 64 a short training hardly makes progress (docs/log.md).
 */
export function initialStd({ initStd, nEmbd: C }: ModelConfig): number {
  return initStd === 'width' ? GPT2_STD * Math.sqrt(GPT2_WIDTH / C) : initStd;
}
