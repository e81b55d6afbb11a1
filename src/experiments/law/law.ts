/**
 * The law of what loops are worth (arXiv 2604.21106): L = E + A·(N_once + r^φ·N_rec)^−α + B·D^−β. With φ = 1 r
 * loops are worth r blocks, with φ = 0 one. Knows neither runs nor how it is fitted.
 */

/** What the law says that a model's loss depends on. */
export interface LawPoint {
  /** N_once: parameters of the blocks that are run once. */
  readonly once: number;
  /** N_rec: parameters of the blocks that are looped. */
  readonly looped: number;
  /** r: how often those are run. */
  readonly loops: number;
  /** D: tokens of training. */
  readonly tokens: number;
}

export interface Law {
  /** Nats per token that no model goes below. */
  readonly E: number;
  readonly A: number;
  readonly alpha: number;
  readonly phi: number;
  /** B and β; null where the tokens vary too little to tell their share from E, which then holds it. */
  readonly data: { readonly B: number; readonly beta: number } | null;
}

/** N_once + r^φ·N_rec. */
export function effectiveParameters({ once, looped, loops }: LawPoint, phi: number): number {
  return once + loops ** phi * looped;
}

/** The loss that the law foretells, with so many effective parameters and tokens. */
export function lossAt({ E, A, alpha, data }: Law, effective: number, tokens: number): number {
  return E + A * effective ** -alpha + (data ? data.B * tokens ** -data.beta : 0);
}

/** The loss that the law foretells of a model. */
export function lawLoss(law: Law, point: LawPoint): number {
  return lossAt(law, effectiveParameters(point, law.phi), point.tokens);
}

/** B·D^−β is fitted where there are so many token counts, the largest so many times the smallest. */
export const TOKENS_VARY = { counts: 3, ratio: 4 };

export function tokensVary(points: readonly LawPoint[]): boolean {
  const counts = [...new Set(points.map(({ tokens }) => tokens))];
  const ratio = Math.max(...counts) / Math.min(...counts);
  return counts.length >= TOKENS_VARY.counts && ratio >= TOKENS_VARY.ratio;
}
