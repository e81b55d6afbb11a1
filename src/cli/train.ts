/** `loopnn train`: trains a model on prepared data, or continues a run. */
import type { Command } from 'commander';
import type { BackendName } from '../node/backend.js';
import type { IntegerType } from '../formats/integers.js';
import { modelFields } from '../models/config.js';
import { modelCost } from '../models/cost.js';
import { type RunResult, trainingFlopsPerToken } from '../experiments/result.js';
import { trainRun } from '../operations/train.js';
import { trainFields } from '../train/config.js';
import { DATA_SOURCES, dtypeOption } from './data.js';
import { givenFields, wholeNumber } from './flags.js';
import { examples } from './help.js';
import { interruptible } from './interrupt.js';
import { evalLoopsOption, watched, watchOption } from './watched.js';
import { grouped, notice, Progress, printResult } from './output.js';
import { addConfigFlags, backendOption } from './runtime.js';
import { together } from './together.js';
import { TrainingProgress } from './training.js';
import type { Peers } from '../train/peers.js';

interface TrainFlags extends Record<string, unknown> {
  readonly data: string;
  readonly preset?: string;
  readonly config?: string;
  readonly dtype?: IntegerType;
  readonly out: string;
  readonly resume?: true;
  readonly backend?: BackendName;
  readonly tensorboard?: true;
  readonly shardOptimizer?: true;
  readonly verifyEvery?: number;
  readonly evalLoops?: readonly number[];
  readonly watch?: true;
  readonly json?: true;
}

export function trainCommand(program: Command): void {
  const command = program
    .command('train')
    .description('train a model on prepared data, or resume a run')
    .requiredOption('--data <path>', DATA_SOURCES)
    .addOption(dtypeOption())
    .requiredOption('--out <run>', 'folder of the run to make, or to resume')
    .option(
      '--resume',
      'continue the run in --out from its last checkpoint; training fields and the dropout may change',
    )
    .option(
      '--tensorboard',
      'log for TensorBoard too, beside metrics.jsonl; a resumed run continues such a log without this flag',
    )
    .option('--shard-optimizer', 'with many processes, each holds a part of the optimizer’s moments (ZeRO-1)')
    .option(
      '--verify-every <n>',
      'with many processes, updates between comparisons of their weights; 0 for none',
      wholeNumber(0),
      100,
    )
    .addOption(backendOption())
    .addOption(evalLoopsOption())
    .addOption(watchOption())
    .option('--json', 'print one JSON document at the end')
    .addHelpText(
      'after',
      examples(
        'npx loopnn prepare sotu --out data/sotu --tokenizer bytes',
        'npx loopnn train --preset mini-1x2 --data data/sotu --out runs/sotu',
        'npx loopnn train --data data/sotu --out runs/sotu --resume --max-steps 4000',
      ),
    );
  addConfigFlags(command).action((flags: TrainFlags) =>
    together((peers) => interruptible((signal) => train(flags, peers, signal))),
  );
}

async function train(flags: TrainFlags, peers: Peers | null, signal: AbortSignal): Promise<void> {
  const {
    data,
    dtype,
    out,
    preset,
    config,
    resume,
    tensorboard,
    shardOptimizer,
    verifyEvery,
    evalLoops,
    backend: engine,
  } = flags;
  await using _page = await watched(flags.watch, out, peers);
  // Launchers hand it on to all processes; without a listener Node would wait for a debugger.
  let save = () => {};
  const saveSoon = () => save();
  process.on('SIGUSR1', saveSoon);
  using _listener = { [Symbol.dispose]: () => process.off('SIGUSR1', saveSoon) };
  const progress = new Progress('training');
  let scoring: Progress | null = null;
  let training: TrainingProgress | null = null;
  let steps = 0;
  const { result, report, ...summary } = await trainRun({
    ...{
      data,
      dtype,
      out,
      preset,
      config,
      resume,
      backend: engine,
      tensorboard,
      shardOptimizer,
      verifyEvery,
      evalLoops,
      signal,
    },
    ...(peers ? { peers } : {}),
    model: givenFields(flags, modelFields),
    train: givenFields(flags, trainFields),
    onStart: ({ config: { model, train }, step, backend, saveSoon }) => {
      save = saveSoon;
      const cost = modelCost(model);
      notice(`${grouped(cost.parameters.total)} parameters, ${cost.applications} block applications`);
      notice(peers ? `${backend}, on each of ${peers.size} processes` : backend);
      steps = train.maxSteps;
      const flops = (updates: number) => updates * trainingFlopsPerToken({ model, train }, updates);
      training = new TrainingProgress(progress, steps, step, flops);
    },
    onEvent: (event) => training!.show(event),
    onScoring: (fraction) => {
      progress.clear();
      scoring ??= new Progress('scoring');
      scoring.update(fraction, 'all exits and a sample follow');
    },
    onNotice: (line) => progress.line(line),
  });
  (scoring as Progress | null)?.clear();
  progress.clear();
  const tokensPerSecond = (training as TrainingProgress | null)?.speed.tokensPerSecond ?? null;
  const document = { ...summary, tokensPerSecond, heldOutLoss: result?.valLoss ?? null, report };
  const on = engine === undefined ? '' : ` --backend ${engine}`;
  printResult(flags.json === true, document, () => [
    `${out}: step ${summary.step} of ${steps}${lossesInWords(summary.valLoss, result)}`,
    ...(report === null ? [] : [`report: ${report}`]),
    ...(summary.finished ? [] : [`resume with: loopnn train --data ${data} --out ${out} --resume${on}`]),
  ]);
}

/** The losses at the end, each with what it was measured on. */
function lossesInWords(valLoss: number | null, result: RunResult | null): string {
  if (valLoss === null) return '';
  const fixed = `, validation loss ${valLoss.toFixed(4)} on fixed batches`;
  if (!result) return fixed;
  return `${fixed}, ${result.valLoss.toFixed(4)} on ${grouped(result.heldOut!.tokens)} held-out tokens`;
}
