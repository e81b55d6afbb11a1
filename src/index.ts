/** The library: what `import … from 'loopnn'` gives. */
export { createBackend } from './backend/create.js';
export { NodeStore, nodeClock } from './data/node-store.js';
export { prepareCorpus } from './data/prepare.js';
export { openDataset } from './data/dataset.js';
export * from './errors.js';
export { type GenerateOptions, generate, type StopReason } from './generate/generate.js';
export { type ModelConfig, parseModelConfig } from './models/config.js';
export { type ModelCost, modelCost } from './models/cost.js';
export { GPT } from './models/gpt.js';
export { Runtime } from './tensor/tensor.js';
export type { Tokenizer } from './tokenizer/tokenizer.js';
export { parseRunConfig, type RunConfig, type TrainConfig } from './train/config.js';
export { type Evaluation, evaluate } from './train/evaluation.js';
export { cutLastWord, encodeLastWord, lastWordLoss } from './train/last-word.js';
export { createRun, loadRun, readRunTokenizer } from './train/run.js';
export { slidingLoss } from './train/sliding.js';
export { type TrainEvent, Trainer } from './train/trainer.js';
