/**
 * Turns a GPT-2 into a loop network that starts as close to it as its form allows. Layers are chosen, or averaged in
 * groups; embeddings, final layer norm and head stay; gates are new. It must not read files.
 *
 * The initial gates. Let f be the chosen stack walked once, f(x) = x + r(x), which is the original without the layers
 * that were left out. N loops must leave f(x⁽⁰⁾), up to a factor: the final layer norm takes every factor away.
 *
 * - Form `correction`, x⁽ⁿ⁾ = x⁽ⁿ⁻¹⁾ + α⁽ⁿ⁾ ⊙ (f(x⁽ⁿ⁻¹⁾) − x⁽ⁿ⁻¹⁾): α = (1, 0, …, 0) gives x⁽ᴺ⁾ = f(x⁽⁰⁾) exactly, for
 *   outer and for inner loops, and so for any number of loops. 1/N in every loop walks part of the way N times, along
 *   corrections that f never learned to make from there, and ones repeat the whole stack.
 * - Form `output`, x⁽ⁿ⁾ = x⁽ⁿ⁻¹⁾ + α⁽ⁿ⁾ ⊙ f(x⁽ⁿ⁻¹⁾): α = (a, 0, …, 0) gives x⁽⁰⁾ + a·f(x⁽⁰⁾), in direction f(x⁽⁰⁾) +
 *   x⁽⁰⁾/a. No gate is exact. A larger a comes closer, but leaves a state a times as large, to which a later f adds
 *   corrections of the old size: the loops to be learned would hardly turn it. So a = 1: the embedding counts once too
 *   often, which is little where the stack adds much more than it was given, as trained stacks do.
 * - Inner loops in form `output` would count each layer's input twice, and the next layer's again, so that the last of
 *   L layers' corrections weighs 1 against the first one's 2ᴸ⁻¹; a larger a makes it worse. They are refused.
 *
 * Scalars of injection, loop embeddings and streams start as the network without them, and so may be added; other
 * recipes change what the gates above start with, and are refused.
 *
 * A gate of 0 learns from the first step on: its gradient is that of the state times what the loop would add.
 */
import { CheckpointError, ConfigError } from '../errors.js';
import { elementCount, type LazyTensor, renamed } from '../formats/lazy-tensors.js';
import { type ModelConfig, modelFields, parseModelConfig } from '../models/config.js';
import { GPTModules } from '../models/modules.js';
import { requireRead, unreadModelFields } from '../models/unread.js';
import { initialValues } from '../nn/parameters.js';

/** Layers of the original that each layer of the loop network is the mean of. */
export type LayerGroups = readonly (readonly number[])[];

/** The settings of the loop network that the original has no say in. */
export type LoopSettings = Pick<
  ModelConfig,
  'nLoop' | 'nInnerLoop' | 'nPrelude' | 'nCoda' | 'loopForm' | 'gate'
> &
  Partial<Pick<ModelConfig, 'inputInjection' | 'loopEmbedding' | 'hyperConnections' | 'nStream'>>;

/** The kinds of input injection that leave a network what it is until they learn. */
export const RETROFIT_INJECTIONS = [
  'none',
  'scalars',
] as const satisfies readonly ModelConfig['inputInjection'][];

/** Reads a choice of layers, `0-5` or `0,2,4-6`: one group for each. Throws ConfigError. */
export function parseLayers(text: string, where: string): number[][] {
  return text.split(',').flatMap((part) => range(part, where).map((layer) => [layer]));
}

/** Reads groups of layers to average, `0-1,2-3` or `0+6,1+7`: a group between commas. Throws ConfigError. */
export function parseGroups(text: string, where: string): number[][] {
  return text.split(',').map((group) => group.split('+').flatMap((part) => range(part, where)));
}

