/**
 * Measures what drafts save: a trained run continues prompts without a draft and with drafts of several shapes, in
 * turns. The answers must be the same.
 *
 *     node dist/studies/speculation.js RUN DATA [ROUNDS]
 */
import assert from 'node:assert/strict';
import { createBackend } from '../src/node/backend.js';
import { openDataset } from '../src/data/dataset.js';
import { nodeClock } from '../src/node/store.js';
import { spread } from '../src/statistics.js';
import { Decoder } from '../src/generate/decoder.js';
import { Engine } from '../src/generate/engine.js';
import type { DraftOptions } from '../src/generate/speculation.js';
import { exitCount } from '../src/models/config.js';
import { Runtime } from '../src/tensor/tensor.js';
import { openRun } from '../src/node/run.js';

const [folder, data, rounds = '5'] = process.argv.slice(2);
const run = await openRun(folder);
const tokenizer = await run.tokenizer();
const runtime = new Runtime(await createBackend());
const { model } = await run.load(runtime);
const engine = new Engine(new Decoder(model), tokenizer, nodeClock);
await using dataset = await openDataset(data);
const { val } = dataset;
const { blockSize } = model.config;
const promptLength = Math.min(32, blockSize >> 1);
const depths = [1, 2, 3].filter((loops) => loops < exitCount(model.config));
const drafts: (DraftOptions | null)[] = [
  null,
  ...depths.flatMap((loops) => [2, 4, 6, 8].map((tokens) => ({ loops, tokens }))),
];

for (const temperature of [0, 0.8]) {
  const entries = drafts.map((draft) => ({ draft, ms: [] as number[], drafted: 0, accepted: 0 }));
  for (let round = 0; round <= Number(rounds); round++) {
    const at = (round * 7919) % (val.length - promptLength);
    const prompt = await val.read(at, promptLength);
    const request = { prompt, maxTokens: blockSize - promptLength, temperature, seed: round };
    let plain: number[] | null = null;
    for (const entry of entries) {
      const ids: number[] = [];
      const start = nodeClock.now();
      const stream = engine.generate({ ...request, ...(entry.draft ? { draft: entry.draft } : {}) });
      let next = await stream.next();
      for (; !next.done; next = await stream.next()) ids.push(next.value.id);
      const ms = (nodeClock.now() - start) / ids.length;
      plain ??= ids;
      assert.deepEqual(ids, plain);
      if (round === 0) continue; // the first round packs and compiles
      entry.ms.push(ms);
      entry.drafted += next.value.drafted;
      entry.accepted += next.value.accepted;
    }
  }
  console.log(`${runtime.backend.description}, ${exitCount(model.config)} loops, temperature ${temperature}`);
  const [{ ms: plain }] = entries;
  for (const { draft, ms, drafted, accepted } of entries) {
    const { min, median, max } = spread(ms);
    const speedup = spread(ms.map((x, i) => plain[i] / x));
    const name = draft ? `${draft.tokens} tokens with ${draft.loops} loops` : 'no draft';
    const range = `${min.toFixed(2)}, ${median.toFixed(2)}, ${max.toFixed(2)} ms a token`;
    const stood = draft ? `, ${((100 * accepted) / drafted).toFixed(0)} % stood` : '';
    const times = `${speedup.median.toFixed(2)}× (${speedup.min.toFixed(2)}–${speedup.max.toFixed(2)})`;
    console.log(`${name.padEnd(22)} ${range}, ${times}${stood}`);
  }
}
