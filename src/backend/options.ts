/** What kernels are told besides arrays and dimensions. */

/**
 * Which reading of the loop update a gated residual computes (arXiv 2409.14199, Eq. 1).
 * - `output`: x + gate ⊙ f
 * - `correction`: x + gate ⊙ (f − x)
 */
export const LOOP_FORMS = ['output', 'correction'] as const;
export type LoopForm = (typeof LOOP_FORMS)[number];

/**
 * Functions of one element.
 * - `gelu`: GPT-2's tanh form, ½·x·(1 + tanh(√(2/π)·(x + 0.044715·x³)))
 * - `relu`: max(0, x)
 * - `tanh`
 * - `sigmoid`: 1/(1 + e^−x)
 */
export const ACTIVATIONS = ['gelu', 'relu', 'tanh', 'sigmoid'] as const;
export type Activation = (typeof ACTIVATIONS)[number];

/**
 * Counter-based dropout: whether an element is kept is a pure function of the key, the sample and the element's
 * place in it (see `dropoutKeep` in `memory/dropout.ts`), so that a recomputed or resumed step repeats it.
 */
export interface Dropout {
  /** Probability of dropping an element, 0 < p < 1; kept ones are scaled by 1/(1 − p). */
  readonly p: number;
  /** Two unsigned 32-bit words that name the seed, step, micro-step, application and site. */
  readonly key: readonly [number, number];
  /** Number of the first sample of this call within the step's micro-batch. */
  readonly firstSample: number;
}
