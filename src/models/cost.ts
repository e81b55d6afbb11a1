/** What a model costs: parameters, block applications, FLOPs and activation memory, from its configuration alone. */
import { size } from '../tensor/tensor.js';
import { applicationCount, headsOf, innerWidth, type ModelConfig } from './config.js';
import { recipeFloatsPerToken, recipeFlopsPerToken } from './depth/loop/recipe-cost.js';
import { GPTModules } from './modules.js';

export interface ModelCost {
  readonly parameters: {
    /** nanoGPT's count: everything but the position embedding, and without gates. */
    readonly nanogpt: number;
    /** The gates of the loop updates. */
    readonly gates: number;
    /** Everything that is trained. */
    readonly total: number;
  };
  readonly layers: number;
  readonly loops: number;
  readonly innerLoops: number;
  /** Runs of a block in one forward pass. */
  readonly applications: number;
  /**
   * Floating-point operations per token at full block size: matrix products and causal attention; a multiply-add counts
   * as two. The backward pass costs twice the forward pass.
   */
  readonly flopsPerToken: { readonly forward: number; readonly backward: number };
  /** Bytes of keys and values that a decoder keeps per token in float32; half as many in bf16. */
  readonly cacheBytesPerToken: number;
  /**
   * Bytes that the backward pass needs per sequence of the block size: with everything kept, and with every application
   * checkpointed.
   */
  readonly activationBytesPerSequence: { readonly kept: number; readonly checkpointed: number };
}

/**
 * Counts a model's cost without allocating it.
 *
 * @example
 * const { model } = chooseConfig({ preset: 'mini-1x2' });
 * console.log(modelCost(model).applications); // 2
 */
export function modelCost(config: ModelConfig): ModelCost {
  const count = (wanted: (role: string) => boolean) =>
    new GPTModules(config).slots
      .filter(({ spec }) => wanted(spec.role))
      .reduce((sum, { spec }) => sum + size(spec.shape), 0);
  const { blockSize: T, nLayer, nLoop, nInnerLoop } = config;
  const applications = applicationCount(config);
  const forward = forwardFlopsPerToken(config, T);
  return {
    parameters: {
      nanogpt: count((role) => role !== 'position' && role !== 'gate'),
      gates: count((role) => role === 'gate'),
      total: count(() => true),
    },
    layers: nLayer,
    loops: nLoop,
    innerLoops: nInnerLoop,
    applications,
    cacheBytesPerToken: 4 * 2 * keyWidth(config) * cacheSlots(config, nLoop),
    flopsPerToken: { forward, backward: 2 * forward },
    activationBytesPerSequence: {
      kept: activationBytes(config, T, 0),
      checkpointed: activationBytes(config, T, applications),
    },
  };
}

/**
 * Parameters of the blocks that run once, and of the looped blocks; gates and other parameters of loops are in neither.
 */
export function blockParameters(config: ModelConfig): { once: number; looped: number } {
  const { nLayer, nLoop, nPrelude, nCoda } = config;
  const counts = new Float64Array(nLayer);
  for (const { spec } of new GPTModules(config).slots) {
    const layer = /^transformer\.h\.(\d+)\./.exec(spec.name)?.[1];
    if (layer !== undefined && spec.role !== 'gate') counts[Number(layer)] += size(spec.shape);
  }
  const sum = (values: Float64Array) => values.reduce((all, count) => all + count, 0);
  const all = sum(counts);
  const looped = nLoop > 1 ? sum(counts.subarray(nPrelude, nLayer - nCoda)) : 0;
  return { once: all - looped, looped };
}

/**
 * FLOPs per token of one forward pass over sequences of T tokens, with the given number of loops or steps and of exits
 * that the head reads. Halting units are not counted.
 */
export function forwardFlopsPerToken(config: ModelConfig, T: number, loops?: number, heads = 1): number {
  const { nEmbd: C, vocabSize: V } = config;
  const block = 2 * blockMatrixSize(config);
  const attention = (2 * 2 * C * (T + 1)) / 2; // q·k and p·v against (T + 1)/2 keys on average
  const recipes = recipeFlopsPerToken(config, loops ?? config.nLoop);
  return applicationCount(config, loops) * (block + attention) + recipes + heads * 2 * V * C;
}

/**
 * Weights that decoding a token reads: the matrices of every application of a block, and the head's. A block that is
 * looped is read in every loop, unless caches hold it.
 */
export function weightsReadPerToken(config: ModelConfig): number {
  const { nEmbd: C, vocabSize: V } = config;
  return applicationCount(config) * blockMatrixSize(config) + V * C;
}

/** Elements of a block's matrices: queries, keys and values, projection; (C, I), (I, C) with the MLP's inner width. */
function blockMatrixSize(config: ModelConfig): number {
  return config.nEmbd * (2 * config.nEmbd + 2 * keyWidth(config) + mlpWidths(config));
}

/** An MLP's weights per channel: in, out, and in again for a gate's half. */
export function mlpWidths(config: ModelConfig): number {
  return (config.gatedMlp ? 3 : 2) * innerWidth(config);
}

/**
 * Keys and values that a decoder keeps per token: one pair per application, or one pair for each loop that has its own.
 */
export function cacheSlots(config: ModelConfig, loops?: number): number {
  return applicationCount(config, config.kvSharing === 'per-application' ? loops : config.kvLoops);
}

/** Channels of a token's keys, and also of its values: those of the key heads. */
export function keyWidth(config: ModelConfig): number {
  const { KV, HS } = headsOf(config);
  return KV * HS;
}

/** Floats that one application keeps for its backward pass, beyond its input. */
function applicationFloats(config: ModelConfig, T: number): number {
  const { nEmbd: C, normType, qkNorm } = config;
  const { NH, KV } = headsOf(config);
  const norms = 2 * (C + (normType === 'rmsnorm' ? 1 : 2)) + (qkNorm ? NH + KV : 0); // and their means and scales
  const attention = C + 2 * keyWidth(config) + C + NH; // qkv, heads' output, log-sum-exps
  const mlp = mlpWidths(config); // before and after the activation
  return T * (norms + attention + C + mlp); // and the sum between the two halves
}

/**
 * Bytes that the backward pass needs per sequence of T tokens when `checkpointed` block applications keep only their
 * input.
 */
export function activationBytes(
  config: ModelConfig,
  T: number,
  checkpointed: number,
  applications = applicationCount(config),
): number {
  const { nEmbd: C, nLoop, nInnerLoop } = config;
  const gated = (nLoop > 1 ? nLoop : 0) + (nInnerLoop > 1 ? applications : 0);
  const stream = T * C * (applications + gated + 2); // inputs of applications, gates' outputs, embedding, final norm
  const recomputed = checkpointed > 0 ? 1 : 0; // the one being computed again
  const recipes = T * recipeFloatsPerToken(config);
  return 4 * (stream + recipes + (applications - checkpointed + recomputed) * applicationFloats(config, T));
}

/**
 * How many applications to checkpoint so that a batch's activations fit into a budget. The earliest are checkpointed,
 * because the latest are freed first.
 */
export function applicationsToCheckpoint(
  config: ModelConfig,
  B: number,
  T: number,
  budgetBytes: number,
  applications = applicationCount(config),
): number {
  let count = 0;
  while (count < applications && B * activationBytes(config, T, count, applications) > budgetBytes) count++;
  return count;
}
