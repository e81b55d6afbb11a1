/**
 * Criteria by which a row exits early from any model with exits, without training. At exit n, with the state x_n (x_0
 * is the first step's input) and p_n, the softmax of its logits, a row exits when
 *
 * - change: ‖x_n − x_(n−1)‖ / ‖x_(n−1)‖ < τ
 * - second-difference, from exit 2 on: ‖(x_n − x_(n−1)) − (x_(n−1) − x_(n−2))‖ / ‖x_(n−1)‖ < τ (Pappone et al. 2025,
 *   arXiv 2509.23314, who do not divide, and exit the second time in a row)
 * - kl, from exit 2 on: KL(p_n ‖ p_(n−1)) < τ (Geiping et al. 2025, arXiv 2502.05171, the other way round)
 * - entropy: that of p_n, in nats, < τ
 * - confidence: max p_n > τ (Elbayad et al. 2019, arXiv 1910.10073)
 *
 * The last three run the head for each row that still runs. They read a state without its coda, so that models with a
 * coda, and models whose state is several streams, do not support them. The first two compare all streams.
 */
import type { Tensor } from '../../tensor/tensor.js';
import type { ModelConfig } from '../model-fields.js';
import type { ForwardContext } from '../context.js';
import type { ExitHeads } from './heads.js';
import type { Criterion } from './options.js';
import type { ExitDecision, ExitRule } from './rule.js';
import { Divergence, type Measure, Movement, PredictionEntropy, TopProbability } from './measures.js';

/** The default threshold of confidence. */
const CONFIDENCE = 0.9;

/** The criteria of a model, which share its classifiers. */
export function createCriteria(heads: ExitHeads, { vocabSize: V }: ModelConfig): Record<Criterion, ExitRule> {
  return {
    change: new MeasuredRule((entry) => new Movement(entry, 1)),
    'second-difference': new MeasuredRule((entry) => new Movement(entry, 2)),
    kl: new MeasuredRule(() => new Divergence(heads, V)),
    entropy: new MeasuredRule(() => new PredictionEntropy(heads, V)),
    confidence: new MeasuredRule(() => new TopProbability(heads, V), { above: CONFIDENCE }),
  };
}

/** Rows exit when a measure lies below the threshold; or above it, if `above` gives the default threshold. */
class MeasuredRule implements ExitRule {
  constructor(
    private readonly begin: (entry: Tensor) => Measure,
    private readonly usual: { readonly above?: number } = {},
  ) {}

  start(entry: Tensor, _ctx: ForwardContext, named: number | undefined): ExitDecision {
    const { above } = this.usual;
    const threshold = named ?? above!; // requireExit has checked the others
    const measure = this.begin(entry);
    return {
      decide: (mask, state, n, running) => {
        using values = measure.of(state, n, running);
        if (!values) return;
        const { backend } = mask.runtime;
        const args = { running: mask.storage, values: values.storage, threshold };
        if (above === undefined) backend.stopBelow(args);
        else backend.stopAbove(args);
      },
      [Symbol.dispose]() {
        measure[Symbol.dispose]();
      },
    };
  }
}
