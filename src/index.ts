/** The library: what `import … from 'loopnn'` gives. */
export { createBackend } from './node/backend.js';
export { NodeStore, nodeClock } from './node/store.js';
export { type LoadOptions, loadModel } from './node/load-model.js';
export * from './errors.js';
export type { GenerationEnd, StopReason, TokenLogprob } from './generate/request.js';
export { type GeneratedText, type GenerateOptions, Model } from './generate/model.js';
export type { TextIds } from './generate/text-ids.js';
export type { ExitCriterion, ExitOptions } from './models/exits/options.js';
export { type ModelConfig, parseModelConfig } from './models/config.js';
export { type ModelCost, modelCost } from './models/cost.js';
export { GPT } from './models/gpt.js';
export { Runtime } from './tensor/tensor.js';
export type { Tokenizer } from './tokenizer/tokenizer.js';
export { parseRunConfig, type RunConfig, type TrainConfig } from './train/config.js';
export { type Evaluation, evaluate } from './evaluate/evaluation.js';
export { cutLastWord, encodeLastWord, lastWordLoss } from './evaluate/last-word.js';
export { loadRun, openRun } from './node/run.js';
export { createRun, type LoadedModel, Run } from './train/run.js';
export { slidingLoss } from './evaluate/sliding.js';
export {
  type TrainOptions,
  trainRun,
  type TrainStart,
  type TrainSummary,
} from './operations/train.js';
export { chooseConfig, type ConfigOptions } from './operations/config.js';
export { Trainer } from './train/trainer.js';
export type { TrainEvent } from './train/events.js';
export type * from './entries/types.js';
