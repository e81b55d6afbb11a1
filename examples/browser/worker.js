import { loadModel, OpfsStore, trainRun } from '../../dist/src/browser.js'; // or by a bundler: 'loopnn/browser'

const store = new OpfsStore('runs/example'); // it stays when the page is reloaded
const model = { depth: 'loop', nLayer: 1, nLoop: 3, nEmbd: 64, nHead: 4, blockSize: 128 };
const train = { batchSize: 4, maxSteps: 600, lr: 3e-3, evalInterval: 100, checkpointInterval: 20 };
let stop = new AbortController();

const tasks = {
  look: async () => {},
  async train(text) {
    const run = text ? { text, model, train, overwrite: true } : { resume: true };
    await trainRun({ store, ...run, signal: stop.signal, onEvent: (event) => postMessage(event) });
  },
  async write(prompt) {
    const trained = await loadModel(store);
    const options = { temperature: 0.8, topK: 40, signal: stop.signal };
    for await (const { text } of trained.generate(prompt, options)) postMessage({ text });
    await trained.dispose();
  },
};
self.onmessage = async ({ data: [task, input] }) => {
  if (task === 'stop') return stop.abort();
  stop = new AbortController();
  const failure = await tasks[task](input).catch((error) => error.message);
  const steps = (await store.list('checkpoints')).map((name) => Number(name.split('-')[1]));
  postMessage({ saved: Math.max(0, ...steps), failure, task });
};
