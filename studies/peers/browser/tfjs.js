/** The same step in @genai-fi/nanogpt, by its own training job: its layers are not shared, which costs as much. */
import { data, TeachableLLM } from '@genai-fi/nanogpt';

const EVERY = 5;

export async function prepare({ B, T, C, NH, V, loops, text, device }) {
  await TeachableLLM.selectBackend(device);
  const shape = { vocabSize: V, blockSize: T, nLayer: loops, nHead: NH, nEmbed: C, mlpFactor: 4 };
  const model = TeachableLLM.create('char', { modelType: 'GenAI_NanoGPT_v1', useRope: false, ...shape });
  await new Promise((resolve) => model.on('loaded', resolve));
  const stream = await data.loadTextData(new File([text], 'text.txt', { type: 'text/plain' }));
  await model.trainTokeniser([stream]);
  const waiting = [];
  let failed = null;
  model.training.on('error', (_, error) => {
    failed = error;
    for (const { reject } of waiting.splice(0)) reject(error);
  });
  model.training.on('progress', (job) => {
    const last = job.history?.at(-1);
    waiting.shift()?.resolve(last?.trainingMetrics.loss);
  });
  const options = {
    method: { type: 'pretraining' },
    batchSize: B,
    maxEpochs: 1000,
    logInterval: EVERY,
    validationSplit: 0.1,
  };
  const named = [{ id: 'text', name: 'text', size: text.length }];
  model.training.job(options, [stream], named).catch((error) => {
    failed = error;
    for (const { reject } of waiting.splice(0)) reject(error);
  });
  const step = () => {
    if (failed) throw failed;
    return new Promise((resolve, reject) => waiting.push({ resolve, reject }));
  };
  return { name: `@genai-fi/nanogpt on ${device}`, step, steps: EVERY };
}
