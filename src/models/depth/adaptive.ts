/**
 * The Depth-Adaptive Transformer's depth (Elbayad et al. 2019, arXiv 1910.10073): GPT-2's walk, with an exit after
 * every layer. The halting rule chooses a token's exit (`exits/`); the objective decides what each exit is trained on
 * (`exits/objective.ts`). A token that has exited keeps its state, which every deeper layer still projects to a key and
 * a value.
 */
import { ConfigError } from '../../errors.js';
import type { Block } from '../../nn/block.js';
import type { Tensor } from '../../tensor/tensor.js';
import type { ForwardContext } from '../context.js';
import { AS_GPT2, type Depth, type DepthKind, type DepthOutput, type Walk } from './depth.js';

export const adaptive: DepthKind = {
  ...AS_GPT2,
  reads: ['exitHead', 'halting'],
  exits: ({ nLayer }) => nLayer,
  applications: ({ nLayer }, layers = nLayer) => layers,
  create: (_scope, blocks) => new AdaptiveDepth(blocks),
};

export class AdaptiveDepth implements Depth {
  constructor(private readonly blocks: readonly Block[]) {}

  requireLoops(loops: number): void {
    const { length } = this.blocks;
    if (loops <= length) return;
    throw new ConfigError('loops', `must be at most the ${length} layers of this model`, loops);
  }

  /** The context's loops are the layers to run; all by default. */
  run(x: Tensor, { loops }: ForwardContext, walk: Walk): DepthOutput {
    const { blocks } = this;
    return walk(x, loops ?? blocks.length, (h, layer, ctx) =>
      ctx.apply(blocks[layer], h, { loop: 0, layer, inner: 0 }),
    );
  }
}
