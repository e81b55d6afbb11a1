/**
 * The Universal Transformer's depth (Dehghani et al. 2019, arXiv 1807.03819): one block applied S times, with a signal
 * of position and time added to the state before each application:
 *
 *     P^t[i, 2j]     = sin(i / 10000^(2j/C)) + sin(t / 10000^(2j/C))
 *     P^t[i, 2j + 1] = cos(i / 10000^(2j/C)) + cos(t / 10000^(2j/C)),   t = 1..S, i = 0..T−1
 *
 * The paper normalises after each residual addition (norm `post`). If a model has several layers, a step is the whole
 * stack, and the signal is added before the first layer.
 */
import { ConfigError } from '../../errors.js';
import { type Block, PostNormBlock, PreNormBlock } from '../../nn/block.js';
import { add, detach } from '../../tensor/ops.js';
import type { Tensor } from '../../tensor/tensor.js';
import type { ModelConfig } from '../model-fields.js';
import type { ForwardContext } from '../context.js';
import { AS_GPT2, type Depth, type DepthKind, type DepthOutput, type Walk } from './depth.js';

export const universal: DepthKind = {
  ...AS_GPT2,
  reads: ['nLoop', 'norm', 'exitHead', 'halting', 'kvSharing'],
  check({ nEmbd: C, positions }, _input, where) {
    if (positions === 'rotary') {
      const rule = 'must be learned where depth is universal, which signals positions itself';
      throw new ConfigError(`${where}.positions`, rule, positions);
    }
    if (C % 2 === 0) return;
    throw new ConfigError(`${where}.nEmbd`, 'must be even for sines and cosines', C);
  },
  exits: ({ nLoop }) => nLoop,
  applications: ({ nLayer, nLoop }, steps = nLoop) => nLayer * steps,
  loopsFreely: () => true,
  learnsPositions: false,
  // Vaswani et al. 2017 multiply embeddings by √C because the head shares their weights: both then have unit variance.
  embedding: ({ nEmbd: C }) => ({ std: 1 / Math.sqrt(C), scale: Math.sqrt(C) }),
  block: ({ norm }) => ({
    Block: norm === 'post' ? PostNormBlock : PreNormBlock,
    finalNorm: norm === 'pre',
  }),
  activation: 'relu',
  create: (_scope, blocks, config) => new UniversalDepth(blocks, config),
};

export class UniversalDepth implements Depth {
  private places: Float64Array = new Float64Array(0);

  constructor(
    private readonly blocks: readonly Block[],
    private readonly config: ModelConfig,
  ) {}

  requireLoops(): void {}

  /** The signal of the first positions, computed once. */
  private placesBelow(reach: number, C: number): Float64Array {
    if (this.places.length < reach * C) {
      this.places = sinusoids(Math.min(2 * reach, this.config.blockSize), C, 0);
    }
    return this.places.subarray(0, reach * C);
  }

  run(x: Tensor, { batch, loops }: ForwardContext, walk: Walk): DepthOutput {
    const { runtime } = x;
    const { blocks } = this;
    const [R, C] = [x.shape[0], x.shape[1]];
    const steps = loops ?? this.config.nLoop;
    const { reach } = batch;
    using places = runtime.from(this.placesBelow(reach, C), [reach, C]);
    using times = runtime.from(sinusoids(steps, C, 1), [steps, C]);
    return walk(x, steps, (h, n, ctx) => {
      using time = runtime.from(new Int32Array(R).fill(n), [R]);
      using signal = runtime.empty([R, C]);
      runtime.backend.embeddingForward({
        out: signal.storage,
        tokens: time.storage,
        positions: batch.positions.storage,
        wte: times.storage,
        wpe: places.storage,
        R,
        C,
      });
      using constant = detach(signal);
      using input = add(h, constant);
      using y = ctx.loop(blocks.length, input, (state, layer) =>
        ctx.apply(blocks[layer], state, { loop: n, layer, inner: 0 }),
      );
      return ctx.keepHalted(y, h);
    });
  }
}

/** Sines (even channels) and cosines (odd channels) of `count` numbers from `first` on, (count, C). */
export function sinusoids(count: number, C: number, first: number): Float64Array {
  return Float64Array.from({ length: count * C }, (_, k) => {
    const c = k % C;
    const angle = (first + Math.floor(k / C)) / 10_000 ** ((c - (c % 2)) / C);
    return c % 2 === 0 ? Math.sin(angle) : Math.cos(angle);
  });
}