/** `3`, or `3-5` with both ends. */
function range(text: string, where: string): number[] {
  const match = /^\s*(\d{1,4})(?:-(\d{1,4}))?\s*$/.exec(text);
  const first = Number(match?.[1]);
  const last = Number(match?.[2] ?? match?.[1]);
  if (!match || last < first) {
    throw new ConfigError(where, 'must name layers as 0, 0-5 or 0,2,4-6', text, 'layers count from 0');
  }
  return Array.from({ length: last - first + 1 }, (_, i) => first + i);
}

/** The loop network's configuration. Throws ConfigError if original, layers and settings do not fit together. */
export function retrofitConfig(
  original: ModelConfig,
  groups: LayerGroups,
  settings: LoopSettings,
): ModelConfig {
  if (original.depth !== 'gpt2') {
    throw new ConfigError('depth', 'must be gpt2 to be made a loop network', original.depth);
  }
  const beyond = groups.flat().find((layer) => layer >= original.nLayer);
  if (beyond !== undefined) {
    throw new ConfigError(
      'layers',
      `must be from 0 to ${original.nLayer - 1}, as the model has them`,
      beyond,
    );
  }
  const { nLoop, nInnerLoop, loopForm } = settings;
  if (nLoop === 1 && nInnerLoop === 1) {
    throw new ConfigError('loops', 'must be at least 2, over the stack or in each layer', 1);
  }
  if (nInnerLoop > 1 && loopForm === 'output') {
    const rule =
      'must be correction where layers are looped, since no gate leaves the output form near the original';
    throw new ConfigError('loopForm', rule, loopForm);
  }
  const { inputInjection = 'none' } = settings;
  if (!RETROFIT_INJECTIONS.some((kind) => kind === inputInjection)) {
    const rule = `must be ${RETROFIT_INJECTIONS.join(' or ')}, which leave the network what it is until they learn`;
    throw new ConfigError('inputInjection', rule, inputInjection);
  }
  const fields = { ...original, ...settings, depth: 'loop', nLayer: groups.length };
  const config = parseModelConfig(fields, 'retrofit');
  requireRead(settings, modelFields, [unreadModelFields(config)], 'retrofit');
  return config;
}

/** Parameters of recipes, which start as in a new network. */
const NEW = /^transformer\.(?:injection\.|streams\.|loop_embedding$)/;
const LAYER = /^transformer\.h\.(\d+)\.(.+)$/;

/** The loop network's parameters in their order, out of the original's. Throws CheckpointError for a missing one. */
export function retrofitTensors(
  model: ModelConfig,
  groups: LayerGroups,
  original: ReadonlyMap<string, LazyTensor>,
  where: string,
): LazyTensor[] {
  const find = (name: string): LazyTensor => {
    const tensor = original.get(name);
    if (!tensor) throw new CheckpointError(where, `must hold tensor ${name}`);
    return tensor;
  };
  return new GPTModules(model).slots.map(({ name, spec: { shape, init } }) => {
    if (name.endsWith('.gates')) return startingGates(name, shape);
    if (NEW.test(name)) {
      return {
        name,
        shape,
        read: async () => Float32Array.from(initialValues(init, 0, name, elementCount(shape))),
      };
    }
    const [, layer, part] = LAYER.exec(name) ?? [];
    if (layer === undefined) return find(name);
    return mean(
      name,
      groups[Number(layer)].map((from) => find(`transformer.h.${from}.${part}`)),
    );
  });
}

/** 1 in the first loop, 0 in the others; `shape` is (loops, C) or (loops, 1). */
function startingGates(name: string, shape: readonly number[]): LazyTensor {
  const read = async () => new Float32Array(elementCount(shape)).fill(1, 0, shape[1]);
  return { name, shape, read };
}

function mean(name: string, tensors: readonly LazyTensor[]): LazyTensor {
  if (tensors.length === 1) return renamed(tensors[0], name);
  const { shape } = tensors[0];
  return {
    name,
    shape,
    async read() {
      const sums = new Float64Array(elementCount(shape));
      for (const tensor of tensors) {
        const values = await tensor.read();
        for (let i = 0; i < sums.length; i++) sums[i] += values[i];
      }
      return Float32Array.from(sums, (sum) => sum / tensors.length);
    },
  };
}
