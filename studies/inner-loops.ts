/**
 * Measures what inner loops save in decoding: the second of two inner loops finds its layer's weights in the
 * processor's cache, while the same application in another outer loop reads them from memory again. GPT2-67M-LOOP
 * decodes against the same four layers in twelve outer loops, token by token in turns.
 *
 *     node dist/studies/inner-loops.js [TOKENS]
 */
import { createBackend } from '../src/node/backend.js';
import { machine } from '../src/node/machine.js';
import { nodeClock } from '../src/node/store.js';
import { readPreset } from '../src/node/presets.js';
import { spread } from '../src/statistics.js';
import { Decoder } from '../src/generate/decoder.js';
import { parseModelConfig } from '../src/models/config.js';
import { GPT } from '../src/models/gpt.js';
import { Runtime } from '../src/tensor/tensor.js';

const tokens = Number(process.argv[2] ?? 24);
const CONTEXT = 64;
const { model: preset } = readPreset('gpt2-67m-loop') as { model: object };
const { processor, processors, commit } = machine();
console.log(`${processor}, ${processors} processors, commit ${commit ?? 'unknown'}`);

for (const options of [
  { precision: 'f32' },
  { precision: 'bf16' },
  { precision: 'bf16', weights: 'int8' },
] as const) {
  const backends = [await createBackend(options), await createBackend(options)];
  const entrants = [{}, { nLoop: 12, nInnerLoop: 1 }].map((fields, i) => {
    const runtime = new Runtime(backends[i]);
    const model = new GPT(parseModelConfig({ ...preset, ...fields }), runtime, { train: false });
    model.parameters.initialise(1);
    const decoder = new Decoder(model);
    return { model, decoder, sequence: decoder.open(), ms: [] as number[] };
  });
  for (let t = 0; t < CONTEXT + tokens; t++) {
    for (const { decoder, sequence, ms } of entrants) {
      const start = nodeClock.now();
      await decoder.extend([{ sequence, tokens: [(t * 7919) % 50_257] }]);
      if (t >= CONTEXT) ms.push(nodeClock.now() - start);
    }
  }
  const [inner, outer] = entrants.map(({ ms }) => ms);
  const ratio = spread(inner.map((ms, i) => ms / outer[i]));
  const [a, b] = [spread(inner).median, spread(outer).median];
  console.log(
    `${JSON.stringify(options)}: 6 × 2 inner ${a.toFixed(1)} ms, 12 outer ${b.toFixed(1)} ms a token, ` +
      `${ratio.median.toFixed(2)} (${ratio.min.toFixed(2)}–${ratio.max.toFixed(2)})`,
  );
  for (const { model, decoder } of entrants) {
    decoder.dispose();
    model.dispose();
    model.runtime.pool.trim();
  }
}
