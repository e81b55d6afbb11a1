/**
 * The transformer block and its two halves, each added to its input. GPT-2 (Radford et al. 2019) normalises before each
 * half; the original transformer (Vaswani et al. 2017) after each addition. A block knows nothing of its depth: which
 * application it is, and for which rows, comes with the call.
 */
import type { Activation, Dropout } from '../backend/backend.js';
import { activation, add, alias, dropout, gatherRows, scatterRows } from '../tensor/ops.js';
import type { Tensor } from '../tensor/tensor.js';
import { LayerNorm, Linear } from './layers.js';
import type { ParameterScope } from './parameters.js';

/** Places where dropout acts; part of each mask's key. */
export type DropoutSite = 'embedding' | 'attention' | 'attentionOutput' | 'mlpOutput';

/** One run of one block: what its rows attend to, the rows that it is to change, and its dropout masks. */
export interface Application {
  /** Rows of a sequence, as dropout counts its samples. */
  readonly T: number;
  /** Ascending row numbers, or null for all; the other rows keep their state and are attended to. Not while recording. */
  readonly rows: Tensor | null;
  dropout(site: DropoutSite): Dropout | null;
  /** Causal self-attention with NH heads; `qkv (R, 3·C)` → (R, C), or (rows, C). */
  attend(qkv: Tensor, NH: number): Tensor;
}

export interface BlockOptions {
  readonly C: number;
  readonly NH: number;
  readonly bias: boolean;
  /** Standard deviation of the initial weights. */
  readonly std: number;
  /** The same for the two projections that end in a residual addition. */
  readonly residualStd: number;
  readonly norm: 'pre' | 'post';
  readonly activation: Activation;
}

/** Causal multi-head self-attention; `x (R, C)` → (R, C), or (rows, C) where only some are wanted. */
class SelfAttention {
  private readonly cAttn: Linear;
  private readonly cProj: Linear;
  private readonly heads: number;

  constructor(scope: ParameterScope, { C, NH, bias, std, residualStd }: BlockOptions) {
    this.cAttn = new Linear(scope.child('c_attn'), C, 3 * C, { bias, std });
    this.cProj = new Linear(scope.child('c_proj'), C, C, { bias, std: residualStd });
    this.heads = NH;
  }

  forward(x: Tensor, at: Application): Tensor {
    using qkv = this.cAttn.forward(x); // (R, 3C)
    using mixed = at.attend(qkv, this.heads); // (R, C)
    using y = this.cProj.forward(mixed);
    return dropout(y, at.T, at.dropout('attentionOutput'));
  }
}

/** The position-wise network: linear to 4·C, activation, linear back; `x (R, C)` → (R, C). */
class MLP {
  private readonly cFc: Linear;
  private readonly cProj: Linear;
  private readonly activation: Activation;

  constructor(scope: ParameterScope, { C, bias, std, residualStd, activation }: BlockOptions) {
    this.activation = activation;
    this.cFc = new Linear(scope.child('c_fc'), C, 4 * C, { bias, std });
    this.cProj = new Linear(scope.child('c_proj'), 4 * C, C, { bias, std: residualStd });
  }

  forward(x: Tensor, at: Application): Tensor {
    using wide = this.cFc.forward(x); // (R, 4C)
    using active = activation(wide, this.activation);
    using y = this.cProj.forward(active);
    return dropout(y, at.T, at.dropout('mlpOutput'));
  }
}

/**
 * With norm `pre`, x + Attention(LN(x)), then x + MLP(LN(x)); with `post`, LN(x + Attention(x)), then LN(x + MLP(x));
 * `x (R, C)` → (R, C).
 */
export class Block {
  private readonly ln1: LayerNorm;
  private readonly attn: SelfAttention;
  private readonly ln2: LayerNorm;
  private readonly mlp: MLP;
  private readonly pre: boolean;

  constructor(scope: ParameterScope, options: BlockOptions) {
    this.ln1 = new LayerNorm(scope.child('ln_1'), options.C, options);
    this.attn = new SelfAttention(scope.child('attn'), options);
    this.ln2 = new LayerNorm(scope.child('ln_2'), options.C, options);
    this.mlp = new MLP(scope.child('mlp'), options);
    this.pre = options.norm === 'pre';
  }

  forward(x: Tensor, at: Application): Tensor {
    const { pre, ln1, ln2, attn, mlp } = this;
    using a = pre ? ln1.forward(x) : alias(x);
    using attended = attn.forward(a, at);
    using own = at.rows ? gatherRows(x, at.rows) : alias(x);
    using sum = add(own, attended);
    using h = pre ? alias(sum) : ln1.forward(sum);
    using b = pre ? ln2.forward(h) : alias(h);
    using transformed = mlp.forward(b, at);
    using total = add(h, transformed);
    using y = pre ? alias(total) : ln2.forward(total);
    return at.rows ? scatterRows(x, y, at.rows) : alias(y);
  }
}
