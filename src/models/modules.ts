/**
 * The modules of a model, declared from its configuration: embeddings, blocks, the depth, the classifiers at its exits,
 * and the walker that takes states from exit to exit.
 */
import type { BlockOptions } from '../nn/block.js';
import { createNorm } from '../nn/layers.js';
import { ParameterScope, type ParameterSlot } from '../nn/parameters.js';
import {
  applicationCount,
  averagesExits,
  headsOf,
  initialStd,
  innerWidth,
  type ModelConfig,
} from './config.js';
import type { Depth } from './depth/depth.js';
import { depthOf } from './depth/kinds.js';
import { ActWalker } from './exits/act.js';
import { createCriteria } from './exits/criteria.js';
import { ExitHeads } from './exits/heads.js';
import { ChoiceRule, GeometricRule } from './exits/learned.js';
import type { LearnedRule } from './exits/rule.js';
import { ExitWalker, type Walker } from './exits/walker.js';

/** The modules of a model without memory; enough to count its parameters. */
export class GPTModules {
  readonly slots: readonly ParameterSlot[];
  readonly wte: ParameterSlot;
  /** Factor on the token embedding's output. */
  readonly embeddingScale: number;
  /** Null if the depth signals positions itself, or queries and keys are rotated. */
  readonly wpe: ParameterSlot | null;
  readonly heads: ExitHeads;
  readonly depth: Depth;
  readonly walker: Walker;
  /** The halting rule, if it learns from an oracle. */
  readonly learned: LearnedRule | null;

  constructor(config: ModelConfig) {
    const { vocabSize: V, blockSize, nEmbd: C, nLayer, tiedHead } = config;
    const { activation, gatedMlp, normType, bias, layerNormEpsilon } = config;
    const initStd = initialStd(config);
    const kind = depthOf(config);
    const { std: embeddingStd, scale } = kind.embedding(config);
    const { Block, finalNorm } = kind.block(config);
    const root = new ParameterScope();
    const scope = root.child('transformer');
    this.embeddingScale = scale;
    const uses = tiedHead ? (['rows', 'head'] as const) : (['rows'] as const);
    this.wte = scope.declare('wte.weight', 'embedding', [V, C], { std: embeddingStd }, uses);
    const embedsPositions = kind.learnsPositions && config.positions === 'learned';
    this.wpe = embedsPositions
      ? scope.declare('wpe.weight', 'position', [blockSize, C], { std: initStd })
      : null;
    const options: BlockOptions = {
      ...{ C, heads: headsOf(config), bias, std: initStd, residualStd: residualStd(config) },
      ...{ inner: innerWidth(config), activation, gatedMlp, normType, layerNormEpsilon },
    };
    const blocks = Array.from({ length: nLayer }, (_, l) => new Block(scope.child(`h.${l}`), options));
    this.depth = kind.create(scope, blocks, config);
    const norm = finalNorm ? createNorm(scope.child('ln_f'), C, config) : null;
    const head = tiedHead
      ? this.wte
      : root.declare('lm_head.weight', 'embedding', [V, C], { std: embeddingStd }, ['head']);
    this.heads = new ExitHeads(scope, { norm, head }, config, embeddingStd);
    if (averagesExits(config)) {
      this.walker = new ActWalker(scope, C, initStd);
      this.learned = null;
    } else {
      const criteria = createCriteria(this.heads, config);
      this.learned = createLearnedRule(config, scope, this.heads);
      const own = this.learned ?? (config.halting === 'confidence' ? criteria.confidence : null);
      this.walker = new ExitWalker(own, own ? { ...criteria, [config.halting]: own } : criteria);
    }
    this.slots = root.slots;
  }
}

function createLearnedRule(config: ModelConfig, scope: ParameterScope, heads: ExitHeads): LearnedRule | null {
  const { nEmbd: C } = config;
  const initStd = initialStd(config);
  switch (config.halting) {
    case 'geometric':
      return new GeometricRule(scope, heads, C, initStd);
    case 'multinomial':
    case 'sequence':
      return new ChoiceRule(scope, heads, C, initStd, config.halting === 'sequence');
    default:
      return null;
  }
}

/**
 * Standard deviation of the projections that end in a residual addition. GPT-2 divides by √(number of additions), two
 * per layer. A setting decides how looped additions count: only once (`layers`), like all others (`applications`), or
 * by the loop count itself instead of its root (`loops`, arXiv 2606.18524).
 */
function residualStd(config: ModelConfig): number {
  const { nLayer, nLoop, nInnerLoop, residualInit } = config;
  const initStd = initialStd(config);
  if (residualInit === 'loops') return initStd / (nLoop * nInnerLoop * Math.sqrt(2 * nLayer));
  return initStd / Math.sqrt(2 * (residualInit === 'layers' ? nLayer : applicationCount(config)));
}
