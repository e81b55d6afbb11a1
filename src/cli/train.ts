/** `loopnn train`: trains a model on prepared data, or continues a run. */
import type { Command } from 'commander';
import { NodeStore, nodeClock } from '../node/store.js';
import { type Dataset, openDataset } from '../data/dataset.js';
import type { TokenShard } from '../data/shard.js';
import { ConfigError } from '../errors.js';
import type { IntegerType } from '../formats/integers.js';
import { modelFields } from '../models/config.js';
import { modelCost } from '../models/cost.js';
import { GPT } from '../models/gpt.js';
import { resumableStep } from '../train/checkpoint.js';
import { overrideTrain, parseRunConfig, type RunConfig, trainFields } from '../train/config.js';
import { worseThanGuessing } from '../evaluate/evaluation.js';
import { gapsOf } from '../train/metrics.js';
import { hasTensorBoard, TensorBoardLog } from '../train/tensorboard.js';
import { createRun, runExists, Run } from '../train/run.js';
import { Trainer } from '../train/trainer.js';
import type { EvalEvent } from '../train/events.js';
import { DATA_SOURCES, dtypeOption } from './data.js';
import { givenFields, kebab } from './flags.js';
import { interruptible } from './interrupt.js';
import { grouped, notice, Progress, printResult } from './output.js';
import { addConfigFlags, configFromFlags, openRuntime, withPrecision } from './runtime.js';
import { TrainingProgress } from './training.js';

/** Up to four epochs teach almost as much as new text (Muennighoff et al. 2023). */
const MOST_EPOCHS = 4;

interface TrainFlags extends Record<string, unknown> {
  readonly data: string;
  readonly dtype?: IntegerType;
  readonly out: string;
  readonly resume?: true;
  readonly tensorboard?: true;
  readonly json?: true;
}

export function trainCommand(program: Command): void {
  const command = program
    .command('train')
    .description('train a model on prepared data')
    .requiredOption('--data <path>', DATA_SOURCES)
    .addOption(dtypeOption())
    .requiredOption('--out <run>', 'folder of the run')
    .option(
      '--resume',
      'continue the run in --out from its last checkpoint; training fields and the dropout may be changed',
    )
    .option(
      '--tensorboard',
      'log for TensorBoard too, beside metrics.jsonl; a resumed run that has such a log continues it',
    )
    .option('--json', 'print one JSON document at the end');
  addConfigFlags(command).action((flags: TrainFlags) => interruptible((signal) => train(flags, signal)));
}

async function train(flags: TrainFlags, signal: AbortSignal): Promise<void> {
  const store = new NodeStore(flags.out);
  await requireOut(store, flags);
  await using data = await openDataset(flags.data, flags);
  const begun = flags.resume
    ? null
    : configFromFlags(flags, data.vocabSize === null ? {} : { vocabSize: data.vocabSize });
  if (begun) requireKnown(data, begun, flags);
  if (begun && data.vocabSize === null) await noticeVocabulary(data.train, begun.model.vocabSize);

  await using _lock = await store.lock();
  // Until it was locked another process may have trained there.
  await requireOut(store, flags);
  const resumed = flags.resume ? await Run.open(store, flags.out) : null;
  const wanted = begun ?? resumedConfig(resumed!.config, flags);
  requireKnown(data, wanted, flags);
  const runtime = await openRuntime(wanted.train.precision);
  const config = withPrecision(wanted, runtime);
  const model = new GPT(config.model, runtime, { train: true });
  const options = { model, config: config.train, train: data.train, val: data.val, store, clock: nodeClock };
  const trainer = new Trainer(options);
  await resumed?.requireSameTokenizer(data.tokenizer);
  const gaps = gapsOf(await trainer.start(signal));
  if (gaps !== null) notice(`${flags.out}/${gaps}`);
  await createRun(store, config, data.tokenizer);
  const logged = flags.tensorboard === true || (flags.resume === true && (await hasTensorBoard(store)));
  const tensorboard = logged
    ? await TensorBoardLog.open(store, trainer.progress, config, () => Date.now() / 1000)
    : null;

  const cost = modelCost(config.model);
  notice(`${grouped(cost.parameters.total)} parameters, ${cost.applications} block applications`);
  notice(`${runtime.backend.description}`);
  noticeEpochs(data.train, config);
  const from = trainer.step;
  const progress = new Progress('training');
  const training = new TrainingProgress(progress, config.train.maxSteps, from);
  let lastEval: EvalEvent | null = null;
  for await (const event of trainer.run(signal)) {
    await tensorboard?.write(event);
    training.show(event);
    if (event.kind === 'eval') lastEval = event;
  }
  progress.clear();
  const finished = trainer.step >= config.train.maxSteps;
  const worse =
    finished && lastEval
      ? worseThanGuessing(lastEval.valLoss, data.vocabSize ?? config.model.vocabSize)
      : null;
  if (worse !== null) {
    notice(
      `${flags.out}: validation loss ${lastEval!.valLoss.toFixed(4)} is ${worse}: try a lower --lr, or more steps`,
    );
  }
  const document = {
    run: flags.out,
    step: trainer.step,
    finished,
    trainLoss: lastEval?.trainLoss ?? null,
    valLoss: lastEval?.valLoss ?? null,
    bestValLoss: trainer.progress.bestValLoss,
    tokensPerSecond: training.speed.tokensPerSecond,
    tokensSeen: trainer.progress.tokensSeen,
  };
  printResult(flags.json === true, document, () => {
    const loss = lastEval ? `, validation loss ${lastEval.valLoss.toFixed(4)}` : '';
    return [`${flags.out}: step ${trainer.step} of ${config.train.maxSteps}${loss}`];
  });
}

