/**
 * Parameter sharing across layers ("Lessons on Parameter Sharing across Layers in Transformers", Takase & Kiyono 2023,
 * arXiv 2104.06022): M layers, A applications, in one of three orders. No gates and no outer residual.
 *
 *     SEQUENCE     1 1 2 2 3 3
 *     CYCLE        1 2 3 1 2 3
 *     CYCLE (REV) 1 2 3 3 2 1, the last M applications in reverse
 */
import { ConfigError } from '../../errors.js';
import type { Block } from '../../nn/block.js';
import type { Tensor } from '../../tensor/tensor.js';
import type { ApplicationPlace } from '../batch.js';
import type { ModelConfig } from '../model-fields.js';
import type { ForwardContext } from '../context.js';
import { AS_GPT2, type Depth, type DepthKind, DepthOutput } from './depth.js';

export const sharing: DepthKind = {
  ...AS_GPT2,
  reads: ['sharing', 'nApplication'],
  check({ nLayer, nApplication: A, sharing: order }, input, where) {
    if (input.nApplication === undefined) {
      throw new ConfigError(`${where}.nApplication`, 'must be given where depth is sharing');
    }
    const least = { sequence: nLayer, cycle: nLayer, 'cycle-rev': 2 * nLayer }[order];
    if (A < least || (order === 'sequence' && A % nLayer !== 0)) {
      const multiple = order === 'sequence' ? `a multiple of nLayer = ${nLayer}` : `at least ${least}`;
      throw new ConfigError(`${where}.nApplication`, `must be ${multiple} where sharing is ${order}`, A);
    }
  },
  applications: ({ nApplication }) => nApplication,
  create: (_scope, blocks, config) => new SharingDepth(blocks, config),
};

/** Which of M layers each of A applications uses, counted from 0. */
export function sharingOrder(rule: ModelConfig['sharing'], M: number, A: number): number[] {
  return Array.from({ length: A }, (_, i) => {
    if (rule === 'sequence') return Math.floor((i * M) / A);
    if (rule === 'cycle-rev' && i >= A - M) return A - 1 - i;
    return i % M;
  });
}

export class SharingDepth implements Depth {
  private readonly places: readonly ApplicationPlace[];

  constructor(
    private readonly blocks: readonly Block[],
    { sharing, nApplication }: ModelConfig,
  ) {
    const order = sharingOrder(sharing, blocks.length, nApplication);
    const timesBefore = (i: number) => order.slice(0, i).filter((layer) => layer === order[i]).length;
    this.places = order.map((layer, i) => ({ loop: timesBefore(i), layer, inner: 0 }));
  }

  requireLoops(loops: number): void {
    if (loops === 1) return;
    throw new ConfigError('loops', 'must be 1 for parameter sharing, whose order of layers is fixed', loops);
  }

  run(x: Tensor, ctx: ForwardContext): DepthOutput {
    const { places, blocks } = this;
    const y = ctx.loop(places.length, x, (h, i) => ctx.apply(blocks[places[i].layer], h, places[i]));
    return new DepthOutput({ x: y });
  }
}
