/**
 * Log-probabilities of tokens in a model's own distribution, as an answer reports them. Sampling options do not change
 * them.
 */
import type { Candidates } from './candidates.js';
import type { TokenLogprob } from './request.js';

/**
 * log softmax(logits) of a token, and of the k most probable tokens in falling order, ties by rising id; `logits (V)`.
 */
export function logprobsOf(
  logits: Float32Array,
  id: number,
  k: number,
  candidates: Candidates,
): { logprob: number; top: TokenLogprob[] } {
  candidates.reset(logits);
  candidates.best();
  candidates.weigh(1);
  const logTotal = candidates.highest + Math.log(candidates.total);
  const logprob = logits[id] - logTotal;
  if (k === 0) return { logprob, top: [] };
  candidates.reset(logits);
  candidates.keepTop(k);
  return {
    logprob,
    top: candidates.ranked().map((best) => ({ id: best, logprob: logits[best] - logTotal })),
  };
}
