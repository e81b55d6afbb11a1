/**
 * The model: GPT-2's parts (Radford et al. 2019) around a depth rule. Embed the tokens; let the depth carry the hidden
 * state through the blocks; normalise; project to the vocabulary. The configuration chooses the depth.
 */
import { ConfigError, ShapeError } from '../errors.js';
import { Parameters } from '../nn/parameters.js';
import { alias, detach, dropout, embedding, gatherRows, logits, scaleRows } from '../tensor/ops.js';
import { type IdRange, Parameter, type Runtime, Tensor } from '../tensor/tensor.js';
import { type Batch, WholeSequences } from './batch.js';
import { averagesExits, type ModelConfig } from './config.js';
import { Constants } from './constants.js';
import { ForwardContext } from './context.js';
import type { DepthOutput } from './depth/depth.js';
import { learnsEveryExit } from './exits/objective.js';
import { requireExit } from './exits/options.js';
import type { DecodePass, Pass, ScorePass, TrainPass } from './exits/pass.js';
import type { Walker } from './exits/walker.js';
import {
  type ExitReading,
  lossOfEnd,
  lossOfExits,
  type LossOutput,
  readExits,
  type RowScores,
  type ScoredRows,
  scoreRows,
  WeightedTargets,
} from './losses.js';
import { GPTModules } from './modules.js';

/** Logits of some rows (rows, V), and the steps before each halted (rows); null when all took every step. */
export interface RowLogits {
  readonly logits: Float32Array;
  readonly steps: Int32Array | null;
  /** Null if no rows were to be scored. */
  readonly scores: RowScores | null;
}

/** A model in memory. */
export class GPT {
  readonly parameters: Parameters;
  private readonly modules: GPTModules;
  private readonly walker: Walker;
  private readonly constants: Constants;

  /**
   * Allocates the parameters, all zero; with `train`, also their gradients; with `packed` (see Parameters), no values
   * of parameters that only products and embeddings read. `walker` replaces the walker that the configuration chooses.
   */
  constructor(
    readonly config: ModelConfig,
    readonly runtime: Runtime,
    { train, packed = false, walker }: { train: boolean; packed?: boolean; walker?: Walker },
  ) {
    this.modules = new GPTModules(config);
    this.walker = walker ?? this.modules.walker;
    this.parameters = new Parameters(runtime, this.modules.slots, train, packed);
    this.constants = new Constants(config, runtime);
  }

  /** Carries `tokens (R)` to the state that the head reads (R, C), with the depth's other outputs. */
  private forward(tokens: Int32Array, ctx: ForwardContext, pass: Pass): DepthOutput {
    const { runtime } = this;
    const { embeddingScale, depth } = this.modules;
    using embedded = this.embed(tokens, ctx.batch); // (R, C)
    using sum = scaled(embedded, embeddingScale);
    runtime.observe?.('embedding', sum);
    using x = dropout(sum, ctx.batch.T, ctx.embeddingDropout());
    return depth.run(x, ctx, (h, count, step) => this.walker.walk(h, count, step, ctx, pass));
  }

  /** wte[tokens] + wpe[positions], (R, C); the caller owns it. */
  private embed(tokens: Int32Array, { positions }: Batch): Tensor {
    const { runtime } = this;
    const { wte, wpe } = this.modules;
    const R = tokens.length;
    using ids = runtime.from(tokens, [R], { what: 'tokens', below: this.config.vocabSize });
    const place = wpe?.value ?? null;
    if (!wte.table) return embedding(ids, positions, wte.value, place);
    // Each row that is read, once.
    const rows = new Map([...new Set(tokens)].map((id, i) => [id, i]));
    const shape = [Math.max(1, rows.size), this.config.nEmbd];
    const values = new Float32Array(shape[0] * shape[1]);
    for (const [id, i] of rows) wte.table.copy(id, values.subarray(i * shape[1], (i + 1) * shape[1]));
    using table = runtime.from(values, shape);
    using read = runtime.from(
      tokens.map((id) => rows.get(id)!),
      [R],
    );
    const { name, role } = wte.spec;
    return embedding(read, positions, new Parameter(runtime, name, role, shape, table.storage, null), place);
  }

  /** Logits (R, V) of states `x (R, C)` after `steps` steps. */
  private head(x: Tensor, steps: number): Tensor {
    const { heads } = this.modules;
    using normal = heads.normalise(x, steps - 1);
    return logits(normal, heads.weight(steps - 1));
  }

