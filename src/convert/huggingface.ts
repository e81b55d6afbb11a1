/**
 * Models under Hugging Face's names: their `config.json` to a model's configuration and back, and which tensors of such
 * a checkpoint are a model's. GPT-2 is `transformers`' own; a loop network, or a GPT-2 with other parts, has a model
 * type of ours, whose PyTorch file is `python/modeling_loopnn.py`. It must not read files.
 */
import { CheckpointError, ConfigError } from '../errors.js';
import type { TextIdFields } from '../generate/text-ids.js';
import { elementCount, type LazyTensor, renamed } from '../formats/lazy-tensors.js';
import {
  headsOf,
  type ModelConfig,
  initialStd,
  innerWidth,
  modelFields,
  parseModelConfig,
} from '../models/config.js';
import { DEPTH_NAMES, DEPTHS, depthOf } from '../models/depth/kinds.js';
import { GPTModules } from '../models/modules.js';
import { HEAD, listed, sortCheckpoint } from './checkpoint-names.js';

/** `model_type` of what transformers' own GPT-2 cannot run. */
export const LOOP_MODEL_TYPE = 'loopnn';
/** Name of the PyTorch file that such a model carries, without its ending. */
export const MODELING_MODULE = 'modeling_loopnn';

type Json = Readonly<Record<string, unknown>>;

/** A model's configuration from a `config.json`, with notices on it. */
export interface ImportedConfig {
  readonly model: ModelConfig;
  /** The factor of each layer's queries if attention is not scaled by 1/√(head size); otherwise empty. */
  readonly queryScales: readonly number[];
  readonly notices: readonly string[];
}

/** Other names that transformers has for our activations. */
const ACTIVATION_NAMES: Readonly<Record<string, ModelConfig['activation']>> = {
  gelu_pytorch_tanh: 'gelu_new',
  gelu_fast: 'gelu_new',
  gelu_accurate: 'gelu_new',
  gelu_python_tanh: 'gelu_new',
  gelu_python: 'gelu',
  swish: 'silu',
};

/** Our fields of a block's parts that GPT-2 does not have, and their names in `config.json`. */
const PART_FIELDS = {
  normType: 'norm_type',
  gatedMlp: 'gated_mlp',
  positions: 'positions',
  qkNorm: 'qk_norm',
} as const satisfies Partial<Record<keyof ModelConfig, string>>;

/** Our fields of our model type and their names in `config.json`, besides those that GPT-2 has. */
const OWN_FIELDS = {
  depth: 'depth',
  ...PART_FIELDS,
  nLoop: 'n_loop',
  nInnerLoop: 'n_inner_loop',
  loopForm: 'loop_form',
  gate: 'gate',
  gateInit: 'gate_init',
  residualInit: 'residual_init',
  nPrelude: 'n_prelude',
  nCoda: 'n_coda',
  inputInjection: 'input_injection',
  ropeTheta: 'rope_theta',
  initialState: 'initial_state',
  loopNorm: 'loop_norm',
  loopEmbedding: 'loop_embedding',
  hyperConnections: 'hyper_connections',
  nStream: 'n_stream',
  bias: 'bias',
  dropout: 'dropout',
} as const satisfies Partial<Record<keyof ModelConfig, string>>;

