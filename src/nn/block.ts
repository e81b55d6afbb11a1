/**
 * GPT-2's transformer block and its two halves (Radford et al. 2019): pre-LayerNorm, each half added to its input.
 * A block knows nothing of its depth: which application it is comes with the call.
 */
import type { Dropout } from '../backend/backend.js';
import { add, attention, dropout, gelu } from '../tensor/ops.js';
import type { Tensor } from '../tensor/tensor.js';
import { LayerNorm, Linear } from './layers.js';
import type { ParameterScope } from './parameters.js';

/** Places where dropout acts; part of each mask's key. */
export type DropoutSite = 'embedding' | 'attention' | 'attentionOutput' | 'mlpOutput';

/** One run of one block: the batch it runs on and its dropout masks. */
export interface Application {
  readonly B: number;
  readonly T: number;
  dropout(site: DropoutSite): Dropout | null;
}

export interface BlockOptions {
  readonly C: number;
  readonly NH: number;
  readonly bias: boolean;
  /** Standard deviation of the initial weights. */
  readonly std: number;
  /** The same for the two projections that end in a residual addition. */
  readonly residualStd: number;
}

/** Causal multi-head self-attention; `x (R, C)` → (R, C). */
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
    using mixed = attention(qkv, at.B, at.T, this.heads, at.dropout('attention')); // (R, C)
    using y = this.cProj.forward(mixed);
    return dropout(y, at.T, at.dropout('attentionOutput'));
  }
}

/** The position-wise network: linear to 4·C, GELU, linear back; `x (R, C)` → (R, C). */
class MLP {
  private readonly cFc: Linear;
  private readonly cProj: Linear;

  constructor(scope: ParameterScope, { C, bias, std, residualStd }: BlockOptions) {
    this.cFc = new Linear(scope.child('c_fc'), C, 4 * C, { bias, std });
    this.cProj = new Linear(scope.child('c_proj'), 4 * C, C, { bias, std: residualStd });
  }

  forward(x: Tensor, at: Application): Tensor {
    using wide = this.cFc.forward(x); // (R, 4C)
    using active = gelu(wide);
    using y = this.cProj.forward(active);
    return dropout(y, at.T, at.dropout('mlpOutput'));
  }
}

/** x + Attention(LN(x)), then x + MLP(LN(x)); `x (R, C)` → (R, C). */
export class Block {
  private readonly ln1: LayerNorm;
  private readonly attn: SelfAttention;
  private readonly ln2: LayerNorm;
  private readonly mlp: MLP;

  constructor(scope: ParameterScope, options: BlockOptions) {
    this.ln1 = new LayerNorm(scope.child('ln_1'), options.C, options);
    this.attn = new SelfAttention(scope.child('attn'), options);
    this.ln2 = new LayerNorm(scope.child('ln_2'), options.C, options);
    this.mlp = new MLP(scope.child('mlp'), options);
  }

  forward(x: Tensor, at: Application): Tensor {
    using a = this.ln1.forward(x);
    using attended = this.attn.forward(a, at);
    using h = add(x, attended);
    using b = this.ln2.forward(h);
    using transformed = this.mlp.forward(b, at);
    return add(h, transformed);
  }
}