  /** Logits of every position, (B·T, V), at full depth; of ACT's average if the model ends with it. */
  logits(tokens: Int32Array, B: number, { loops }: Pick<ScorePass, 'loops'> = {}): Tensor {
    const pass = {
      ...(loops === undefined ? {} : { loops }),
      ...(averagesExits(this.config) ? {} : { earlyExit: false }),
    };
    using batch = this.whole(tokens, B);
    using ctx = this.context(batch, pass);
    using output = this.forward(tokens, ctx, pass);
    return this.head(output.x, this.steps(pass));
  }

  /**
   * Cross-entropy of every position in nats, (B·T); `tokens, targets (B, T)`; target −1 is ignored. While a tape
   * records, its end is the mean over the counted targets times `lossScale`, plus the terms of the pass's objective.
   */
  loss(
    tokens: Int32Array,
    targets: Int32Array,
    B: number,
    lossScale: number,
    { objective, ...options }: TrainPass = {},
  ): LossOutput {
    const { heads, learned } = this.modules;
    const everyExit = objective !== undefined && learnsEveryExit(objective);
    const walk = { ...options, earlyExit: false, everyExit, lossScale };
    const pass: Pass = objective ? { ...walk, objective } : walk;
    using weighted = this.weighted(tokens, targets, lossScale);
    using batch = this.whole(tokens, B);
    using ctx = this.context(batch, options);
    using output = this.forward(tokens, ctx, pass);
    if (output.exits.length === 0) return lossOfEnd(output, heads, weighted, this.steps(pass), false);
    return lossOfExits(output, heads, learned, weighted, objective!, lossScale, ctx);
  }

  /**
   * Cross-entropy of every position in nats, (B·T), each read where a halting rule stops it; arguments as for `loss`.
   */
  score(tokens: Int32Array, targets: Int32Array, B: number, pass: ScorePass = {}): LossOutput {
    using weighted = this.weighted(tokens, targets, 1);
    using batch = this.whole(tokens, B);
    using ctx = this.context(batch, pass);
    using output = this.forward(tokens, ctx, pass);
    return lossOfEnd(output, this.modules.heads, weighted, this.steps(pass), pass.findWrong ?? false);
  }

  /**
   * Logits of some rows (ascending), and the probabilities of given tokens after other rows; `tokens (R)` are the rows
   * of the batch. Logits are written to the beginning of `into` if they fit.
   */
  async logitsAt(
    tokens: Int32Array,
    batch: Batch,
    rows: Int32Array,
    pass: DecodePass = {},
    scored: ScoredRows | null = null,
    into: Float32Array | null = null,
  ): Promise<RowLogits> {
    const { heads } = this.modules;
    using ctx = this.context(batch, pass);
    using output = this.forward(tokens, ctx, pass);
    const taken = output.stepsPerRow && ((await output.stepsPerRow.read()) as Int32Array);
    const all = this.steps(pass);
    const exitOf = (row: number) => (taken && heads.separate ? taken[row] : all) - 1;
    const scores = scored && (await scoreRows(output, heads, scored, exitOf));
    const logits = await this.logitsOf(output.x, rows, exitOf, into);
    return { logits, steps: taken && rows.map((row) => taken[row]), scores };
  }

  /** Logits (rows, V) of some rows of `x (R, C)`, each read at its exit. */
  private async logitsOf(
    x: Tensor,
    rows: Int32Array,
    exitOf: (row: number) => number,
    into: Float32Array | null,
  ): Promise<Float32Array> {
    const { runtime } = this;
    const { backend } = runtime;
    const { vocabSize: V, nEmbd: C } = this.config;
    if (rows.length === 0) return new Float32Array(0);
    using index = runtime.from(rows, [rows.length], { what: 'rows', below: x.shape[0] });
    using states = gatherRows(x, index);
    const first = exitOf(rows[0]);
    if (rows.every((row) => exitOf(row) === first)) {
      using y = this.head(states, first + 1);
      const fits = into !== null && into.length >= y.size && backend.dtype === 'f32';
      return (await backend.read(y.storage, fits ? into : undefined)) as Float32Array;
    }
    const all = new Float32Array(rows.length * V);
    for (const [i, row] of rows.entries()) {
      using state = Tensor.over(runtime, [1, C], backend.slice(states.storage, i * C, C));
      using y = this.head(state, exitOf(row) + 1);
      all.set((await y.read()) as Float32Array, i * V);
    }
    return all;
  }

