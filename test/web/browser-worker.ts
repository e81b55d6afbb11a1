/** Trains and generates through loopnn/browser in a thread that has lost what only Node has; posts what came out. */
import { parentPort } from 'node:worker_threads';

// Node's fetch reads these globals while it is loaded, which the import below may bring about.
await fetch('data:,');
for (const name of ['process', 'Buffer', 'global', 'setImmediate', 'clearImmediate', 'require', 'module']) {
  Reflect.deleteProperty(globalThis, name);
}
const loopnn = await import('../../src/browser.js');

const { model, train } = loopnn.parseRunConfig(
  {
    model: { depth: 'loop', nLayer: 1, nLoop: 2, nHead: 2, nEmbd: 16, blockSize: 16, vocabSize: 257 },
    train: { batchSize: 2, maxSteps: 10, evalInterval: 5, evalBatches: 1, lr: 0.01, warmupSteps: 1 },
  },
  'browser',
);
const tokenizer = new loopnn.BytesTokenizer();
const text = 'What goes round comes round. '.repeat(20);
const tokens = loopnn.tokensOf('text', tokenizer.encode(text));
const store = new loopnn.MemoryStore();
const runtime = new loopnn.Runtime(await loopnn.createBackend({ onWarning: () => {} }));
const gpt = new loopnn.GPT(model, runtime, { train: true });
const options = { model: gpt, config: train, train: tokens, val: tokens, store, clock: loopnn.webClock };
const trainer = new loopnn.Trainer(options);
await trainer.start();
await loopnn.createRun(store, { model, train }, tokenizer);
const losses: number[] = [];
for await (const event of trainer.run()) if (event.kind === 'step') losses.push(event.loss);

const run = await loopnn.Run.open(store, 'memory');
const loaded = await run.load(new loopnn.Runtime(await loopnn.createBackend({ onWarning: () => {} })));
let generated = '';
const trained = new loopnn.Model(loaded.model, await run.tokenizer(), loopnn.webClock);
for await (const part of trained.generate('What ', { maxTokens: 8, temperature: 0 })) generated += part.text;
parentPort!.postMessage({ losses, generated, step: loaded.step, files: [...store.files.keys()] });
