/**
 * The model: GPT-2's parts (Radford et al. 2019) around a depth rule. Embed the tokens; let the depth carry the hidden
 * state through the blocks; normalise; project to the vocabulary. Which depth is the configuration's choice.
 */
import { ConfigError, ShapeError } from '../errors.js';
import { type Block, PostNormBlock, PreNormBlock } from '../nn/block.js';
import { LayerNorm } from '../nn/layers.js';
import { Parameters, ParameterScope, type ParameterSlot } from '../nn/parameters.js';
import { alias, detach, dropout, embedding, gatherRows, headLoss, logits, scaleRows } from '../tensor/ops.js';
import { type Runtime, Tensor } from '../tensor/tensor.js';
import { type Batch, WholeSequences } from './batch.js';
import { applicationCount, initialStd, type ModelConfig } from './config.js';
import { ForwardContext, type ForwardOptions, type Pass, PLAIN_PASS } from './context.js';
import { AdaptiveDepth } from './depth/adaptive.js';
import type { Depth, DepthOutput, Walker } from './depth/depth.js';
import { GPT2Depth } from './depth/gpt2.js';
import { LoopDepth } from './depth/loop.js';
import { SharingDepth } from './depth/sharing.js';
import { UniversalDepth } from './depth/universal.js';
import { ExitHeads } from './exits/heads.js';
import { ActWalker } from './exits/act.js';
import { createCriteria } from './exits/criteria.js';
import { requireExit } from './exits/options.js';
import type { LearnedRule } from './exits/rule.js';
import { ChoiceRule, GeometricRule } from './exits/learned.js';
import { drawExits, exitWeights } from './exits/objective.js';
import { ExitWalker } from './exits/walker.js';

/** The modules of a model, before it has memory; enough to count its parameters. */
export class GPTModules {
  readonly slots: readonly ParameterSlot[];
  readonly wte: ParameterSlot;
  /** Null where the depth signals positions itself. */
  readonly wpe: ParameterSlot | null;
  readonly heads: ExitHeads;
  readonly depth: Depth;
  readonly walker: Walker;
  /** The halting rule, where it learns from an oracle. */
  readonly learned: LearnedRule | null;

