/** Sampling one token from logits. Knows no model. */
import { CheckpointError, ConfigError } from '../errors.js';
import { hashWords } from '../nn/random.js';

export interface SamplingOptions {
  /** Divides the logits; 0 always takes the most probable token. */
  readonly temperature: number;
  /** Only the k most probable tokens; null for all. */
  readonly topK: number | null;
  /** Only the most probable tokens that together reach probability p (Holtzman et al. 2019, arXiv 1904.09751); null for all. */
  readonly topP: number | null;
  /** Names the sequence of random numbers: the same seed and prompt give the same text. */
  readonly seed: number;
}

/** Throws ConfigError for a temperature, topK or topP outside its range. */
export function checkSampling({ temperature, topK, topP, seed }: SamplingOptions): void {
  if (!(temperature >= 0)) throw new ConfigError('temperature', 'must be at least 0', temperature);
  if (topK !== null && !(Number.isInteger(topK) && topK >= 1)) {
    throw new ConfigError('topK', 'must be a whole number of at least 1', topK);
  }
  if (topP !== null && !(topP > 0 && topP <= 1)) throw new ConfigError('topP', 'must lie in (0, 1]', topP);
  if (!(Number.isInteger(seed) && seed >= 0))
    throw new ConfigError('seed', 'must be a whole number of at least 0', seed);
}

/** Draws a token id; `position` is the counter of the draw. Ties are broken towards the lower id. */
export function sample(logits: Float32Array, position: number, options: SamplingOptions): number {
  const { temperature, topK, topP, seed } = options;
  if (temperature === 0) return logits.reduce((best, x, id) => (x > logits[best] ? id : best), 0);
  const ids = Array.from(logits.keys()).sort((a, b) => logits[b] - logits[a] || a - b);
  let kept = topK === null ? ids : ids.slice(0, topK);
  const max = logits[kept[0]];
  if (!Number.isFinite(max))
    throw new CheckpointError('logits', 'must be finite', max, 'the model has diverged');
  const weights = kept.map((id) => Math.exp((logits[id] - max) / temperature));
  let total = weights.reduce((sum, w) => sum + w, 0);
  if (topP !== null) {
    let count = 0;
    let reached = 0;
    while (count < kept.length && reached < topP * total) reached += weights[count++];
    kept = kept.slice(0, count);
    total = reached;
  }
  let remaining = (hashWords(seed, position) / 2 ** 32) * total;
  for (const [i, id] of kept.entries()) {
    remaining -= weights[i];
    if (remaining < 0) return id;
  }
  return kept.at(-1)!;
}