  /**
   * The head's readings at every exit, at full depth; for a depth without exits, at its end. `tokens, targets (B, T)`.
   * `entry` is the state before the first step (B·T, C), null if the depth has no exits.
   */
  async readings(
    tokens: Int32Array,
    targets: Int32Array,
    B: number,
    options: Pick<ScorePass, 'loops'> = {},
    wantLogits = false,
  ): Promise<{ entry: Float32Array | null; exits: ExitReading[] }> {
    using batch = this.whole(tokens, B);
    using ctx = this.context(batch, options);
    using output = this.forward(tokens, ctx, { ...options, everyExit: true });
    using target = this.runtime.from(targets, [tokens.length], targetRange(this.config));
    const exits = await readExits(output, this.modules.heads, target, wantLogits);
    return { entry: output.entry && ((await output.entry.read()) as Float32Array), exits };
  }

  /** Root mean square of the state at every exit; `tokens (B, T)`. Empty if the depth has no exits. */
  async stateRms(tokens: Int32Array, B: number): Promise<number[]> {
    const { runtime } = this;
    using batch = this.whole(tokens, B);
    using ctx = this.context(batch, {});
    using output = this.forward(tokens, ctx, { everyExit: true });
    using squares = runtime.empty([Math.max(1, output.exits.length)]);
    using nonFinite = runtime.from(new Float64Array(1), [1]);
    for (const [n, state] of output.exits.entries()) {
      const out = runtime.backend.slice(squares.storage, n, 1);
      runtime.backend.sumSquares({ out, nonFinite: nonFinite.storage, inp: state.storage });
    }
    const sums = await squares.read();
    return output.exits.map(({ size }, n) => Math.sqrt(sums[n] / size));
  }

  /** Steps of a pass in which no row halts. */
  private steps({ loops }: Pick<Pass, 'loops'>): number {
    return loops ?? this.modules.heads.count;
  }

  /** Targets (R) with equal weights that sum to `lossScale`; the caller owns them. */
  private weighted(tokens: Int32Array, targets: Int32Array, lossScale: number): WeightedTargets {
    const counted = targets.reduce((n, t) => n + (t >= 0 ? 1 : 0), 0);
    const target = this.runtime.from(targets, [tokens.length], targetRange(this.config));
    return new WeightedTargets(target, lossScale / Math.max(1, counted));
  }

  /** B sequences of equal length. Throws ShapeError if they are longer than the block size. */
  private whole(tokens: Int32Array, B: number): WholeSequences {
    const T = tokens.length / B;
    const { blockSize } = this.config;
    if (Number.isInteger(T) && T >= 1 && T <= blockSize) return new WholeSequences(B, T, this.runtime);
    throw new ShapeError('tokens', `must be ${B} sequences of 1 to ${blockSize} tokens`, tokens.length);
  }

  private context(batch: Batch, pass: Pass): ForwardContext {
    this.requireOptions(pass);
    return new ForwardContext(batch, this.config, pass, this.constants);
  }

  /** Throws ConfigError for a loop count, or an exit, that this model does not have. */
  requireOptions({ loops, earlyExit, exit }: Pick<Pass, 'loops' | 'earlyExit' | 'exit'>): void {
    const { config, modules } = this;
    if (loops !== undefined) modules.depth.requireLoops(loops);
    if (earlyExit === false && averagesExits(config)) {
      const rule = 'must not be turned off where halting is act, whose output is the average until it halts';
      throw new ConfigError('earlyExit', rule);
    }
    if (!exit) return;
    if (earlyExit === false) {
      throw new ConfigError('exit', 'must not be given where early exits are turned off');
    }
    requireExit(config, exit, loops);
  }

  dispose(): void {
    this.parameters.dispose();
    this.constants[Symbol.dispose]();
  }
}

/** factor · x; the caller owns the result. */
function scaled(x: Tensor, factor: number): Tensor {
  if (factor === 1) return alias(x);
  const { runtime } = x;
  using factors = runtime.empty([x.shape[0]]);
  runtime.backend.fill(factors.storage, factor);
  using constant = detach(factors);
  return scaleRows(x, constant);
}

/** Targets are tokens, or −1 for rows that do not count. */
function targetRange({ vocabSize }: ModelConfig): IdRange {
  return { what: 'targets', below: vocabSize, least: -1 };
}