/** Reads the content of a `config.json`. Throws ConfigError naming the field that no model here can have. */
export function modelFromHuggingFace(json: unknown, where: string): ImportedConfig {
  if (typeof json !== 'object' || json === null || Array.isArray(json)) {
    throw new ConfigError(where, 'must be an object of fields', json === null ? 'null' : typeof json);
  }
  const config = json as Json;
  const type = config.model_type;
  if (type !== 'gpt2' && type !== LOOP_MODEL_TYPE) {
    const rule = `must be gpt2, or ${LOOP_MODEL_TYPE} for what loopnn exported`;
    throw new ConfigError(`${where}: model_type`, rule, type === undefined ? 'nothing' : type);
  }
  if (config.quantization_config !== undefined) {
    const rule = 'must be absent: weights must be float32, float16 or bfloat16';
    throw new ConfigError(`${where}: quantization_config`, rule);
  }
  const common = {
    vocabSize: config.vocab_size,
    blockSize: config.n_positions ?? config.n_ctx,
    nLayer: config.n_layer,
    nHead: config.n_head,
    nEmbd: config.n_embd,
    nInner: innerOf(config),
    activation: activationOf(config, where),
    layerNormEpsilon: config.layer_norm_epsilon,
    initStd: config.initializer_range,
    tiedHead: config.tie_word_embeddings,
  };
  if (type === LOOP_MODEL_TYPE) {
    const own = Object.entries(OWN_FIELDS).map(([field, name]) => [field, config[name]]);
    // Before it was written, the depth was loop.
    const depth = config.depth ?? 'loop';
    const fields = { ...common, nKvHead: keyHeadsOf(config), ...Object.fromEntries(own), depth };
    const model = parseModelConfig(fields, `${where}: as model`);
    if (depthOf(model).huggingFace === null) {
      throw new ConfigError(`${where}: depth`, `must be ${exportableDepths()}`, model.depth);
    }
    return { model, queryScales: [], notices: [] };
  }
  const crossAttention = config.add_cross_attention ?? false;
  if (crossAttention !== false) {
    throw new ConfigError(`${where}: add_cross_attention`, 'must be false', crossAttention);
  }
  const model = parseModelConfig(
    { depth: 'gpt2', ...common, dropout: config.resid_pdrop ?? 0.1 },
    `${where}: as model`,
  );
  const notices = ['embd_pdrop', 'attn_pdrop']
    .filter((field) => (config[field] ?? 0.1) !== model.dropout)
    .map((field) => `${field} ${config[field] ?? 0.1}: training will drop with resid_pdrop ${model.dropout}`);
  return { model, queryScales: queryScales(config, model, where), notices };
}

/** Our name of the MLP's function. Throws ConfigError for one that no model here has. */
function activationOf({ activation_function: name = 'gelu_new' }: Json, where: string): string {
  const known = [...modelFields.activation.choices, ...Object.keys(ACTIVATION_NAMES)];
  if (!known.some((other) => other === name)) {
    throw new ConfigError(`${where}: activation_function`, `must be one of ${known.join(', ')}`, name);
  }
  return ACTIVATION_NAMES[name as string] ?? name;
}

/** The MLP's width as our field has it, which is a word for the default width. */
function innerOf({ n_inner, n_embd }: Json): unknown {
  return n_inner === null || n_inner === 4 * Number(n_embd) ? undefined : n_inner;
}

/** The key heads as our field says them, likewise. */
function keyHeadsOf({ n_kv_head, n_head }: Json): unknown {
  return n_kv_head === null || n_kv_head === n_head ? undefined : n_kv_head;
}

/** GPT2Config's two ways to scale attention's scores otherwise, as factors on the queries, which come to the same. */
function queryScales(config: Json, { nLayer, nEmbd, nHead }: ModelConfig, where: string): number[] {
  const flag = (field: string, usual: boolean): boolean => {
    const value = config[field] ?? usual;
    if (typeof value !== 'boolean')
      throw new ConfigError(`${where}: ${field}`, 'must be true or false', value);
    return value;
  };
  const byHeadSize = flag('scale_attn_weights', true);
  const byLayer = flag('scale_attn_by_inverse_layer_idx', false);
  if (byHeadSize && !byLayer) return [];
  const scale = byHeadSize ? 1 : Math.sqrt(nEmbd / nHead);
  return Array.from({ length: nLayer }, (_, layer) => scale / (byLayer ? layer + 1 : 1));
}

function exportableDepths(): string {
  return DEPTH_NAMES.filter((depth) => DEPTHS[depth].huggingFace !== null).join(' or ');
}

