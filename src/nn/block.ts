/**
 * The transformer block and its two halves, each added to its input. GPT-2 (Radford et al. 2019) normalises before each
 * half; the original transformer (Vaswani et al. 2017) after each addition. A block must not know its depth: the caller
 * passes the application and the rows that it changes.
 */
import type { Activation, Dropout } from '../backend/backend.js';
import type { Heads } from '../tensor/attention-ops.js';
import { activation, add, alias, dropout, gatedActivation } from '../tensor/ops.js';
import type { Tensor } from '../tensor/tensor.js';
import { createNorm, Linear, type Norm, type NormOptions } from './layers.js';
import type { ParameterScope } from './parameters.js';

/** Sites of dropout; part of each mask's key. */
export type DropoutSite = 'embedding' | 'attention' | 'attentionOutput' | 'mlpOutput';

/** One run of one block: what its rows attend to, the rows that it changes, and its dropout masks. */
export interface Application {
  /** Rows of a sequence, as dropout counts its samples. */
  readonly T: number;
  /**
   * The rows of x (R, C) that it changes: all, or some (rows, C), which still attend to the others. The caller owns
   * them.
   */
  readonly changed: (x: Tensor) => Tensor;
  dropout(site: DropoutSite): Dropout | null;
  /** Causal self-attention; `qkv (R, H·HS)`, which it may overwrite, → (R, C), or (rows, C). */
  attend(qkv: Tensor, heads: Heads): Tensor;
}

export interface BlockOptions extends NormOptions {
  readonly C: number;
  readonly heads: Heads;
  /** Standard deviation of the initial weights. */
  readonly std: number;
  /** The same for the two projections that end in a residual addition. */
  readonly residualStd: number;
  /** Width inside the MLP (I). */
  readonly inner: number;
  readonly activation: Activation;
  /** Whether the activation gates a second half of the same width. */
  readonly gatedMlp: boolean;
}

/** Causal multi-head self-attention; `x (R, C)` → (R, C), or (rows, C) for some rows only. */
class SelfAttention {
  private readonly cAttn: Linear;
  private readonly cProj: Linear;
  private readonly heads: Heads;

  constructor(scope: ParameterScope, { C, heads, bias, std, residualStd }: BlockOptions) {
    const columns = [heads.NH, heads.KV, heads.KV].map((count) => count * heads.HS); // queries, keys, values
    const width = columns[0] + 2 * columns[1];
    this.cAttn = new Linear(scope.child('c_attn'), C, width, { bias, std, columns });
    this.cProj = new Linear(scope.child('c_proj'), C, C, { bias, std: residualStd });
    this.heads = heads;
  }

  forward(x: Tensor, at: Application): Tensor {
    using qkv = this.cAttn.forward(x); // (R, H·HS)
    using mixed = at.attend(qkv, this.heads); // (R, C)
    using y = this.cProj.forward(mixed);
    return dropout(y, at.T, at.dropout('attentionOutput'));
  }
}

/**
 * The position-wise network: linear to I, activation, linear back; `x (R, C)` → (R, C). A gated one is linear to 2·I:
 * the activation of the first half gates the second (GLU variants, Shazeer 2020, arXiv 2002.05202).
 */
class MLP {
  private readonly cFc: Linear;
  private readonly cProj: Linear;
  private readonly activate: (x: Tensor) => Tensor;

  constructor(
    scope: ParameterScope,
    { C, inner, bias, std, residualStd, activation: kind, gatedMlp }: BlockOptions,
  ) {
    this.activate = gatedMlp ? (x) => gatedActivation(x, kind) : (x) => activation(x, kind);
    const columns = gatedMlp ? [inner, inner] : [inner];
    this.cFc = new Linear(scope.child('c_fc'), C, columns.length * inner, { bias, std, columns });
    this.cProj = new Linear(scope.child('c_proj'), inner, C, { bias, std: residualStd });
  }

  forward(x: Tensor, at: Application): Tensor {
    using wide = this.cFc.forward(x); // (R, I), or (R, 2·I)
    using active = this.activate(wide);
    using y = this.cProj.forward(active);
    return dropout(y, at.T, at.dropout('mlpOutput'));
  }
}

/** The parts of a block; its subclasses differ in where they normalise. */
export abstract class Block {
  protected readonly ln1: Norm;
  protected readonly attn: SelfAttention;
  protected readonly ln2: Norm;
  protected readonly mlp: MLP;

  constructor(scope: ParameterScope, options: BlockOptions) {
    this.ln1 = createNorm(scope.child('ln_1'), options.C, options);
    this.attn = new SelfAttention(scope.child('attn'), options);
    this.ln2 = createNorm(scope.child('ln_2'), options.C, options);
    this.mlp = new MLP(scope.child('mlp'), options);
  }

  /** The next state of the rows that `at` changes; `x (R, C)` → (R, C), or (rows, C). The caller owns it. */
  abstract forward(x: Tensor, at: Application): Tensor;
}

/** GPT-2's block: x + Attention(LN(x)), then x + MLP(LN(x)). */
export class PreNormBlock extends Block {
  override forward(x: Tensor, at: Application): Tensor {
    using h = preNorm(x, this.ln1, (a) => this.attn.forward(a, at), at.changed);
    return preNorm(h, this.ln2, (a) => this.mlp.forward(a, at));
  }
}

/** The original transformer's block: LN(x + Attention(x)), then LN(x + MLP(x)). */
export class PostNormBlock extends Block {
  override forward(x: Tensor, at: Application): Tensor {
    using h = postNorm(x, this.ln1, (a) => this.attn.forward(a, at), at.changed);
    return postNorm(h, this.ln2, (a) => this.mlp.forward(a, at));
  }
}

/** A half of a block, (R, C) → (R, C), or (rows, C). */
type Half = (x: Tensor) => Tensor;

/** x + f(LN(x)), in the rows that f returns. */
function preNorm(x: Tensor, norm: Norm, f: Half, rowsOf: Half = alias): Tensor {
  using a = norm.forward(x);
  using y = f(a);
  using own = rowsOf(x);
  return add(own, y);
}

/** LN(x + f(x)), in the rows that f returns. */
function postNorm(x: Tensor, norm: Norm, f: Half, rowsOf: Half = alias): Tensor {
  using read = alias(x); // its gradient is rounded separately, and then added to the residual's
  using y = f(read);
  using own = rowsOf(x);
  using sum = add(own, y);
  return norm.forward(sum);
}