/** Says where the ids look like those of a much smaller vocabulary than the model's: nobody else knows it. */
async function noticeVocabulary(train: TokenShard, vocabSize: number): Promise<void> {
  const [stretches, length] = [64, Math.min(1024, train.length)];
  let largest = 0;
  for (let i = 0; i < stretches; i++) {
    const at = Math.floor((i / (stretches - 1)) * (train.length - length));
    for (const id of await train.read(at, length)) if (id > largest) largest = id;
  }
  if (2 * (largest + 1) > vocabSize) return;
  notice(
    `no id that was looked at is above ${largest}, and the model has ${vocabSize}: ` +
      `if the vocabulary is small, give --vocab-size ${largest + 1}`,
  );
}

/** Says where a training reads its tokens more often than they teach anything new. */
function noticeEpochs({ length }: TokenShard, { model, train }: RunConfig): void {
  const read = train.maxSteps * train.batchSize * train.gradAccumSteps * model.blockSize;
  if (read <= MOST_EPOCHS * length) return;
  const times = `${grouped(Math.round(read / length))} times`;
  notice(
    `${grouped(train.maxSteps)} steps read the ${grouped(length)} tokens of the training split ${times} over`,
  );
}

/** Throws ConfigError where `--out` holds a run and none is to be continued, or the other way round. */
async function requireOut(store: NodeStore, { out, resume }: TrainFlags): Promise<void> {
  // A run that failed before its first checkpoint may be started again.
  const exists = (await runExists(store)) && (resume === true || (await resumableStep(store)) !== null);
  if (exists && !resume) {
    throw new ConfigError('--out', 'must not hold a run yet', out, 'add --resume to continue it');
  }
  if (!exists && resume) throw new ConfigError('--resume', 'needs a run in --out', out);
}

/** Throws ConfigError where the data has ids that the model does not know. */
function requireKnown(data: Dataset, { model: { vocabSize } }: RunConfig, flags: TrainFlags): void {
  const largest = data.meta?.largestId ?? (data.vocabSize ?? 0) - 1;
  if (largest < vocabSize) return;
  const rule = `must be below the model's vocabSize = ${vocabSize}`;
  throw new ConfigError(`${flags.data}: largest token id`, rule, largest);
}

/** A run's configuration with the training fields and the dropout given as flags; its weights' shapes can not change. */
function resumedConfig(config: RunConfig, flags: TrainFlags): RunConfig {
  for (const name of ['preset', 'config', ...Object.keys(modelFields)]) {
    if (flags[name] === undefined || name === 'dropout') continue;
    throw new ConfigError(
      `--${kebab(name)}`,
      'can not be given with --resume, the run has its model',
      flags[name],
    );
  }
  return parseRunConfig(
    {
      model: { ...config.model, ...givenFields(flags, { dropout: modelFields.dropout }) },
      train: overrideTrain(config.train, givenFields(flags, trainFields)),
    },
    'flags',
  );
}
