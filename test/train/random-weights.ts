/** Models that were never trained, as checkpoints: however large, they are written in a moment. */
import { type ModelConfig, parseModelConfig } from '../../src/models/config.js';
import { GPTModules } from '../../src/models/modules.js';
import { initialValues, type ParameterSpec } from '../../src/nn/parameters.js';
import type { Store } from '../../src/platform.js';
import { size } from '../../src/tensor/tensor.js';
import { saveInitialWeights } from '../../src/train/checkpoint.js';

export const VOCAB = 70;

/**
 * Writes the initial weights of a model, of a small one where `fields` do not tell otherwise; returns its
 * configuration.
 */
export async function randomWeights(
  store: Store,
  fields: Record<string, unknown> = {},
): Promise<ModelConfig> {
  const shape = { vocabSize: VOCAB, blockSize: 16, nLayer: 2, nHead: 2, nEmbd: 12, depth: 'loop', nLoop: 2 };
  const config = parseModelConfig({ ...shape, ...fields });
  const values = ({ shape, init }: ParameterSpec, name: string) =>
    Float32Array.from(initialValues(init, 1, name, size(shape)));
  const tensors = new GPTModules(config).slots.map(({ name, spec }) => ({
    name,
    shape: spec.shape,
    read: async () => values(spec, name),
  }));
  await saveInitialWeights(store, tensors);
  return config;
}
