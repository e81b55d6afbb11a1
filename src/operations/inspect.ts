/** What a run's model does to each token of a text: `loopnn inspect`, and `inspectText` of the library. */
import { type OptionNames, requireOptionNames } from '../fields.js';
import { type Inspection, inspect } from '../experiments/inspect.js';
import { openRun } from '../node/run.js';
import { noticeLoops, type OpenOptions, openModel } from './open.js';

export interface InspectTextOptions extends Pick<OpenOptions, 'backend' | 'precision'> {
  /** Folder of a trained run. */
  readonly model: string;
  readonly prompt: string;
  /** Loops, steps or layers to run; all by default. */
  readonly loops?: number | undefined;
  /** Predictions to list at each exit; 3 by default. */
  readonly top?: number;
  /** Probability that counts as confident, in (0, 1); 0.9 by default. */
  readonly threshold?: number;
  /** Receives one line about anything unusual. */
  readonly onNotice?: (line: string) => void;
}

const INSPECT_OPTIONS: OptionNames<InspectTextOptions> = {
  model: true,
  prompt: true,
  loops: true,
  top: true,
  threshold: true,
  backend: true,
  precision: true,
  onNotice: true,
};

/**
 * Predictions, losses and movement of each token of a text, loop by loop; `renderInspection` makes a page of it.
 *
 * @throws ConfigError if the text is empty or longer than the block size; CheckpointError for a damaged run
 *
 * @example
 * const { tokens } = await inspectText({ model: 'runs/mine', prompt: 'Once upon' });
 * console.log(tokens.map(({ text, exits }) => [text, exits.at(-1).top[0].text]));
 */
export async function inspectText(options: InspectTextOptions): Promise<Inspection> {
  requireOptionNames('inspectText', options, INSPECT_OPTIONS);
  const { model: folder, prompt, loops, top = 3, threshold = 0.9, onNotice = () => {} } = options;
  const run = await openRun(folder);
  const { model, config } = await openModel(run, options, onNotice);
  try {
    const tokenizer = await run.tokenizer();
    noticeLoops(config.model, loops, onNotice);
    return await inspect(model, tokenizer, prompt, {
      top,
      threshold,
      ...(loops === undefined ? {} : { loops }),
    });
  } finally {
    model.dispose();
    model.runtime.pool.trim();
  }
}
