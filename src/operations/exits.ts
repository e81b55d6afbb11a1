/** The cost and savings of early exit in a run's model: `loopnn exits`, and `measureExits` of the library. */
import { type OptionNames, requireOptionNames } from '../fields.js';
import { openDataset } from '../data/dataset.js';
import { type ExitSweep, type ExitSweepOptions, sweepExits } from '../experiments/exits.js';
import type { IntegerType } from '../formats/integers.js';
import { openRun } from '../node/run.js';
import { nodeClock } from '../node/store.js';
import { noticeLoops, type OpenOptions, openModel } from './open.js';

export interface MeasureExitsOptions
  extends Partial<ExitSweepOptions>,
    Pick<OpenOptions, 'backend' | 'precision'> {
  /** Folder of a trained run. */
  readonly model: string;
  /** Held-out tokens: the val split of a folder, or the whole of a file. */
  readonly data: string;
  /** Type of the ids in data without a header. */
  readonly dtype?: IntegerType | undefined;
  /** Receives one line about anything unusual. */
  readonly onNotice?: (line: string) => void;
}

const EXITS_OPTIONS: OptionNames<MeasureExitsOptions> = {
  model: true,
  data: true,
  dtype: true,
  criteria: true,
  thresholds: true,
  points: true,
  loops: true,
  B: true,
  maxTokens: true,
  tolerance: true,
  backend: true,
  precision: true,
  onProgress: true,
  onNotice: true,
};

export interface MeasuredExits extends ExitSweep {
  /** Update that the weights are from. */
  readonly step: number;
  readonly backend: string;
}

/** Default thresholds, sequences, tokens and nats. */
export const EXIT_DEFAULTS = { points: 8, B: 8, maxTokens: 16_384, tolerance: 0.01 } as const;

/**
 * Loss against mean loops and time when tokens exit early, by criterion and threshold, beside full depth and every
 * smaller loop count.
 *
 * @throws ConfigError for criteria or thresholds that the model does not have; DataError for data of another tokenizer
 *
 * @example
 * const { criteria } = await measureExits({ model: 'runs/mine', data: 'data/mine', maxTokens: 1024, points: 4 });
 * console.log(criteria.map(({ criterion, best }) => [criterion, best?.threshold]));
 */
export async function measureExits(options: MeasureExitsOptions): Promise<MeasuredExits> {
  requireOptionNames('measureExits', options, EXITS_OPTIONS);
  const { model: folder, data: path, dtype, backend, precision, onNotice = () => {}, ...sweep } = options;
  await using data = await openDataset(path, { dtype });
  const run = await openRun(folder);
  await run.requireSameTokenizer(data.tokenizer);
  const { model, config, step } = await openModel(run, { backend, precision }, onNotice);
  try {
    noticeLoops(config.model, sweep.loops, onNotice);
    const source = data.file ?? data.val;
    const measured = await sweepExits(model, source, { ...EXIT_DEFAULTS, ...sweep }, nodeClock);
    return { step, backend: model.runtime.backend.description, ...measured };
  } finally {
    model.dispose();
    model.runtime.pool.trim();
  }
}
