/** What a model's gates have learned, loop by loop. */
import type { GPT } from '../models/gpt.js';
import { total } from './evaluation.js';

/** The learned gate of one loop over its channels. */
export interface GateSummary {
  readonly mean: number;
  readonly std: number;
  readonly min: number;
  readonly max: number;
}

/** The gates of every loop. */
export async function gateSummaries(model: GPT): Promise<Record<string, GateSummary[]>> {
  const summaries: Record<string, GateSummary[]> = {};
  for (const parameter of model.parameters.all.filter(({ role }) => role === 'gate')) {
    const values = Array.from(await parameter.read());
    const width = parameter.shape[1];
    summaries[parameter.name] = Array.from({ length: parameter.shape[0] }, (_, n) => {
      const row = values.slice(n * width, (n + 1) * width);
      const mean = total(row) / width;
      const std = Math.sqrt(total(row.map((x) => (x - mean) ** 2)) / width);
      return { mean, std, min: Math.min(...row), max: Math.max(...row) };
    });
  }
  return summaries;
}
