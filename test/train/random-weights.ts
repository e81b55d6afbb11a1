/** Models that were never trained, as checkpoints: however large, they are written in a moment. */
import { type ModelConfig, parseModelConfig } from '../../src/models/config.js';
import { GPTModules } from '../../src/models/modules.js';
import type { ParameterSpec } from '../../src/nn/parameters.js';
import type { Store } from '../../src/platform.js';
import { normal } from '../../src/random.js';
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
    'value' in init
      ? new Float32Array(size(shape)).fill(init.value)
      : Float32Array.from(normal(1, name, size(shape), init.std, 0));
  const tensors = new GPTModules(config).slots.map(({ name, spec }) => ({
    name,
    shape: spec.shape,
    read: async () => values(spec, name),
  }));
  await saveInitialWeights(store, tensors);
  return config;
}
