/** The cost of a comparison on this machine: `loopnn compare --dry-run`. */
import { requireOptionNames } from '../fields.js';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { openDataset } from '../data/dataset.js';
import { noWarnings } from '../data/corpus/source.js';
import { defaultValFraction } from '../data/holdout.js';
import { DataError } from '../errors.js';
import { planComparison, type PlannedModel, plannedSeconds, timeSteps } from '../experiments/plan.js';
import { nodeClock } from '../node/store.js';
import { createTokenizer, TOKENIZER_NAMES } from '../tokenizer/load.js';
import { COMPARE_OPTIONS, type CompareOptions, GPT2_VOCABULARY, limited } from './compare.js';
import { openRuntime } from './runtime.js';

export interface ComparisonPlan {
  readonly backend: string;
  readonly models: readonly (PlannedModel & { readonly seconds: number })[];
  readonly runs: number;
  readonly pilots: number;
  readonly flops: number;
  /**
   * Held-out tokens that each finished run is scored on. Where the suite's texts are not prepared yet, an estimate from
   * their bytes; null where these are unknown too.
   */
  readonly heldOutTokens: number | null;
  /**
   * On this machine as it is now: training, evaluations, and scores on the held-out tokens if their number is known;
   * without the analysis and the sample of each run, and without the timing of steps in turns.
   */
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
  requireOptionNames('planModels', options, { ...COMPARE_OPTIONS, onModel: true });
  const { onNotice = () => {}, precision = 'auto', backend: name, signal } = options;
  const suite = limited(options.suite, options.maxSteps);
  const seeds = options.seeds ?? suite.seeds;
  const data = options.data ?? suite.data;
  const vocabSize = await vocabularyOf(data, options);
  const heldOutTokens = await heldOutOf(data, options);
  // Errors in the suite are reported before the backend is opened.
  planComparison(suite, seeds, vocabSize, 'f32');
  const { backend } = await openRuntime({ precision, backend: name }, onNotice);
  const planned = planComparison(suite, seeds, vocabSize, backend.precision);
  const models: (PlannedModel & { seconds: number })[] = [];
  for (const model of planned) {
    signal?.throwIfAborted();
    options.onModel?.(models.length, planned.length);
    const timed = await timeSteps(model, backend, nodeClock);
    models.push({ ...model, seconds: plannedSeconds(model, timed, heldOutTokens ?? 0) });
  }
  const sum = (of: (model: (typeof models)[number]) => number) =>
    models.reduce((all, model) => all + of(model), 0);
  return {
    backend: backend.description,
    models,
    runs: sum(({ runs }) => runs),
    pilots: sum(({ pilots }) => pilots),
    flops: sum(({ flops }) => flops),
    heldOutTokens,
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

/** Bytes of English that a token of a learned vocabulary stands for, to estimate with. */
const BYTES_PER_TOKEN = 4;

/** Tokens held out of prepared data, or, by their bytes, of texts; null if those are unknown. */
async function heldOutOf(
  data: string | CompareOptions['suite']['data'],
  { out, dtype }: CompareOptions,
): Promise<number | null> {
  if (data === null) return null;
  const folder = typeof data === 'string' ? data : join(out, 'data');
  if (typeof data === 'string' || (out !== '' && existsSync(join(folder, 'meta.json')))) {
    await using opened = await openDataset(folder, { dtype });
    return opened.val.length;
  }
  const bytes = await bytesOf(data.sources);
  if (bytes === null) return null;
  return Math.round((bytes * defaultValFraction(bytes)) / (data.tokenizer === 'bytes' ? 1 : BYTES_PER_TOKEN));
}

/** Bytes of texts on this machine; null if one is missing, packed or on the hub. */
async function bytesOf(sources: readonly string[]): Promise<number | null> {
  const { isHubSpec } = await import('../data/hub/hub-source.js');
  if (sources.some(isHubSpec)) return null;
  const { openSource } = await import('../data/corpus/corpora.js');
  let bytes = 0;
  try {
    for (const spec of sources) {
      const source = await openSource(spec);
      for await (const { size } of source.documents(noWarnings())) bytes += size ?? Number.NaN;
    }
  } catch (error) {
    if (!(error instanceof DataError)) throw error;
    return null;
  }
  return Number.isNaN(bytes) ? null : bytes;
}
