/** A model's learned gates, loop by loop. */
import type { GPT } from '../models/gpt.js';
import { total } from './evaluation.js';

/** The learned gate of one loop over its channels, or other numbers of one loop. */
export interface GateSummary {
  readonly mean: number;
  readonly std: number;
  readonly min: number;
  readonly max: number;
}

/** The gates of every loop. */
export async function gateSummaries(model: GPT): Promise<Record<string, GateSummary[]>> {
  const summaries: Record<string, GateSummary[]> = {};
  for (const parameter of model.parameters.all.filter(({ name }) => isGate(name))) {
    const values = Array.from(await parameter.read());
    const width = parameter.shape[1];
    summaries[parameter.name] = Array.from({ length: parameter.shape[0] }, (_, n) => {
      return summaryOf(values.slice(n * width, (n + 1) * width));
    });
  }
  return summaries;
}

/** Whether a parameter holds the gates of the loops over the stack, or over a block. */
export function isGate(name: string): boolean {
  return name.endsWith('.gates');
}

export function summaryOf(values: readonly number[]): GateSummary {
  const mean = total(values) / values.length;
  const std = Math.sqrt(total(values.map((x) => (x - mean) ** 2)) / values.length);
  return { mean, std, min: Math.min(...values), max: Math.max(...values) };
}
