/** The messages of the parity part's worker to the page. */
import { seriesColor } from '../../../experiments/style.js';
import type { ParityResult, Score } from '../../../experiments/parity.js';

/** The two networks: they differ in how many steps they may take. */
export const NETWORKS = [
  { label: 'one step', color: seriesColor(3), changes: { maxPonder: 1 } },
  { label: 'as many as it likes (ACT)', color: seriesColor(0), changes: {} },
] as const;

export type ParityEvent =
  | { readonly kind: 'point'; readonly network: number; readonly point: Score & { readonly step: number } }
  | { readonly kind: 'done'; readonly results: readonly ParityResult[] }
  | { readonly kind: 'failed'; readonly message: string };
