/** One training step of loopnn. */
import {
  createBackend,
  GPT,
  MemoryStore,
  parseRunConfig,
  Runtime,
  tokensOf,
  Trainer,
  webClock,
} from 'loopnn/browser';

export async function prepare({ B, T, C, NH, V, loops, ids, device }) {
  const model = { depth: 'loop', nLayer: 1, nLoop: loops, nEmbd: C, nHead: NH, blockSize: T, vocabSize: V };
  const train = { batchSize: B, maxSteps: 1e6, evalInterval: 1e6, checkpointInterval: 1e6, evalBatches: 1 };
  const config = parseRunConfig({ model, train }, 'study');
  const backend = await createBackend({ backend: device });
  const gpt = new GPT(config.model, new Runtime(backend), { train: true });
  const [text, store] = [tokensOf('ids', ids), new MemoryStore()];
  const trainer = new Trainer({
    model: gpt,
    config: config.train,
    train: text,
    val: text,
    store,
    clock: webClock,
  });
  await trainer.start();
  const events = trainer.run();
  const step = async () => {
    for (;;) {
      const { value } = await events.next();
      if (value.kind === 'step') return value.loss;
    }
  };
  return { name: backend.description, step };
}
