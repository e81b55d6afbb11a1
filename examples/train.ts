/**
 * Training from code: texts to tokens, a looped model trained on them, and a sample.
 *
 *     node dist/examples/train.js [STEPS] [FOLDER]
 *
 * 300 steps, on a processor with AVX2, print:
 *
 *     9,484,900 training tokens of sotu
 *     83,072 parameters, 2 block applications
 *     step 0: validation loss 5.602
 *     step 300: validation loss 2.354
 *     the held-out text: 2.322; see FOLDER/run/report.html
 */
import { modelCost, trainRun } from 'loopnn';
import { prepareCorpus } from 'loopnn/data';

const [steps = '300', folder = 'runs/example'] = process.argv.slice(2);
const data = `${folder}/data`;
const { meta } = await prepareCorpus({ sources: ['sotu'], out: data, tokenizer: 'bytes', seed: 1 });
console.log(`${meta.train.tokens.toLocaleString('en-US')} training tokens of ${meta.sources}`);

const stop = new AbortController();
process.once('SIGINT', () => stop.abort());

const { result, report } = await trainRun({
  data,
  out: `${folder}/run`,
  model: { depth: 'loop', nLayer: 1, nLoop: 2, nEmbd: 64, nHead: 4, blockSize: 256, initStd: 'width' },
  train: { batchSize: 8, maxSteps: Number(steps), lr: 3e-3, evalInterval: Number(steps), evalBatches: 4 },
  signal: stop.signal,
  onStart({ config }) {
    const { parameters, applications } = modelCost(config.model);
    console.log(`${parameters.total.toLocaleString('en-US')} parameters, ${applications} block applications`);
  },
  onEvent(event) {
    if (event.kind === 'eval') console.log(`step ${event.step}: validation loss ${event.valLoss.toFixed(3)}`);
  },
});
if (result) console.log(`the held-out text: ${result.valLoss.toFixed(3)}; see ${report}`);
