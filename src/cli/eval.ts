/** `loopnn eval`: what a trained model makes of held-out tokens, of any text file, or of the last words of texts. */
import { type Command, Option } from 'commander';
import type { BackendName, Weights } from '../node/backend.js';
import { nodeClock } from '../node/store.js';
import { openDataset } from '../data/dataset.js';
import { openPath } from '../data/corpus/documents.js';
import { BROKEN_SHOWN, describeWarnings, noWarnings, textOf } from '../data/corpus/source.js';
import { encodeTextFile } from '../data/corpus/text-file.js';
import { DataError } from '../errors.js';
import type { IntegerType } from '../formats/integers.js';
import { exitCount } from '../models/config.js';
import type { GPT } from '../models/gpt.js';
import type { TrainConfig } from '../train/config.js';
import { type Evaluation, evaluate, type RunOptions } from '../evaluate/evaluation.js';
import {
  cutLastWord,
  type EncodedLastWord,
  encodeLastWord,
  type LastWordEvaluation,
  lastWordLoss,
} from '../evaluate/last-word.js';
import { slidingLoss } from '../evaluate/sliding.js';
import { DATA_SOURCES, dtypeOption } from './data.js';
import { evaluateTasks } from './eval-tasks.js';
import { wholeNumber, wholeNumbers } from './flags.js';
import { examples } from './help.js';
import { grouped, notice, Progress, printResult, table } from './output.js';
import {
  backendOption,
  exitCriterionOption,
  type ExitFlags,
  exitOptions,
  exitThresholdOption,
  noticeLoops,
  openModel,
  precisionOption,
  weightsOption,
} from './runtime.js';
import { openRun } from '../node/run.js';
import type { Run } from '../train/run.js';

interface EvalFlags extends ExitFlags {
  readonly model: string;
  readonly data?: string;
  readonly dtype?: IntegerType;
  readonly text?: string;
  readonly lambada?: string;
  readonly tasks?: string[];
  readonly shots: number;
  readonly delimiter: string;
  readonly split?: 'train' | 'val';
  readonly stride?: number;
  readonly loops?: number[];
  readonly batchSize: number;
  readonly earlyExit: boolean;
  readonly backend?: BackendName;
  readonly precision: TrainConfig['precision'];
  readonly weights: Weights;
  readonly json?: true;
}

/** The options of one pass over the evaluated data. */
type PassOptions = RunOptions & { readonly B: number; readonly onProgress: (fraction: number) => void };

/** The columns that all kinds of evaluation report, besides their own. */
type Result = Pick<Evaluation, 'loops' | 'loss' | 'perplexity' | 'bpb' | 'meanSteps'>;

/** Something to evaluate a model on. */
interface Task<R extends Result> {
  /** Reports what is being read during the work. */
  readonly label: string;
  /** Fields of the JSON document. */
  readonly facts: Record<string, unknown>;
  /** Columns between the loops and the loss. */
  readonly columns: readonly (readonly [header: string, cell: (result: R) => string])[];
  /** The unit per which the loss is counted. */
  readonly unit: 'token' | 'word';
  run(options: PassOptions): Promise<R>;
}

/** The heading of the flags of which one must be given. */
const SCORED = 'What to score (one is required):';

