/**
 * The model: GPT-2's parts (Radford et al. 2019) around a depth rule. Embed the tokens; let the depth carry the hidden
 * state through the blocks; normalise; project to the vocabulary. Which depth is the configuration's choice.
 */
import { ShapeError } from '../errors.js';
import { Block } from '../nn/block.js';
import { LayerNorm } from '../nn/layers.js';
import { Parameters, ParameterScope, type ParameterSlot } from '../nn/parameters.js';
import { dropout, embedding, headLoss, logits } from '../tensor/ops.js';
import type { Runtime, Tensor } from '../tensor/tensor.js';
import type { ModelConfig } from './config.js';
import { ForwardContext, type ForwardOptions } from './context.js';
import type { Depth } from './depth/depth.js';
import { GPT2Depth } from './depth/gpt2.js';
import { LoopDepth } from './depth/loop.js';

/** Standard deviation of GPT-2's initial weights. */
const INIT_STD = 0.02;

/** The modules of a model, before it has memory; enough to count its parameters. */
export class GPTModules {
  readonly slots: readonly ParameterSlot[];
  readonly wte: ParameterSlot;
  readonly wpe: ParameterSlot;
  readonly lnF: LayerNorm;
  readonly head: ParameterSlot;
  readonly depth: Depth;

  constructor(config: ModelConfig) {
    const { vocabSize: V, blockSize, nEmbd: C, nHead: NH, nLayer, bias, tiedHead } = config;
    const root = new ParameterScope();
    const scope = root.child('transformer');
    this.wte = scope.declare('wte.weight', 'embedding', [V, C], { std: INIT_STD });
    this.wpe = scope.declare('wpe.weight', 'position', [blockSize, C], { std: INIT_STD });
    // Two residual additions a layer; looped applications of a layer count once, as the paper keeps GPT-2's init.
    const residualStd = INIT_STD / Math.sqrt(2 * nLayer);
    const options = { C, NH, bias, std: INIT_STD, residualStd };
    const blocks = Array.from({ length: nLayer }, (_, l) => new Block(scope.child(`h.${l}`), options));
    this.depth = config.depth === 'gpt2' ? new GPT2Depth(blocks) : new LoopDepth(scope, blocks, config);
    this.lnF = new LayerNorm(scope.child('ln_f'), C, { bias });
    this.head = tiedHead ? this.wte : root.declare('lm_head.weight', 'embedding', [V, C], { std: INIT_STD });
    this.slots = root.slots;
  }
}

/** A model in memory. */
export class GPT {
  readonly parameters: Parameters;
  private readonly modules: GPTModules;
  private positions = new Int32Array(0);
  private positionsT = 0;

  /** Allocates the parameters, all zero; with `train`, their gradients too. */
  constructor(
    readonly config: ModelConfig,
    readonly runtime: Runtime,
    { train }: { train: boolean },
  ) {
    this.modules = new GPTModules(config);
    this.parameters = new Parameters(runtime, this.modules.slots, train);
  }

  /**
   * Cross-entropy of every position in nats, (B·T); `tokens, targets (B, T)`, target −1 being ignored. While a tape
   * records, its end is the mean over the counted targets times `lossScale`.
   */
  loss(
    tokens: Int32Array,
    targets: Int32Array,
    B: number,
    lossScale: number,
    options?: ForwardOptions,
  ): Tensor {
    const { runtime } = this;
    const R = tokens.length;
    const counted = targets.reduce((n, t) => n + (t >= 0 ? 1 : 0), 0);
    const weight = lossScale / Math.max(1, counted);
    using x = this.hidden(tokens, B, options);
    using target = runtime.from(targets, [R]);
    using weights = runtime.empty([R]);
    runtime.backend.fill(weights.storage, weight);
    return headLoss(x, this.modules.head.value, target, weights);
  }

  /** Logits of the last position of each sequence, (B, V); `tokens (B, T)`. */
  async lastLogits(tokens: Int32Array, B: number, options?: ForwardOptions): Promise<Float32Array> {
    const { runtime, config } = this;
    const T = tokens.length / B;
    using x = this.hidden(tokens, B, options);
    using last = runtime.empty([B, config.nEmbd]);
    const { backend } = runtime;
    for (let b = 0; b < B; b++) {
      const row = (from: Tensor, r: number) => backend.slice(from.storage, r * config.nEmbd, config.nEmbd);
      backend.copy(row(last, b), row(x, b * T + T - 1));
    }
    using y = logits(last, this.modules.head.value);
    return (await y.read()) as Float32Array;
  }

  /** Logits of every position, (B·T, V). */
  logits(tokens: Int32Array, B: number, options?: ForwardOptions): Tensor {
    using x = this.hidden(tokens, B, options);
    return logits(x, this.modules.head.value);
  }

  /** The hidden state that the head reads, (B·T, C). Throws ShapeError when T exceeds the block size. */
  private hidden(tokens: Int32Array, B: number, options?: ForwardOptions): Tensor {
    const { runtime, config, modules } = this;
    const T = tokens.length / B;
    if (!Number.isInteger(T) || T < 1 || T > config.blockSize) {
      throw new ShapeError(
        'tokens',
        `must be ${B} sequences of 1 to ${config.blockSize} tokens`,
        tokens.length,
      );
    }
    const ctx = new ForwardContext(B, T, config.dropout, options);
    using ids = runtime.from(tokens, [B * T]);
    using positions = runtime.from(this.positionsOf(B, T), [B * T]);
    using sum = embedding(ids, positions, modules.wte.value, modules.wpe.value);
    runtime.observe?.('embedding', sum);
    using x = dropout(sum, T, ctx.embeddingDropout());
    using y = modules.depth.run(x, ctx);
    return modules.lnF.forward(y);
  }

  /** 0..T−1 for each of B sequences; kept from call to call, since training asks for the same every time. */
  private positionsOf(B: number, T: number): Int32Array {
    if (this.positions.length !== B * T || this.positionsT !== T) {
      this.positionsT = T;
      this.positions = Int32Array.from({ length: B * T }, (_, r) => r % T);
    }
    return this.positions;
  }

  dispose(): void {
    this.parameters.dispose();
  }
}
