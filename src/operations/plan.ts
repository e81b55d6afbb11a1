/** The cost of a comparison on this machine: `loopnn compare --dry-run`. */
import { openDataset } from '../data/dataset.js';
import { planComparison, type PlannedModel, plannedSeconds } from '../experiments/plan.js';
import { nodeClock } from '../node/store.js';
import { createTokenizer, TOKENIZER_NAMES } from '../tokenizer/load.js';
import { type CompareOptions, GPT2_VOCABULARY, limited } from './compare.js';
import { openRuntime } from './runtime.js';

export interface ComparisonPlan {
  readonly backend: string;
  readonly models: readonly (PlannedModel & { readonly seconds: number })[];
  readonly runs: number;
  readonly pilots: number;
  readonly flops: number;
  /** On this machine as it is now, without scoring and without the timing of steps. */
  readonly seconds: number;
}

/**
 * Plans a comparison: its runs, their steps, tokens and FLOPs, and the hours by the speed of a few steps of each model.
 * Prepares, trains and writes nothing. Throws ConfigError for errors in the suite.
 *
 * @example
 * const { runs, flops } = await planModels({ suite: findSuite('demo'), out: 'runs/demo' });
 * console.log(runs, flops > 1e12); // 3 true
 */
export async function planModels(
  options: CompareOptions & { onModel?: (done: number, of: number) => void },
): Promise<ComparisonPlan> {
  const { onNotice = () => {}, precision = 'auto', backend: name, signal } = options;
  const suite = limited(options.suite, options.maxSteps);
  const seeds = options.seeds ?? suite.seeds;
  const data = options.data ?? suite.data;
  const vocabSize = await vocabularyOf(data, options);
  // Errors in the suite are reported before the backend is opened.
  planComparison(suite, seeds, vocabSize, 'f32');
  const { backend } = await openRuntime({ precision, backend: name }, onNotice);
  const planned = planComparison(suite, seeds, vocabSize, backend.precision);
  const models: (PlannedModel & { seconds: number })[] = [];
  for (const model of planned) {
    signal?.throwIfAborted();
    options.onModel?.(models.length, planned.length);
    models.push({ ...model, seconds: await plannedSeconds(model, backend, nodeClock) });
  }
  const sum = (of: (model: (typeof models)[number]) => number) =>
    models.reduce((all, model) => all + of(model), 0);
  return {
    backend: backend.description,
    models,
    runs: sum(({ runs }) => runs),
    pilots: sum(({ pilots }) => pilots),
    flops: sum(({ flops }) => flops),
    seconds: sum(({ seconds }) => seconds),
  };
}

/** Ids of a suite's texts, whose tokenizer says how many, or of prepared data. */
async function vocabularyOf(
  data: string | CompareOptions['suite']['data'],
  { dtype }: CompareOptions,
): Promise<number> {
  if (data === null) return GPT2_VOCABULARY;
  if (typeof data !== 'string') {
    const { tokenizer } = data;
    if (tokenizer.startsWith('bpe:')) return Number(tokenizer.slice('bpe:'.length));
    const { tokenizerInFile } = await import('../data/hub/huggingface-texts.js');
    const named = TOKENIZER_NAMES.some((name) => name === tokenizer);
    return (await (named ? createTokenizer(tokenizer) : tokenizerInFile(tokenizer))).vocabSize;
  }
  await using opened = await openDataset(data, { dtype });
  return opened.vocabSize ?? GPT2_VOCABULARY;
}
