/**
 * What an engine computes, as checksums: of a run's weights and losses after some steps, and of what the model then
 * says.
 */
import {
  type Backend,
  GPT,
  MemoryStore,
  Model,
  parseRunConfig,
  Runtime,
  Trainer,
  tokensOf,
  webClock,
  BytesTokenizer,
  createRun,
  type Store,
  type TrainEvent,
} from '../../src/browser.js';
import { crc32c } from '../../src/formats/crc32c.js';

export async function bitsOf(backend: Backend): Promise<Record<string, number | string>> {
  const losses: number[] = [];
  const bits = await trainedBits(backend, new MemoryStore(), (event) => {
    if (event.kind === 'step') losses.push(event.loss);
  });
  return { losses: crc32c(new Uint8Array(Float64Array.from(losses).buffer)), ...bits };
}

/** The same of a run in a store, which is resumed where it has one. `onEvent` may keep it from going on. */
export async function trainedBits(
  backend: Backend,
  store: Store,
  onEvent: (event: TrainEvent) => void | Promise<void> = () => {},
): Promise<{ readonly weights: number; readonly text: string }> {
  const { model, train } = parseRunConfig(
    {
      model: {
        depth: 'loop',
        nLayer: 1,
        nLoop: 2,
        nHead: 2,
        nEmbd: 48,
        blockSize: 32,
        vocabSize: 257,
        dropout: 0.1,
      },
      train: {
        batchSize: 3,
        maxSteps: 6,
        evalInterval: 3,
        evalBatches: 1,
        checkpointInterval: 2,
        lr: 0.01,
        warmupSteps: 1,
      },
    },
    'bits',
  );
  const tokenizer = new BytesTokenizer();
  const tokens = tokensOf('text', tokenizer.encode('What goes round comes round. '.repeat(20)));
  const gpt = new GPT(model, new Runtime(backend), { train: true });
  const trainer = new Trainer({
    model: gpt,
    config: train,
    train: tokens,
    val: tokens,
    store,
    clock: webClock,
  });
  await createRun(store, { model, train }, tokenizer);
  await trainer.start();
  for await (const event of trainer.run()) await onEvent(event);
  const weights = crc32c(await store.read('checkpoints/last-0000006/model.safetensors'));
  const said = new Model(gpt, tokenizer, webClock);
  let text = '';
  for await (const part of said.generate('What ', { maxTokens: 12, seed: 1 })) text += part.text;
  return { weights, text };
}
