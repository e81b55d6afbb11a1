/**
 * Measures early exits on one text: runs it at full depth, and once for each of several thresholds, which spread the
 * mean loops evenly. In each run, as in the model, a token that has exited keeps its state for the other tokens.
 */
import { exitValues, ownThresholds, spreadThresholds } from '../../experiments/exit-values.js';
import type { GPT } from '../../models/gpt.js';
import type { ExitCriterion } from '../../models/exits/options.js';
import type { ScorePass } from '../../models/exits/pass.js';
import { type Tokenizer, textOf } from '../../tokenizer/tokenizer.js';
import { webClock } from '../../web/clock.js';
import type { ExitRun, ExitRuns } from './messages.js';

/** Thresholds of a sweep. */
const THRESHOLDS = 24;
/** Most sequences of the block size that are read of a text. */
const SEQUENCES = 4;

/** Measures early exits by `criterion`. Throws the signal's reason if the signal is aborted meanwhile. */
export async function runExits(
  model: GPT,
  tokenizer: Tokenizer,
  text: string,
  criterion: ExitCriterion,
  signal: AbortSignal,
): Promise<ExitRuns> {
  const { blockSize, nCoda } = model.config;
  const encoded = tokenizer.encode(text);
  const ids = Int32Array.from(encoded).subarray(0, SEQUENCES * blockSize);
  if (ids.length < 2) throw new Error('Type a longer text: nothing follows a single token.');
  const parts = sequencesOf(ids, blockSize);
  const fixed: number[] = [];
  let thresholds: readonly (number | null)[] = [];
  for (const [i, { tokens, targets }] of parts.entries()) {
    const { exits } = await model.readings(tokens, targets, 1, {}, i === 0 && nCoda === 0);
    for (const [n, { losses }] of exits.entries()) fixed[n] = (fixed[n] ?? 0) + sum(losses, targets);
    if (i > 0) continue;
    const values = exitValues(exits).get(criterion);
    thresholds = values ? spreadThresholds(values, THRESHOLDS) : ownThresholds(criterion);
  }
  const run = async (threshold: number | null, pass: ScorePass): Promise<ExitRun> => {
    const loops = new Int32Array(ids.length).fill(fixed.length);
    const losses = new Float32Array(ids.length);
    let first = 0;
    for (const { tokens, targets } of parts) {
      using output = model.score(tokens, targets, 1, pass);
      if (output.stepsPerRow) loops.set((await output.stepsPerRow.read()) as Int32Array, first);
      losses.set((await output.losses.read()) as Float32Array, first);
      first += tokens.length;
    }
    await webClock.yield();
    signal.throwIfAborted();
    // Nothing follows the last token.
    const counted = ids.length - 1;
    const meanLoops = loops.subarray(0, counted).reduce((total, n) => total + n, 0) / counted;
    return { threshold, loops, losses, meanLoops, loss: losses.reduce((total, x) => total + x, 0) / counted };
  };
  const runs = [await run(null, { earlyExit: false })];
  for (const threshold of thresholds) {
    runs.push(await run(threshold, { exit: { criterion, ...(threshold === null ? {} : { threshold }) } }));
  }
  const [full, ...early] = runs;
  return {
    tokens: Array.from(ids, (id, t) => textOf(tokenizer, id, ids[t - 1])),
    leftOut: encoded.length - ids.length,
    fixed: fixed.map((nats) => nats / (ids.length - 1)),
    runs: [full, ...early.sort((a, b) => b.meanLoops - a.meanLoops)],
  };
}

interface Sequence {
  readonly tokens: Int32Array;
  /** The token after each token; −1 at the text's end. */
  readonly targets: Int32Array;
}

function sequencesOf(ids: Int32Array, T: number): Sequence[] {
  return Array.from({ length: Math.ceil(ids.length / T) }, (_, i) => {
    const tokens = ids.slice(i * T, (i + 1) * T);
    return { tokens, targets: Int32Array.from(tokens, (_, t) => ids[i * T + t + 1] ?? -1) };
  });
}

function sum(losses: Float32Array, targets: Int32Array): number {
  return losses.reduce((total, loss, t) => total + (targets[t] < 0 ? 0 : loss), 0);
}