export function evalCommand(program: Command): void {
  const command = program
    .command('eval')
    .description(
      'score a model: loss, perplexity and bits per byte on prepared data, a text file or last words; accuracy on benchmarks',
    )
    .addOption(
      new Option('--data <path>', `tokens of ${DATA_SOURCES}, in consecutive sequences`)
        .conflicts(['text', 'lambada', 'stride'])
        .helpGroup(SCORED),
    )
    .addOption(
      new Option('--text <file>', 'a text file, by a sliding window of the block size')
        .conflicts('lambada')
        .helpGroup(SCORED),
    )
    .addOption(
      new Option(
        '--lambada <file>',
        'the last words of texts, as LAMBADA scores them: the field text of records, or any source of prepare',
      )
        .conflicts('stride')
        .helpGroup(SCORED),
    )
    .addOption(
      new Option(
        '--tasks <file...>',
        'questions in JSON Lines: logs of lm-evaluation-harness, files of DCLM’s CORE, or texts for rolling perplexity',
      )
        .conflicts(['data', 'text', 'lambada', 'stride', 'split', 'dtype'])
        .helpGroup(SCORED),
    )
    .requiredOption('--model <run>', 'folder of a trained run')
    .addOption(dtypeOption().conflicts(['text', 'lambada']))
    .addOption(
      new Option('--shots <n>', 'answered questions shown before each question of CORE')
        .argParser(wholeNumber(0))
        .default(0)
        .conflicts(['data', 'text', 'lambada']),
    )
    .addOption(
      new Option('--delimiter <text>', 'text between a question of CORE and its answer')
        .default(' ')
        .conflicts(['data', 'text', 'lambada']),
    )
    .addOption(
      new Option('--split <name>', 'split of --data to score; val by default, or all of a single file')
        .choices(['val', 'train'])
        .conflicts(['text', 'lambada']),
    )
    .option(
      '--stride <n>',
      'tokens by which the window over --text moves, and which it scores; at most the block size, by default half of it',
      wholeNumber(1),
    )
    .option('--loops <n,…>', 'loops, steps or layers to run, such as 1,2,4; all by default', wholeNumbers)
    .addOption(exitCriterionOption())
    .addOption(exitThresholdOption())
    .option('--no-early-exit', 'let no halting rule stop a token')
    .option('--batch-size <n>', 'sequences in a forward pass', wholeNumber(1), 8)
    .addOption(backendOption())
    .addOption(precisionOption())
    .addOption(weightsOption())
    .option('--json', 'print one JSON document')
    .addHelpText(
      'after',
      examples(
        'npx loopnn prepare sotu --out data/playground \\\n    --tokenizer models/playground/tokenizer.json',
        'npx loopnn eval --model models/playground --data data/playground --loops 1,2,4',
        'npx loopnn eval --model models/playground --text README.md',
      ),
    )
    .action(async (flags: EvalFlags) => {
      const { data, text, lambada, tasks } = flags;
      if (tasks !== undefined) {
        if (!flags.earlyExit) command.error('error: --no-early-exit cannot be used with --tasks');
        await evaluateTasks({ ...flags, tasks });
      } else if (data !== undefined) await evaluateData(flags, data);
      else if (text !== undefined) await evaluateText(flags, text);
      else if (lambada !== undefined) await evaluateLastWords(flags, lambada);
      else command.error('error: one of --data, --text, --lambada and --tasks must be given');
    });
}

async function evaluateData(flags: EvalFlags, path: string): Promise<void> {
  await using data = await openDataset(path, flags);
  const trained = await openRun(flags.model);
  await trained.requireSameTokenizer(data.tokenizer);
  const split = flags.split ?? (data.file === null ? 'val' : 'all');
  const source = split === 'all' ? data.file! : data[split];
  const bytes = split === 'all' ? null : (data.meta?.[split].bytes ?? null);
  await evaluateTask<Evaluation>(trained, flags, (model) => ({
    label: `${split} split`,
    facts: { split },
    columns: [['tokens', ({ tokens }) => grouped(tokens)]],
    unit: 'token',
    run: (options) => evaluate(model, source, { ...options, bytes }, nodeClock),
  }));
}

async function evaluateText(flags: EvalFlags, path: string): Promise<void> {
  const trained = await openRun(flags.model);
  const tokenizer = await trained.tokenizer();
  const { tokens, bytes, warnings } = await encodeTextFile(path, tokenizer);
  for (const line of warnings) notice(line);
  await evaluateTask<Evaluation>(trained, flags, (model) => {
    const { blockSize } = model.config;
    const stride = flags.stride ?? Math.max(1, Math.floor(blockSize / 2));
    return {
      label: path,
      facts: { text: path, bytes, textTokens: tokens.length, window: blockSize, stride },
      columns: [
        ['stride', () => String(stride)],
        ['tokens', (result) => grouped(result.tokens)],
      ],
      unit: 'token',
      run: (options) => slidingLoss(model, tokens, { ...options, bytes, stride }, nodeClock),
    };
  });
}

