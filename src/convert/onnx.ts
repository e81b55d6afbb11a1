/**
 * A model as an ONNX graph: its own forward pass, run once on the recording backend. Inputs and outputs are named as
 * Hugging Face names them. It must not import depth rules or files.
 */
import { RecordingBackend } from './recording.js';
import { CheckpointError, ConfigError } from '../errors.js';
import type { LazyTensor } from '../formats/lazy-tensors.js';
import type { OnnxGraph } from '../formats/onnx.js';
import { storedWeights, type WeightType } from '../formats/onnx-weights.js';
import { type Role, Runtime, Tensor } from '../tensor/tensor.js';
import { applicationCount, headsOf, type ModelConfig } from '../models/config.js';
import type { ForwardContext } from '../models/context.js';
import { DepthOutput, type Step } from '../models/depth/depth.js';
import { depthOf } from '../models/depth/kinds.js';
import type { Walker } from '../models/exits/walker.js';
import { GPT } from '../models/gpt.js';
import type { TextIdFields } from '../generate/text-ids.js';

/** The dimension that has int8 scales: output channels of a matrix, rows of an embedding. */
const SCALED: Partial<Record<Role, number>> = { matrix: 1, embedding: 0, position: 0 };

/** See `storedWeights`; null if int8 does not change a parameter of this role. */
export function scaledAxis(role: Role): number | null {
  return SCALED[role] ?? null;
}

/**
 * Passes of a loop that are recorded: as many steps at most can a Universal Transformer take, whose steps all differ.
 */
const RECORDED_LOOPS = 64;

/** Records the steps between exits as one loop. */
class LoopWalker implements Walker {
  constructor(private readonly recording: RecordingBackend) {}

  walk(x: Tensor, count: number, step: Step, ctx: ForwardContext): DepthOutput {
    const { recording } = this;
    const { runtime, shape } = x;
    const out = runtime.empty(shape);
    recording.loop(out.storage, x.storage, count, (state, next, n) => {
      using h = Tensor.over(runtime, shape, state);
      using y = step(h, n, ctx);
      recording.copy(next, y.storage);
    });
    return new DepthOutput({ x: out });
  }
}

/**
 * The graph of a model: `input_ids (batch, time)`, `attention_mask (batch, past + time)` and the cache of every
 * application → `logits (batch, time, V)` and the cache with the new tokens. The mask is 1 but for padding, which no
 * token sees and which takes no position. Given `loops`, they are written out one after the other; otherwise depths
 * that run one body any number of times take the input `loops` (a scalar), and their caches in the loop are (loops,
 * batch, KV, time, C/NH). Throws ConfigError for halting.
 */
export function onnxGraph(
  config: ModelConfig,
  weights: ReadonlyMap<string, LazyTensor>,
  type: WeightType,
  loops?: number,
): OnnxGraph {
  if (config.halting !== 'none') {
    throw new ConfigError('halting', 'must be none to be exported as ONNX', config.halting);
  }
  if (config.kvSharing === 'first-loop') {
    throw new ConfigError(
      'kvSharing',
      'must be per-application or last-loop to be exported as ONNX',
      config.kvSharing,
    );
  }
  // Tables over positions are as long as the traced sequence.
  const tokens = new Int32Array(config.blockSize);
  const recording = new RecordingBackend(tokens);
  const free = loops === undefined && depthOf(config).loopsFreely(config);
  const walker = free ? { walker: new LoopWalker(recording) } : {};
  const count = free ? Math.max(RECORDED_LOOPS, config.nLoop + 1) : loops;
  const model = new GPT(config, new Runtime(recording), { train: false, ...walker });
  for (const { name, role, shape, storage } of model.parameters.all) {
    const tensor = weights.get(name);
    if (!tensor)
      throw new CheckpointError('ONNX', `must be given tensor ${name} of shape (${shape.join(', ')})`);
    recording.declare(storage, storedWeights(tensor, type, scaledAxis(role)), shape);
  }
  using logits = model.logits(tokens, 1, count === undefined ? {} : { loops: count });
  recording.output(logits.storage, 'logits', ['batch', 'time', config.vocabSize]);
  return recording;
}

/**
 * The `config.json` beside a graph: the cache's sizes under GPT-2's names, or under Llama's where queries share key
 * heads, as GPT-2 has no name for those; layers being the applications of `loops` loops; and our own configuration,
 * with null loops where they are an input or the depth has none.
 */
export function onnxConfig(
  model: ModelConfig,
  { bos_token_id, eos_token_id }: TextIdFields,
  loops?: number,
): Record<string, unknown> {
  const { NH, KV } = headsOf(model);
  const layers = applicationCount(model, loops);
  const sizes =
    KV === NH
      ? {
          model_type: 'gpt2',
          vocab_size: model.vocabSize,
          n_positions: model.blockSize,
          n_embd: model.nEmbd,
          n_head: NH,
          n_layer: layers,
        }
      : {
          model_type: 'llama',
          vocab_size: model.vocabSize,
          max_position_embeddings: model.blockSize,
          hidden_size: model.nEmbd,
          num_attention_heads: NH,
          num_key_value_heads: KV,
          num_hidden_layers: layers,
        };
  return {
    ...sizes,
    bos_token_id,
    eos_token_id,
    loopnn: { ...model, loops: loops ?? null },
  };
}
