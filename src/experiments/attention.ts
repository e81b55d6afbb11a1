/**
 * Which tokens a block looks at: the attention weights of one application, by the engine's own kernel. It mixes values,
 * so
 * that values of 0 and 1 bring its weights to light.
 */
import type { Dropout } from '../backend/backend.js';
import { type ApplicationPlace, WholeSequences } from '../models/batch.js';
import { headsOf } from '../models/config.js';
import type { GPT } from '../models/gpt.js';
import { attention, type Heads } from '../tensor/attention-ops.js';
import { alias } from '../tensor/ops.js';
import type { Runtime, Tensor } from '../tensor/tensor.js';

/**
 * The attention weights (NH, T, T) of a block's application, counted from 0 in order of execution, for the tokens of
 * one
 * sequence: the weight at (h, t, s) is what head h takes of token s where it stands at token t. Null if there is no
 * such
 * application, or every token has halted before it.
 */
export async function attentionWeights(
  model: GPT,
  tokens: Int32Array,
  application: number,
): Promise<Float32Array | null> {
  const { runtime, config } = model;
  const heads = headsOf(config);
  const { NH, KV, HS } = heads;
  const T = tokens.length;
  using batch = new WatchedSequence(T, runtime, application);
  await model.logitsAt(tokens, batch, new Int32Array(0));
  if (!batch.seen) return null;
  const qkv = ((await batch.seen.read()) as Float32Array).slice();
  const H = NH + 2 * KV;
  const weights = new Float32Array(NH * T * T);
  // A head's output has HS channels, so that many tokens come to light at a time.
  for (let first = 0; first < T; first += HS) {
    const last = Math.min(T, first + HS);
    for (let t = 0; t < T; t++) qkv.fill(0, (t * H + NH + KV) * HS, (t + 1) * H * HS);
    for (let s = first; s < last; s++) {
      for (let kv = 0; kv < KV; kv++) qkv[(s * H + NH + KV + kv) * HS + (s - first)] = 1;
    }
    using marked = runtime.from(qkv, [T, H * HS]);
    using mixed = attention(marked, 1, T, heads, null);
    const found = (await mixed.read()) as Float32Array;
    for (let h = 0; h < NH; h++) {
      for (let t = 0; t < T; t++) {
        const from = (t * NH + h) * HS;
        weights.set(found.subarray(from, from + last - first), (h * T + t) * T + first);
      }
    }
  }
  return weights;
}

/** One sequence, which keeps what one of the applications attends with. */
class WatchedSequence extends WholeSequences {
  /** (T, H·HS). */
  seen: Tensor | null = null;
  private applications = 0;

  constructor(
    T: number,
    runtime: Runtime,
    private readonly application: number,
  ) {
    super(1, T, runtime);
  }

  override attend(
    qkv: Tensor,
    heads: Heads,
    place: ApplicationPlace,
    dropout: Dropout | null,
    rows: Tensor | null,
  ): Tensor {
    if (this.applications++ === this.application) this.seen = alias(qkv);
    return super.attend(qkv, heads, place, dropout, rows);
  }

  override [Symbol.dispose](): void {
    this.seen?.dispose();
    super[Symbol.dispose]();
  }
}
