/** What `import … from 'loopnn/data'` gives: texts to tokens, and tokens to train on. */
export { type Dataset, openDataset } from './dataset.js';
export { prepareCorpus } from './prepare.js';