/** The model type that transformers run it as: `gpt2` if its blocks have only GPT-2's parts; null for none. */
export function huggingFaceType(model: ModelConfig): 'gpt2' | typeof LOOP_MODEL_TYPE | null {
  const { huggingFace } = depthOf(model);
  const { NH, KV } = headsOf(model);
  const parts = Object.keys(PART_FIELDS) as (keyof typeof PART_FIELDS)[];
  const others = KV !== NH || parts.some((name) => model[name] !== modelFields[name].default);
  return huggingFace === 'gpt2' && others ? LOOP_MODEL_TYPE : huggingFace;
}

/** Throws ConfigError if `transformers` would need a model file that we do not have. */
export function requireExportable(model: ModelConfig): void {
  if (huggingFaceType(model) === null) {
    const rule = `must be ${exportableDepths()} to be exported for Hugging Face`;
    throw new ConfigError('depth', rule, model.depth);
  }
  if (model.halting !== 'none') {
    const rule = 'must be none to be exported for Hugging Face';
    throw new ConfigError('halting', rule, model.halting);
  }
  if (model.exitHead !== 'shared') {
    const rule = 'must be shared to be exported for Hugging Face';
    throw new ConfigError('exitHead', rule, model.exitHead);
  }
  if (model.kvSharing === 'first-loop') {
    const rule = 'must be per-application or last-loop to be exported for Hugging Face';
    throw new ConfigError('kvSharing', rule, model.kvSharing);
  }
}

/** The content of `config.json`. Throws ConfigError. */
export function huggingFaceConfig(model: ModelConfig, { bos_token_id, eos_token_id }: TextIdFields): Json {
  requireExportable(model);
  const common = {
    vocab_size: model.vocabSize,
    n_positions: model.blockSize,
    n_embd: model.nEmbd,
    n_layer: model.nLayer,
    n_head: model.nHead,
    n_inner: model.nInner === '4x' ? null : innerWidth(model),
    activation_function: model.activation,
    layer_norm_epsilon: model.layerNormEpsilon,
    initializer_range: initialStd(model),
    tie_word_embeddings: model.tiedHead,
    bos_token_id,
    eos_token_id,
    dtype: 'float32',
  };
  if (huggingFaceType(model) === 'gpt2') {
    return {
      architectures: ['GPT2LMHeadModel'],
      model_type: 'gpt2',
      ...common,
      // transformers writes it no longer; llama.cpp's converter reads no other.
      n_ctx: model.blockSize,
      resid_pdrop: model.dropout,
      embd_pdrop: model.dropout,
      attn_pdrop: model.dropout,
    };
  }
  const own = Object.entries(OWN_FIELDS).map(([field, name]) => [name, model[field as keyof ModelConfig]]);
  return {
    architectures: ['LoopForCausalLM'],
    model_type: LOOP_MODEL_TYPE,
    auto_map: {
      AutoConfig: `${MODELING_MODULE}.LoopConfig`,
      AutoModelForCausalLM: `${MODELING_MODULE}.LoopForCausalLM`,
    },
    ...common,
    n_kv_head: headsOf(model).KV,
    ...Object.fromEntries(own),
  };
}

/** Names of a model's parameters and their shapes, in the order of its checkpoints. */
export function parameterShapes(model: ModelConfig): Map<string, readonly number[]> {
  return new Map(new GPTModules(model).slots.map(({ name, spec }) => [name, spec.shape]));
}

const QUERIES = /^transformer\.h\.(\d+)\.attn\.c_attn\.(?:weight|bias)$/;
const EMBEDDING = 'transformer.wte.weight';

/** A model's parameters from a checkpoint, with notices on it. */
export interface ImportedTensors {
  readonly tensors: LazyTensor[];
  readonly notices: readonly string[];
}

/**
 * A model's parameters out of a Hugging Face checkpoint, in the order of `parameterShapes`. Their names may lack the
 * prefix `transformer.` or have those of wrappers; queries are multiplied by `queryScales`. Throws CheckpointError for
 * a tensor that is missing, has another shape, or belongs to no GPT-2, for an adapter, and for a head of its own where
 * the configuration says that it is tied.
 */
