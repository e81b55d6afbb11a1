/** The learned values of recipes for loops, and the size of the state after each loop. */
import type { GPT } from '../models/gpt.js';
import { randomBatch, type TokenSource } from './batches.js';
import { EVALUATION, type FixedBatches } from './evaluation.js';
import { type GateSummary, summaryOf } from './gates.js';

/** Learned parts by name, a summary for each loop, or one for all of them. */
export type LoopParts = Readonly<Record<string, readonly GateSummary[]>>;

/**
 * For stable injection, the share of the state that channels carry over, over the channels. The scalars of injection.
 * For streams, the coefficients with which a loop reads each, writes to each, keeps each (M_ii) and adds each to others
 * (M_ij), over the streams, and the scale of the part that depends on the token.
 */
export async function loopParts(model: GPT): Promise<LoopParts> {
  const values = new Map<string, number[][]>();
  for (const parameter of model.parameters.all) {
    const name = /^transformer\.(injection\.(?:a|b|\w+_scale)|streams\.(?:coefficients|gamma))$/.exec(
      parameter.name,
    );
    if (!name) continue;
    const all = Array.from(await parameter.read());
    const width = parameter.shape.at(-1)!;
    const rows = Array.from({ length: all.length / width }, (_, n) => all.slice(n * width, (n + 1) * width));
    values.set(name[1], rows);
  }
  const parts: Record<string, GateSummary[]> = {};
  const [a, b] = [values.get('injection.a')?.[0], values.get('injection.b')?.[0]];
  if (a && b) parts['carry-over'] = [summaryOf(a.map((x, c) => carryOver(x, b[c])))];
  for (const [part, name] of [
    ['injection.state_scale', 'scale of the state'],
    ['injection.input_scale', 'scale of the input'],
    ['streams.gamma', 'scale of the dynamic part'],
  ]) {
    const rows = values.get(part);
    if (rows) parts[name] = rows.map(summaryOf);
  }
  const { nStream: n } = model.config;
  const places = Array.from({ length: n * (n + 2) }, (_, k) => [Math.floor(k / (n + 2)), k % (n + 2)]);
  const of = (wanted: (stream: number, column: number) => boolean) =>
    (values.get('streams.coefficients') ?? []).map((row) =>
      summaryOf(row.filter((_, k) => wanted(places[k][0], places[k][1]))),
    );
  const streams = {
    'streams read': of((_, column) => column === n),
    'streams written': of((_, column) => column === n + 1),
    'streams kept': of((stream, column) => column === stream),
    'streams mixed': of((stream, column) => column < n && column !== stream),
  };
  return values.has('streams.coefficients') ? { ...parts, ...streams } : parts;
}

/** exp(−softplus(b)·exp(a)). */
function carryOver(a: number, b: number): number {
  return Math.exp(-(Math.max(b, 0) + Math.log1p(Math.exp(-Math.abs(b)))) * Math.exp(a));
}

/** Root mean square of the state after each loop (step, layer), on the first of fixed batches; see `GPT.stateRms`. */
export async function stateRms(
  model: GPT,
  source: TokenSource,
  { B, seed }: Omit<FixedBatches, 'count'>,
): Promise<number[]> {
  const { blockSize: T, vocabSize } = model.config;
  const { tokens } = await randomBatch(source, B, T, vocabSize, { seed, step: EVALUATION, microStep: 0 });
  return model.stateRms(tokens, B);
}
