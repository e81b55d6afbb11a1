/** Options of kernels besides arrays and dimensions. */

/**
 * The form of the loop update that a gated residual computes (arXiv 2409.14199, Eq. 1).
 * - `output`: x + gate ⊙ f
 * - `correction`: x + gate ⊙ (f − x)
 */
export const LOOP_FORMS = ['output', 'correction'] as const;
export type LoopForm = (typeof LOOP_FORMS)[number];

/**
 * Functions of one element, by their names in Hugging Face's transformers.
 * - `gelu_new`: GPT-2's GELU in its tanh form, ½·x·(1 + tanh(√(2/π)·(x + 0.044715·x³)))
 * - `gelu`: x·Φ(x) = ½·x·(1 + erf(x/√2)) (Hendrycks & Gimpel 2016, arXiv 1606.08415)
 * - `relu`: max(0, x)
 * - `relu2`: max(0, x)² (So et al. 2021, arXiv 2109.08668)
 * - `silu`: x·σ(x), σ(x) = 1/(1 + e^−x)
 * - `quick_gelu`: x·σ(1.702·x)
 * - `tanh`
 * - `sigmoid`: σ(x)
 */
export const ACTIVATIONS = [
  'gelu_new',
  'gelu',
  'relu',
  'relu2',
  'silu',
  'quick_gelu',
  'tanh',
  'sigmoid',
] as const;
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