async function evaluateLastWords(flags: EvalFlags, path: string): Promise<void> {
  const trained = await openRun(flags.model);
  const tokenizer = await trained.tokenizer();
  const warnings = noWarnings();
  const texts: { name: string; text: string }[] = [];
  for await (const document of (await openPath(path)).documents(warnings)) {
    texts.push({ name: document.name, text: await textOf(document) });
  }
  for (const line of describeWarnings(warnings)) notice(line);
  await evaluateTask<LastWordEvaluation>(trained, flags, (model) => {
    const words: EncodedLastWord[] = [];
    const leftOut: string[] = [];
    for (const { name, text } of texts) {
      const cut = cutLastWord(text);
      try {
        if (cut) words.push(encodeLastWord(cut, tokenizer, model.config.blockSize));
        else leftOut.push(`${name} (no word)`);
      } catch (error) {
        if (!(error instanceof DataError)) throw error;
        leftOut.push(`${name} (${error.message})`);
      }
    }
    const more = leftOut.length > BROKEN_SHOWN ? '; …' : '';
    const shown = `${leftOut.slice(0, BROKEN_SHOWN).join('; ')}${more}`;
    if (words.length === 0) {
      const rule = `must hold a last word that fits blockSize = ${model.config.blockSize}`;
      throw new DataError(path, rule, shown || 'no text');
    }
    if (leftOut.length > 0) notice(`skipped ${leftOut.length} of ${texts.length} texts: ${shown}`);
    return {
      label: path,
      facts: { lambada: path, leftOut: leftOut.length + warnings.broken },
      columns: [
        ['words', (result) => grouped(result.words)],
        ['accuracy', ({ accuracy }) => `${(100 * accuracy).toFixed(2)} %`],
      ],
      unit: 'word',
      run: (options) => lastWordLoss(model, words, options, nodeClock),
    };
  });
}

/** Loads the model, runs a task at every requested loop count, and prints the results. */
async function evaluateTask<R extends Result>(
  run: Run,
  flags: EvalFlags,
  makeTask: (model: GPT) => Task<R>,
): Promise<void> {
  const { model, config, step } = await openModel(run, flags);
  const task = makeTask(model);
  const trained = exitCount(config.model);
  const { earlyExit, batchSize: B } = flags;
  const counts = flags.loops ?? [trained];
  const exit = exitOptions(flags);
  for (const loops of counts) model.requireOptions({ loops, earlyExit, ...exit });
  const results: R[] = [];
  for (const loops of counts) {
    noticeLoops(config.model, loops);
    const progress = new Progress(`loops ${loops}`);
    const onProgress = (fraction: number) => progress.update(fraction, task.label);
    results.push(await task.run({ B, loops, earlyExit, onProgress, ...exit }));
    progress.clear();
  }
  const halts = results.some((r) => r.meanSteps !== null);
  const document = {
    model: flags.model,
    step,
    backend: model.runtime.backend.description,
    ...task.facts,
    trainedLoops: trained,
    results,
  };
  printResult(flags.json === true, document, () =>
    table(
      [
        'loops',
        ...task.columns.map(([header]) => header),
        `loss (nats/${task.unit})`,
        'perplexity',
        'bits per byte',
        ...(halts ? ['mean steps'] : []),
      ],
      results.map((r) => [
        `${r.loops}${r.loops === trained ? ' (trained)' : ''}`,
        ...task.columns.map(([, cell]) => cell(r)),
        r.loss.toFixed(4),
        r.perplexity < 1e6 ? r.perplexity.toFixed(2) : r.perplexity.toExponential(2),
        r.bpb === null ? '–' : r.bpb.toFixed(4),
        ...(halts ? [r.meanSteps?.toFixed(2) ?? '–'] : []),
      ]),
    ),
  );
}
