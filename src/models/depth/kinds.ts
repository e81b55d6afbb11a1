/** The depth rules by name. A new rule is a file in this folder, a line here, and a choice of the field `depth`. */
import type { ModelConfig } from '../model-fields.js';
import { adaptive } from './adaptive.js';
import type { DepthKind } from './depth.js';
import { gpt2 } from './gpt2.js';
import { loop } from './loop.js';
import { sharing } from './sharing.js';
import { universal } from './universal.js';

export const DEPTHS: Readonly<Record<ModelConfig['depth'], DepthKind>> = {
  gpt2,
  loop,
  universal,
  adaptive,
  sharing,
};

export const DEPTH_NAMES = Object.keys(DEPTHS) as ModelConfig['depth'][];

export function depthOf({ depth }: Pick<ModelConfig, 'depth'>): DepthKind {
  return DEPTHS[depth];
}
