/** GPT-2's depth (Radford et al. 2019): walk the stack once. */
import { ConfigError } from '../../errors.js';
import type { Block } from '../../nn/block.js';
import type { Tensor } from '../../tensor/tensor.js';
import type { ForwardContext } from '../context.js';
import { AS_GPT2, type Depth, type DepthKind, DepthOutput } from './depth.js';

export const gpt2: DepthKind = {
  ...AS_GPT2,
  huggingFace: 'gpt2',
  create: (_scope, blocks) => new GPT2Depth(blocks),
};

export class GPT2Depth implements Depth {
  constructor(private readonly blocks: readonly Block[]) {}

  requireLoops(loops: number): void {
    if (loops === 1) return;
    throw new ConfigError('loops', 'must be 1 for GPT-2, which walks the stack once', loops);
  }

  run(x: Tensor, ctx: ForwardContext): DepthOutput {
    const y = ctx.loop(this.blocks.length, x, (h, layer) =>
      ctx.apply(this.blocks[layer], h, { loop: 0, layer, inner: 0 }),
    );
    return new DepthOutput({ x: y });
  }
}
