/**
 * Measures what shared keys and values cost and save: runs read held-out text token by token after a prompt, as a
 * decoder would, with each way of sharing. Prints the loss of the tokens after the prompt, bytes of the cache a token,
 * and time a token for each sequence.
 *
 *     node dist/studies/kv-sharing.js DATA RUN [RUN …]
 */
import { openDataset } from '../src/data/dataset.js';
import { nodeClock } from '../src/node/store.js';
import { loadRun, openRun } from '../src/node/run.js';
import { Decoder } from '../src/generate/decoder.js';
import { exitCount } from '../src/models/config.js';
import { signed } from '../src/printable.js';
import { deviation, mean } from '../src/statistics.js';
import { modelCost } from '../src/models/cost.js';
import type { KeyValueOptions, Run } from '../src/train/run.js';

/** Sequences that are read side by side, and how often. */
const SEQUENCES = 32;
const ROUNDS = 8;

const [data, ...folders] = process.argv.slice(2);
await using dataset = await openDataset(data);
const { val } = dataset;

for (const folder of folders) {
  const run = await openRun(folder);
  const loops = exitCount(run.config.model);
  const { model: trained } = await loadRun(run);
  console.log(`${folder}: ${loops} loops, ${trained.runtime.backend.description}`);
  trained.dispose();
  const settings: KeyValueOptions[] = [{ kvSharing: 'per-application' }];
  for (const kvSharing of ['first-loop', 'last-loop'] as const) {
    for (const kvLoops of [1, 2, 3]) if (kvLoops < loops) settings.push({ kvSharing, kvLoops });
  }
  let own: number[] | null = null;
  for (const setting of settings) {
    const { losses, ms, bytes } = await read(run, setting);
    own ??= losses;
    const differences = losses.map((x, i) => x - own![i]);
    const k = setting.kvSharing === 'per-application' ? '' : `, k = ${setting.kvLoops}`;
    const change = `${signed(mean(differences), 4)} ± ${(deviation(differences)! / Math.sqrt(ROUNDS)).toFixed(4)}`;
    console.log(
      `${`${setting.kvSharing}${k}`.padEnd(20)} ${mean(losses).toFixed(4)} nats a token (${change}), ` +
        `${bytes} bytes a token, ${ms.toFixed(3)} ms a token`,
    );
  }
}

/** Mean loss of each round's sequences, after a prompt of half the block size. */
async function read(run: Run, setting: KeyValueOptions) {
  const { model } = await loadRun(run, setting);
  using decoder = new Decoder(model);
  const { blockSize: T, vocabSize: V } = model.config;
  const prompt = T >> 1;
  const losses: number[] = Array(ROUNDS).fill(0);
  let elapsed = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const texts = await Promise.all(
      Array.from({ length: SEQUENCES }, (_, s) =>
        val.read(((round * SEQUENCES + s) * 7919 * 13) % (val.length - T), T),
      ),
    );
    const sequences = texts.map(() => decoder.open());
    let next = await decoder.extend(
      sequences.map((sequence, s) => ({ sequence, tokens: texts[s].subarray(0, prompt) })),
    );
    const start = nodeClock.now();
    for (let t = prompt; t < T; t++) {
      for (const [s, text] of texts.entries())
        losses[round] += lossOf(next.logits.subarray(s * V, s * V + V), text[t]);
      next = await decoder.extend(sequences.map((sequence, s) => ({ sequence, tokens: [texts[s][t]] })));
    }
    elapsed += nodeClock.now() - start;
    losses[round] /= SEQUENCES * (T - prompt);
    for (const sequence of sequences) sequence.dispose();
  }
  const bytes = modelCost(model.config).cacheBytesPerToken;
  model.dispose();
  return { losses, ms: elapsed / (ROUNDS * SEQUENCES * (T - prompt)), bytes };
}

function lossOf(logits: Float32Array, target: number): number {
  const max = logits.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  return Math.log(logits.reduce((total, x) => total + Math.exp(x - max), 0)) + max - logits[target];
}