export async function tensorsFromHuggingFace(
  model: ModelConfig,
  found: ReadonlyMap<string, LazyTensor>,
  where: string,
  queryScales: readonly number[] = [],
): Promise<ImportedTensors> {
  const shapes = parameterShapes(model);
  const { own, others } = sortCheckpoint(found.values(), shapes.keys(), where);
  const tensors: LazyTensor[] = [];
  for (const [name, shape] of shapes) {
    const tensor = own.get(name);
    if (!tensor) {
      throw new CheckpointError(where, `must hold tensor ${name} of shape (${shape.join(', ')})`);
    }
    if (tensor.shape.join() !== shape.join()) {
      const rule = `must have shape (${shape.join(', ')})`;
      throw new CheckpointError(`${where}, tensor ${tensor.name}`, rule, tensor.shape);
    }
    own.delete(name);
    const ours = renamed(finite(tensor, where), name);
    const layer = QUERIES.exec(name)?.[1];
    const scale = layer === undefined ? 1 : (queryScales[Number(layer)] ?? 1);
    tensors.push(scale === 1 ? ours : scaledQueries(ours, scale));
  }
  const head = own.get(HEAD);
  if (head && model.tiedHead) {
    await requireEqual(head, tensors.find(({ name }) => name === EMBEDDING)!, where);
    own.delete(HEAD);
  }
  for (const { name } of own.values()) {
    throw new CheckpointError(`${where}, tensor ${name}`, 'is not part of this model');
  }
  const notices = others.length === 0 ? [] : [`${where}: not of this model, left out: ${listed(others)}`];
  return { tensors, notices };
}

/** The weights, or biases, of queries, keys and values, with the queries' third multiplied. */
function scaledQueries(tensor: LazyTensor, scale: number): LazyTensor {
  const { name, shape } = tensor;
  const width = shape.at(-1)!;
  const read = async (): Promise<Float32Array> =>
    (await tensor.read()).map((value, i) => (i % width < width / 3 ? scale * value : value));
  return { name, shape, read };
}

/** The same tensor, refused when it is read with a value that no arithmetic gets rid of. */
function finite(tensor: LazyTensor, where: string): LazyTensor {
  const { name, shape } = tensor;
  return {
    name,
    shape,
    async read() {
      const values = await tensor.read();
      let bad = 0;
      while (bad < values.length && Number.isFinite(values[bad])) bad++;
      if (bad === values.length) return values;
      const at = `${where}, tensor ${name}, element ${bad}`;
      throw new CheckpointError(at, 'must be a finite number in float32', values[bad]);
    },
  };
}

async function requireEqual(head: LazyTensor, embedding: LazyTensor, where: string): Promise<void> {
  const [a, b] = [await head.read(), await embedding.read()];
  if (a.length === b.length && a.every((value, i) => value === b[i])) return;
  throw new CheckpointError(
    `${where}, tensor ${head.name}`,
    `must equal ${embedding.name}, as config.json has tie_word_embeddings true`,
    undefined,
    'set it to false if the head is the model’s own',
  );
}

/**
 * What an exported checkpoint holds: the model's own tensors under their own names. `transformers`' GPT-2 always has
 * biases, so a GPT-2 without them gets zeros.
 */
export function tensorsForHuggingFace(
  model: ModelConfig,
  own: ReadonlyMap<string, LazyTensor>,
  where: string,
): LazyTensor[] {
  const layout = parameterShapes(huggingFaceType(model) === 'gpt2' ? { ...model, bias: true } : model);
  return [...layout].map(([name, shape]) => {
    const tensor = own.get(name);
    if (tensor) return tensor;
    if (model.bias || !name.endsWith('.bias')) {
      throw new CheckpointError(where, `must hold tensor ${name} of shape (${shape.join(', ')})`);
    }
    return { name, shape, read: async () => new Float32Array(elementCount(shape)) };
  });
}
