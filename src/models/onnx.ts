/**
 * A model as an ONNX graph: its own forward pass, run once on the recording backend. Inputs and outputs are named as
 * Hugging Face names them. Knows no depth rule and no file.
 */
import { RecordingBackend } from './recording.js';
import { CheckpointError, ConfigError } from '../errors.js';
import type { LazyTensor } from '../formats/lazy-tensors.js';
import type { OnnxGraph } from '../formats/onnx.js';
import { storedWeights, type WeightType } from '../formats/onnx-weights.js';
import { type Role, Runtime } from '../tensor/tensor.js';
import { applicationCount, type ModelConfig } from './config.js';
import { GPT } from './gpt.js';

/** The dimension that has int8 scales: output channels of a matrix, rows of an embedding. */
const SCALED: Partial<Record<Role, number>> = { matrix: 1, embedding: 0, position: 0 };

/** See `storedWeights`; null where int8 leaves a parameter of this role as it is. */
export function scaledAxis(role: Role): number | null {
  return SCALED[role] ?? null;
}

/**
 * The graph of a model with `loops` loops or steps, the trained count by default: `input_ids (batch, time)` and the cache
 * of every application → `logits (batch, time, V)` and the cache with the new tokens. Throws ConfigError for halting.
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
  // Tables over positions are as long as the traced sequence.
  const tokens = new Int32Array(config.blockSize);
  const recording = new RecordingBackend(tokens);
  const model = new GPT(config, new Runtime(recording), { train: false });
  for (const { name, role, shape, storage } of model.parameters.all) {
    const tensor = weights.get(name);
    if (!tensor)
      throw new CheckpointError('ONNX', `must be given tensor ${name} of shape (${shape.join(', ')})`);
    recording.declare(storage, storedWeights(tensor, type, scaledAxis(role)), shape);
  }
  using logits = model.logits(tokens, 1, loops === undefined ? {} : { loops });
  recording.output(logits.storage, 'logits', ['batch', 'time', config.vocabSize]);
  return recording;
}

/** The `config.json` beside a graph: the cache's sizes under GPT-2's names, `n_layer` counting applications; and our own. */
export function onnxConfig(model: ModelConfig, eot: number | null, loops?: number): Record<string, unknown> {
  return {
    model_type: 'gpt2',
    vocab_size: model.vocabSize,
    n_positions: model.blockSize,
    n_embd: model.nEmbd,
    n_head: model.nHead,
    n_layer: applicationCount(model, loops),
    bos_token_id: eot,
    eos_token_id: eot,
    loopnn: { ...model, loops: loops ?? null },
  };
}
