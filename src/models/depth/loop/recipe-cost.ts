/**
 * The cost of recipes for loops, without the blocks: FLOPs of their products, and floats that their backward passes
 * need.
 */
import type { ModelConfig } from '../../model-fields.js';

/** FLOPs per token of the products in one forward pass of `loops` loops; a multiply-add counts as two. */
export function recipeFlopsPerToken(config: ModelConfig, loops: number): number {
  const { nEmbd: C, nStream: n, inputInjection, hyperConnections } = config;
  const products = {
    linear: 2 * C * C * loops, // x·A and e·B
    stable: C * C, // e·B, once
    'stable-exact': C * C,
    ...{ none: 0, add: 0, scalars: 0 },
  }[inputInjection];
  return 2 * (products + (hyperConnections === 'dynamic' ? n * C * n * (n + 2) * loops : 0));
}

/** Floats per token in all loops, without the inputs of applications and the gates' outputs. */
export function recipeFloatsPerToken(config: ModelConfig): number {
  const { nEmbd: C, nStream: n, nLoop, inputInjection, initialState, hyperConnections } = config;
  const injected = {
    none: 0,
    add: 0,
    linear: 2 * C * nLoop, // x·A and e·B
    scalars: 2 * C * nLoop, // zeros, and λx
    stable: C,
    'stable-exact': C,
  }[inputInjection];
  const each = (config.loopNorm ? C + 2 : 0) + (config.loopEmbedding ? 2 * C : 0);
  const first = initialState === 'random' ? C : 0;
  const K = n * (n + 2);
  const streams = {
    none: 0,
    static: n * C + 2 * C + K, // the streams, the input and output of the loop, the coefficients
    dynamic: 2 * n * C + 2 + 2 * C + 4 * K, // and the streams normalised, tanh's input and output, the sum
  }[hyperConnections];
  return injected + first + (each + streams) * nLoop;
}
