/**
 * Measures what sampling the loop count costs: training steps of one loop network with a fixed and with a sampled
 * count, in turns, in milliseconds for each block application.
 *
 *     node dist/studies/sampled-loops.js [STEPS]
 */
import { createBackend } from '../src/node/backend.js';
import { nodeClock } from '../src/node/store.js';
import { applicationCount } from '../src/models/config.js';
import { GPT } from '../src/models/gpt.js';
import { hashWords } from '../src/random.js';
import { Runtime } from '../src/tensor/tensor.js';
import { parseRunConfig } from '../src/train/config.js';
import { microStepLoss, trainingOptions } from '../src/train/trainer.js';
import { spread } from '../src/statistics.js';

const steps = Number(process.argv[2] ?? 60);
const runtime = new Runtime(await createBackend());
const model = { depth: 'loop', nLayer: 1, nLoop: 6, nEmbd: 128, nHead: 4, blockSize: 256, vocabSize: 257 };
const entrants = (['fixed', 'uniform', 'poisson'] as const).map((loopSampling) => {
  const config = parseRunConfig({ model, train: { loopSampling, batchSize: 8 } }, loopSampling);
  const gpt = new GPT(config.model, runtime, { train: true });
  gpt.parameters.initialise(1);
  return { loopSampling, config, gpt, ms: [] as number[], loops: [] as number[] };
});

for (let step = 0; step <= steps; step++) {
  for (const { config, gpt, ms, loops } of entrants) {
    const [B, T] = [config.train.batchSize, config.model.blockSize];
    const draw = (stream: number) =>
      Int32Array.from({ length: B * T }, (_, i) => hashWords(stream, step, i) % config.model.vocabSize);
    const options = trainingOptions(gpt, config.train, { seed: 1, step, microStep: 0 }, 0);
    const batch = { B, T, tokens: draw(0), targets: draw(1) };
    const start = nodeClock.now();
    await microStepLoss(gpt, batch, 1, options);
    if (step === 0) continue; // the first step allocates
    const count = options.loops ?? config.model.nLoop;
    ms.push((nodeClock.now() - start) / applicationCount(config.model, count));
    loops.push(count);
  }
}

console.log(runtime.backend.description);
for (const { loopSampling, ms, loops } of entrants) {
  const { min, median, max } = spread(ms);
  const mean = loops.reduce((sum, n) => sum + n, 0) / loops.length;
  const total = ms.reduce((sum, x, i) => sum + x * loops[i], 0) / (mean * loops.length);
  const range = `${min.toFixed(2)}, ${median.toFixed(2)}, ${max.toFixed(2)}`;
  console.log(
    `${loopSampling.padEnd(8)} ${mean.toFixed(2)} loops, ms an application: ${total.toFixed(2)} in all (steps: ${range})`,
  );
}
