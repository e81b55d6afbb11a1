/**
 * The model: GPT-2's parts (Radford et al. 2019) around a depth rule. Embed the tokens; let the depth carry the hidden
 * state through the blocks; normalise; project to the vocabulary. Which depth is the configuration's choice.
 */
import { ConfigError, ShapeError } from '../errors.js';
import { Parameters } from '../nn/parameters.js';
import { alias, detach, dropout, embedding, gatherRows, logits, scaleRows } from '../tensor/ops.js';
import { type IdRange, type Runtime, Tensor } from '../tensor/tensor.js';
import { type Batch, WholeSequences } from './batch.js';
import type { ModelConfig } from './config.js';
import { ForwardContext, type ForwardOptions, type Pass, PLAIN_PASS } from './context.js';
import type { DepthOutput, Walker } from './depth/depth.js';
import { drawExits } from './exits/objective.js';
import { requireExit } from './exits/options.js';
import { type ExitReading, lossOfEnd, lossOfExits, type LossOutput, readExits } from './losses.js';
import { GPTModules } from './modules.js';

/** Logits of some rows (rows, V), and the steps before each halted (rows); null where all took every step. */
export interface RowLogits {
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

  /** Carries `tokens (R)` to the state that the head reads (R, C), and whatever else the depth leaves. */
  private forward(tokens: Int32Array, ctx: ForwardContext): DepthOutput {
    const { runtime, config } = this;
    const { wte, wpe, depth } = this.modules;
    using ids = runtime.from(tokens, [tokens.length], { what: 'tokens', below: config.vocabSize });
    using embedded = embedding(ids, ctx.batch.positions, wte.value, wpe?.value ?? null); // (R, C)
    using sum = config.depth === 'universal' ? scaleAll(embedded, Math.sqrt(config.nEmbd)) : alias(embedded);
    runtime.observe?.('embedding', sum);
    using x = dropout(sum, ctx.batch.T, ctx.embeddingDropout());
    return depth.run(x, ctx, this.walker);
  }

  /** Logits (R, V) of states `x (R, C)` after so many steps. */
  private head(x: Tensor, steps: number): Tensor {
    const { heads } = this.modules;
    using normal = heads.normalise(x, steps - 1);
    return logits(normal, heads.weight(steps - 1));
  }

  /** Logits of every position, (B·T, V), at full depth; after ACT's average, where that is what the model ends with. */
  logits(tokens: Int32Array, B: number, options?: ForwardOptions): Tensor {
    const full = this.config.halting === 'act' ? {} : { earlyExit: false };
    using batch = this.whole(tokens, B);
    using ctx = this.context(batch, { ...options, ...full });
    using output = this.forward(tokens, ctx);
    return this.head(output.x, this.steps(options));
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
    const { heads, learned } = this.modules;
    const R = tokens.length;
    const counted = targets.reduce((n, t) => n + (t >= 0 ? 1 : 0), 0);
    using target = runtime.from(targets, [R], targetRange(this.config));
    const weighted = { target, weight: lossScale / Math.max(1, counted) };
    const { objective } = runtime.tape ? options : { objective: undefined };
    const mixed = objective?.exitLoss === 'mixed';
    const key = options.dropout ?? { seed: 0, step: 0, microStep: 0 };
    using drawnExits = mixed ? runtime.from(drawExits(key, R, this.steps(options)), [R]) : null;
    using batch = this.whole(tokens, B);
    using ctx = this.context(batch, options, {
      collectExits: objective?.exitLoss === 'uniform' || objective?.exitLoss === 'linear',
      drawnExits,
      ponderCost: objective?.ponderCost ?? 0,
      auxScale: lossScale,
    });
    using output = this.forward(tokens, ctx);
    if (output.exits.length > 0) return lossOfExits(output, heads, learned, weighted, lossScale, ctx);
    return lossOfEnd(output, heads, weighted, this.steps(options), options.findWrong ?? false);
  }

  /** Logits of some rows, ascending; `tokens (R)` are the rows of the batch. */
  async logitsAt(
    tokens: Int32Array,
    batch: Batch,
    rows: Int32Array,
    options?: ForwardOptions,
  ): Promise<RowLogits> {
    const { runtime } = this;
    using ctx = this.context(batch, options);
    using output = this.forward(tokens, ctx);
    using index = runtime.from(rows, [rows.length], { what: 'rows', below: tokens.length });
    using states = gatherRows(output.x, index);
    const taken = output.stepsPerRow && ((await output.stepsPerRow.read()) as Int32Array);
    const steps = taken && rows.map((row) => taken[row]);
    if (!steps || !this.modules.heads.separate) {
      using y = this.head(states, this.steps(options));
      return { logits: (await y.read()) as Float32Array, steps };
    }
    const { vocabSize: V, nEmbd: C } = this.config;
    const all = new Float32Array(rows.length * V);
    for (const [i, count] of steps.entries()) {
      using state = Tensor.over(runtime, [1, C], runtime.backend.slice(states.storage, i * C, C));
      using y = this.head(state, count);
      all.set((await y.read()) as Float32Array, i * V);
    }
    return { logits: all, steps };
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
    using batch = this.whole(tokens, B);
    using ctx = this.context(batch, options, { ...PLAIN_PASS, collectExits: true });
    using output = this.forward(tokens, ctx);
    using target = this.runtime.from(targets, [tokens.length], targetRange(this.config));
    const exits = await readExits(output, this.modules.heads, target, wantLogits);
    return { entry: ctx.entry && ((await ctx.entry.read()) as Float32Array), exits };
  }

  /** Steps of a pass in which no row halts. */
  private steps(options: ForwardOptions = {}): number {
    return options.loops ?? this.modules.heads.count;
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

/** Targets are tokens, or −1 for rows that count for nothing. */
function targetRange({ vocabSize }: ModelConfig): IdRange {
  return { what: 'targets', below: vocabSize, least: -1 };
}