  constructor(config: ModelConfig) {
    const { vocabSize: V, blockSize, nEmbd: C, nHead: NH, nLayer, bias, tiedHead } = config;
    const initStd = initialStd(config);
    const universal = config.depth === 'universal';
    const post = universal && config.norm === 'post';
    const root = new ParameterScope();
    const scope = root.child('transformer');
    // Vaswani et al. 2017 multiply embeddings by √C, the head's weights being the same: both then have unit variance.
    const embeddingStd = universal ? 1 / Math.sqrt(C) : initStd;
    this.wte = scope.declare('wte.weight', 'embedding', [V, C], { std: embeddingStd });
    this.wpe = universal ? null : scope.declare('wpe.weight', 'position', [blockSize, C], { std: initStd });
    const options = {
      C,
      NH,
      bias,
      std: initStd,
      residualStd: residualStd(config),
      activation: universal ? 'relu' : 'gelu',
    } as const;
    const Block = post ? PostNormBlock : PreNormBlock;
    const blocks = Array.from({ length: nLayer }, (_, l) => new Block(scope.child(`h.${l}`), options));
    this.depth = createDepth(config, scope, blocks);
    const norm = post ? null : new LayerNorm(scope.child('ln_f'), C, { bias });
    const head = tiedHead
      ? this.wte
      : root.declare('lm_head.weight', 'embedding', [V, C], { std: embeddingStd });
    this.heads = new ExitHeads(scope, { norm, head }, config, embeddingStd);
    if (config.halting === 'act') {
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

function createDepth(config: ModelConfig, scope: ParameterScope, blocks: readonly Block[]): Depth {
  switch (config.depth) {
    case 'gpt2':
      return new GPT2Depth(blocks);
    case 'loop':
      return new LoopDepth(scope, blocks, config);
    case 'universal':
      return new UniversalDepth(blocks, config);
    case 'adaptive':
      return new AdaptiveDepth(blocks);
    case 'sharing':
      return new SharingDepth(blocks, config);
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
 * Standard deviation of the projections that end in a residual addition. GPT-2 divides by √(number of additions), two a
 * layer; what looped additions count is a choice: not at all (`layers`), as any other (`applications`), or by the loop
 * count itself instead of its root (`loops`, arXiv 2606.18524).
 */
function residualStd(config: ModelConfig): number {
  const { nLayer, nLoop, nInnerLoop, residualInit } = config;
  const initStd = initialStd(config);
  if (residualInit === 'loops') return initStd / (nLoop * nInnerLoop * Math.sqrt(2 * nLayer));
  return initStd / Math.sqrt(2 * (residualInit === 'layers' ? nLayer : applicationCount(config)));
}

/** What a forward pass over targets found, row by row (R); its tensors belong to the caller. */
export class LossOutput implements Disposable {
  constructor(
    /** Cross-entropy in nats; 0 where the target is −1. */
    readonly losses: Tensor,
    /** What halting adds: ACT's ponder cost in steps, or the cross-entropy with the oracle in nats; null for nothing. */
    readonly auxLoss: Tensor | null,
    /** Steps before the row halted, i32; null where all took every step. */
    readonly stepsPerRow: Tensor | null,
    /** 1 where the most probable token is not the target, else 0; null where not asked for. */
    readonly wrong: Tensor | null = null,
  ) {}

  [Symbol.dispose](): void {
    this.losses.dispose();
    this.auxLoss?.dispose();
    this.stepsPerRow?.dispose();
    this.wrong?.dispose();
  }
}

/** What the head reads at one exit, row by row (R). */
export interface ExitReading {
  readonly losses: Float32Array;
  readonly argmax: Int32Array;
  readonly maxProb: Float32Array;
  /** The state itself (R, C), before a coda. */
  readonly state: Float32Array;
  /** The logits (R, V), where they were asked for. */
  readonly logits: Float32Array | null;
}

/** Logits (B, V), and the steps before each prediction halted (B); null where all took every step. */
export interface LastLogits {
  readonly logits: Float32Array;
  readonly steps: Int32Array | null;
}

/** A model in memory. */
export class GPT {
  readonly parameters: Parameters;
  private readonly modules: GPTModules;
  private readonly walker: Walker;

  /**
   * Allocates the parameters, all zero; with `train`, their gradients too. `walker` takes states from exit to exit in place
   * of the walker that the configuration asks for.
   */
  constructor(
    readonly config: ModelConfig,
    readonly runtime: Runtime,
    { train, walker }: { train: boolean; walker?: Walker },
  ) {
    this.modules = new GPTModules(config);
    this.walker = walker ?? this.modules.walker;
    this.parameters = new Parameters(runtime, this.modules.slots, train);
  }

  /**
   * Cross-entropy of every position in nats, (B·T); `tokens, targets (B, T)`, target −1 being ignored. While a tape
   * records, its end is the mean over the counted targets times `lossScale`, and what `options.objective` adds.
   */
  loss(
    tokens: Int32Array,
    targets: Int32Array,
    B: number,
    lossScale: number,
    options: ForwardOptions = {},
  ): LossOutput {
    const { runtime } = this;
    const R = tokens.length;
    const counted = targets.reduce((n, t) => n + (t >= 0 ? 1 : 0), 0);
    const weight = lossScale / Math.max(1, counted);
    using target = runtime.from(targets, [R]);
    const { objective } = runtime.tape ? options : { objective: undefined };
    const mixed = objective?.exitLoss === 'mixed';
    const key = options.dropout ?? { seed: 0, step: 0, microStep: 0 };
    const steps = options.loops ?? this.modules.heads.count;
    using drawnExits = mixed ? runtime.from(drawExits(key, R, steps), [R]) : null;
    using batch = this.whole(tokens, B);
    using ctx = this.context(batch, options, {
      collectExits: objective?.exitLoss === 'uniform' || objective?.exitLoss === 'linear',
      drawnExits,
      ponderCost: objective?.ponderCost ?? 0,
      auxScale: lossScale,
    });
    using output = this.hidden(tokens, ctx);
    if (output.exits.length > 0) {
      return this.lossOfExits(output, target, weight, lossScale, ctx);
    }
    const { losses, wrong } = this.lossOfRows(output, target, weight, options);
    const { auxLoss, stepsPerRow } = output;
    return new LossOutput(losses, auxLoss && alias(auxLoss), stepsPerRow && alias(stepsPerRow), wrong);
  }

  /** The loss at every exit, weighted; and, where a halting rule learns, its loss against the oracle of those. */
  private lossOfExits(
    { exits, finish }: DepthOutput,
    target: Tensor,
    weight: number,
    lossScale: number,
    ctx: ForwardContext,
  ): LossOutput {
    const { runtime } = this;
    const { heads, learned } = this.modules;
    const objective = ctx.options.objective!;
    const { backend } = runtime;
    const [R, N] = [target.size, exits.length];
    const share = exitWeights(objective.exitLoss, N);
    using costs = runtime.empty([N, R]);
    using argmax = runtime.empty([R], 'i32');
    let last: Tensor | null = null;
    for (const [n, state] of exits.entries()) {
      using read = finish(state);
      using normal = heads.normalise(read, n);
      using weights = runtime.empty([R]);
      backend.fill(weights.storage, weight * share[n]);
      last?.dispose();
      last = headLoss(normal, heads.weight(n), target, weights, argmax);
      const cost = backend.slice(costs.storage, n * R, R);
      if (objective.oracle === 'likelihood') backend.copy(cost, last.storage);
      else backend.rows.differ(cost, argmax.storage, target.storage);
    }
    if (!learned) return new LossOutput(last!, null, null);
    using oracle = runtime.empty([R], 'i32');
    backend.rows.oracle(
      oracle.storage,
      costs.storage,
      { B: R / ctx.batch.T, T: ctx.batch.T, N },
      {
        lambda: objective.oracleLambda,
        sigma: objective.oracleSigma,
        perSequence: learned.perSequence,
      },
    );
    return new LossOutput(last!, learned.learn(exits, oracle, lossScale, ctx), null);
  }

  /** The loss of the state that each row ended with, read by the classifier of the exit where it did. */
  private lossOfRows(
    { x, stepsPerRow }: DepthOutput,
    target: Tensor,
    weight: number,
    { loops, findWrong = false }: ForwardOptions,
  ): { losses: Tensor; wrong: Tensor | null } {
    const { runtime } = this;
    const { heads } = this.modules;
    const { backend } = runtime;
    const R = target.size;
    using weights = runtime.empty([R]);
    const readAt = (exit: number) => {
      using normal = heads.normalise(x, exit);
      using argmax = findWrong ? runtime.empty([R], 'i32') : null;
      const losses = headLoss(normal, heads.weight(exit), target, weights, argmax);
      if (!argmax) return { losses, wrong: null };
      const wrong = runtime.empty([R]);
      backend.rows.differ(wrong.storage, argmax.storage, target.storage);
      return { losses, wrong };
    };
    if (!stepsPerRow || !heads.separate) {
      backend.fill(weights.storage, weight);
      return readAt(this.exitAfter(loops));
    }
    const losses = runtime.from(new Float64Array(R), [R]);
    const wrong = findWrong ? runtime.from(new Float64Array(R), [R]) : null;
    for (let n = 0; n < heads.count; n++) {
      const last = n === heads.count - 1;
      const at = (out: Tensor, value: number) =>
        backend.rows.weightsAt(out.storage, stepsPerRow.storage, target.storage, n + 1, last, value);
      at(weights, weight);
      const own = readAt(n);
      using ownLosses = own.losses;
      using ownWrong = own.wrong;
      using here = runtime.empty([R]);
      at(here, 1);
      backend.scaleRowsForward(losses.storage, ownLosses.storage, here.storage, { R, C: 1 }, true);
      if (wrong && ownWrong) {
        backend.scaleRowsForward(wrong.storage, ownWrong.storage, here.storage, { R, C: 1 }, true);
      }
    }
    return { losses, wrong };
  }

  /** Logits of the last position of each sequence, (B, V); `tokens (B, T)`. */
  async lastLogits(tokens: Int32Array, B: number, options?: ForwardOptions): Promise<LastLogits> {
    using batch = this.whole(tokens, B);
    const { T } = batch;
    return this.logitsAt(
      tokens,
      batch,
      Int32Array.from({ length: B }, (_, b) => b * T + T - 1),
      options,
    );
  }

  /** Logits of some rows, ascending; `tokens (R)` are the rows of the batch. */
  async logitsAt(
    tokens: Int32Array,
    batch: Batch,
    rows: Int32Array,
    options?: ForwardOptions,
  ): Promise<LastLogits> {
    const { runtime } = this;
    using ctx = this.context(batch, options);
    using output = this.hidden(tokens, ctx);
    using index = runtime.from(rows, [rows.length]);
    using states = gatherRows(output.x, index);
    const taken = output.stepsPerRow && ((await output.stepsPerRow.read()) as Int32Array);
    const steps = taken && rows.map((row) => taken[row]);
    if (!steps || !this.modules.heads.separate) {
      using y = this.read(states, this.exitAfter(options?.loops));
      return { logits: (await y.read()) as Float32Array, steps };
    }
    const { vocabSize: V, nEmbd: C } = this.config;
    const all = new Float32Array(rows.length * V);
    for (const [i, count] of steps.entries()) {
      using state = Tensor.over(runtime, [1, C], runtime.backend.slice(states.storage, i * C, C));
      using y = this.read(state, count - 1);
      all.set((await y.read()) as Float32Array, i * V);
    }
    return { logits: all, steps };
  }

  /** Logits of every position, (B·T, V), at full depth; after ACT's average, where that is what the model ends with. */
  logits(tokens: Int32Array, B: number, options?: ForwardOptions): Tensor {
    const full = this.config.halting === 'act' ? {} : { earlyExit: false };
    using batch = this.whole(tokens, B);
    using ctx = this.context(batch, { ...options, ...full });
    using output = this.hidden(tokens, ctx);
    return this.read(output.x, this.exitAfter(options?.loops));
  }

  /**
   * What the head reads at every exit, at full depth; for a depth without exits, at its end. `tokens, targets (B, T)`.
   * `entry` is the state before the first step (B·T, C), null where the depth has no exits.
   */
  async readings(
    tokens: Int32Array,
    targets: Int32Array,
    B: number,
    options: ForwardOptions = {},
    wantLogits = false,
  ): Promise<{ entry: Float32Array | null; exits: ExitReading[] }> {
    const { runtime } = this;
    const { heads } = this.modules;
    const R = tokens.length;
    using batch = this.whole(tokens, B);
    using ctx = this.context(batch, options, { ...PLAIN_PASS, collectExits: true });
    using output = this.hidden(tokens, ctx);
    using target = runtime.from(targets, [R]);
    using weights = runtime.empty([R]);
    using argmax = runtime.empty([R], 'i32');
    using maxProb = runtime.empty([R]);
    const readings: ExitReading[] = [];
    const states = output.exits.length > 0 ? output.exits : [output.x];
    for (const [n, state] of states.entries()) {
      using read = output.finish(state);
      using normal = heads.normalise(read, n);
      using losses = headLoss(normal, heads.weight(n), target, weights, argmax, maxProb);
      readings.push({
        losses: (await losses.read()) as Float32Array,
        argmax: (await argmax.read()) as Int32Array,
        maxProb: (await maxProb.read()) as Float32Array,
        state: (await state.read()) as Float32Array,
        logits: wantLogits ? await this.readLogits(normal, n) : null,
      });
    }
    return { entry: ctx.entry && ((await ctx.entry.read()) as Float32Array), exits: readings };
  }

  private async readLogits(normal: Tensor, exit: number): Promise<Float32Array> {
    using y = logits(normal, this.modules.heads.weight(exit));
    return (await y.read()) as Float32Array;
  }

  /** Number of the exit after so many steps. */
  private exitAfter(steps = this.modules.heads.count): number {
    return steps - 1;
  }

  /** Logits of states at an exit. */
  private read(state: Tensor, exit: number): Tensor {
    const { heads } = this.modules;
    using normal = heads.normalise(state, exit);
    return logits(normal, heads.weight(exit));
  }

  /** B sequences of equal length. Throws ShapeError when they are longer than the block size. */
  private whole(tokens: Int32Array, B: number): WholeSequences {
    const T = tokens.length / B;
    const { blockSize } = this.config;
    if (Number.isInteger(T) && T >= 1 && T <= blockSize) return new WholeSequences(B, T, this.runtime);
    throw new ShapeError('tokens', `must be ${B} sequences of 1 to ${blockSize} tokens`, tokens.length);
  }

  private context(batch: Batch, options?: ForwardOptions, pass?: Pass): ForwardContext {
    this.requireOptions(options);
    return new ForwardContext(batch, this.config, options, pass);
  }

  /** Throws ConfigError for a loop count, or an exit, that this model does not have. */
  requireOptions(options: ForwardOptions = {}): void {
    if (options.loops !== undefined) this.modules.depth.requireLoops(options.loops);
    requireExitOptions(this.config, options);
  }

  /** The state after the blocks, (B·T, C), and what else the depth leaves. */
  private hidden(tokens: Int32Array, ctx: ForwardContext): DepthOutput {
    const { runtime, config, modules } = this;
    const R = tokens.length;
    using ids = runtime.from(tokens, [R]);
    using embedded = embedding(ids, ctx.batch.positions, modules.wte.value, modules.wpe?.value ?? null);
    using sum = config.depth === 'universal' ? scaleAll(embedded, Math.sqrt(config.nEmbd)) : alias(embedded);
    runtime.observe?.('embedding', sum);
    using x = dropout(sum, ctx.batch.T, ctx.embeddingDropout());
    return modules.depth.run(x, ctx, this.walker);
  }

  dispose(): void {
    this.parameters.dispose();
  }
}

/** Throws ConfigError for exits that can not be taken, and for a halting rule turned off where it cannot be. */
function requireExitOptions(config: ModelConfig, { loops, earlyExit, exit }: ForwardOptions): void {
  if (earlyExit === false && config.halting === 'act') {
    const rule = 'must not be turned off where halting is act, whose output is the average until it halts';
    throw new ConfigError('earlyExit', rule);
  }
  if (!exit) return;
  if (earlyExit === false) {
    throw new ConfigError('exit', 'must not be given where early exits are turned off');
  }
  requireExit(config, exit, loops);
}

/** factor · x. */
function scaleAll(x: Tensor, factor: number): Tensor {
  const { runtime } = x;
  using factors = runtime.empty([x.shape[0]]);
  runtime.backend.fill(factors.storage, factor);
  using constant = detach(factors);
  return scaleRows(x, constant);
}
