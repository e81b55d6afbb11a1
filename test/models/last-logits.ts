/** Logits after the last token of each of B whole sequences, without a cache. */
import { WholeSequences } from '../../src/models/batch.js';
import type { GPT, RowLogits } from '../../src/models/gpt.js';

/** `tokens (B, T)` → logits (B, V). */
export async function lastLogits(
  model: GPT,
  tokens: Int32Array,
  B: number,
  options: Parameters<GPT['logitsAt']>[3] = {},
): Promise<RowLogits> {
  const T = tokens.length / B;
  using batch = new WholeSequences(B, T, model.runtime);
  const last = Int32Array.from({ length: B }, (_, b) => (b + 1) * T - 1);
  return model.logitsAt(tokens, batch, last, options);
}
