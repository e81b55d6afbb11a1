/** `loopnn retrofit`: makes a loop network of a GPT-2, ready to train on. */
import { join } from 'node:path';
import { type Command, Option } from 'commander';
import { requireNewFolder, writeNewFolder } from '../node/new-folder.js';
import type { NodeStore } from '../node/store.js';
import { TensorFiles } from '../data/hub/tensor-files.js';
import { ConfigError } from '../errors.js';
import { elementCount } from '../formats/lazy-tensors.js';
import { applicationCount, type ModelConfig, modelFields } from '../models/config.js';
import { parseGroups, parseLayers, retrofitConfig, retrofitTensors } from '../convert/retrofit.js';
import { saveInitialWeights, weightsFile } from '../train/checkpoint.js';
import { parseRunConfig } from '../train/config.js';
import { createRun } from '../train/run.js';
import { wholeNumber } from './flags.js';
import { interruptible } from './interrupt.js';
import { counted, grouped, notice, printResult } from './output.js';
import { openRun } from '../node/run.js';

interface RetrofitFlags {
  readonly model: string;
  readonly out: string;
  readonly layers?: string;
  readonly average?: string;
  readonly loops: number;
  readonly innerLoops: number;
  readonly prelude: number;
  readonly coda: number;
  readonly loopForm: ModelConfig['loopForm'];
  readonly gate: ModelConfig['gate'];
  readonly json?: true;
}

export function retrofitCommand(program: Command): void {
  const { loopForm, gate } = modelFields;
  program
    .command('retrofit')
    .description('make a loop network of a GPT-2, starting as near to it as the loop form allows')
    .requiredOption('--model <run>', 'folder of a GPT-2’s run, trained or imported')
    .requiredOption('--out <run>', 'folder of the new run; train it with: loopnn train --resume')
    .option('--layers <list>', 'layers to keep, in order: 0-5 or 0,2,4-6; all by default')
    .option('--average <groups>', 'layers that are each the mean of several instead: 0-1,2-3 or 0+6,1+7')
    .option(
      '--loops <n>',
      'loops over the stack; these or the inner ones must be 2 or more',
      wholeNumber(1),
      1,
    )
    .option('--inner-loops <n>', 'loops over each layer', wholeNumber(1), 1)
    .option('--prelude <n>', modelFields.nPrelude.help, wholeNumber(0), 0)
    .option('--coda <n>', modelFields.nCoda.help, wholeNumber(0), 0)
    .addOption(
      new Option('--loop-form <form>', loopForm.help).choices(loopForm.choices).default('correction'),
    )
    .addOption(new Option('--gate <kind>', gate.help).choices(gate.choices).default(gate.default))
    .option('--json', 'print one JSON document')
    .action((flags: RetrofitFlags) => interruptible((signal) => retrofit(flags, signal)));
}

async function retrofit(flags: RetrofitFlags, signal: AbortSignal): Promise<void> {
  const { model: run, out, loopForm, gate } = flags;
  await requireNewFolder(out, '--out');
  const opened = await openRun(run);
  const { store, config: original } = opened;
  const groups = chosenLayers(flags, original.model);
  const model = retrofitConfig(original.model, groups, {
    nLoop: flags.loops,
    nInnerLoop: flags.innerLoops,
    nPrelude: flags.prelude,
    nCoda: flags.coda,
    loopForm,
    gate,
  });
  const tokenizer = await opened.ownTokenizer();
  const conventions = await opened.conventions();
  const { path, step } = await weightsFile(store, signal);
  await using weights = await TensorFiles.open([join(run, path)]);
  const tensors = retrofitTensors(model, groups, weights.tensors, path);

  const config = parseRunConfig({ model, train: original.train }, run);
  const write = async (target: NodeStore) => {
    await saveInitialWeights(target, tensors);
    await createRun(target, config, tokenizer, conventions);
  };
  await writeNewFolder(out, '--out', write, signal);
  const left = original.model.nLayer - new Set(groups.flat()).size;
  if (left > 0) notice(`left out of the ${counted(original.model.nLayer, 'layer')}: ${left}`);
  if (loopForm === 'output') {
    notice('loop form output: starts with the embedding counted once too often; correction starts exactly');
  }
  const parameters = tensors.reduce((sum, { shape }) => sum + elementCount(shape), 0);
  const applications = applicationCount(model);
  const document = { run: out, from: run, step, model, layers: groups, parameters, applications };
  printResult(flags.json === true, document, () => [
    `${out}: ${counted(model.nLayer, 'layer')}, ${counted(applications, 'block application')}, ${grouped(parameters)} parameters`,
  ]);
}

function chosenLayers({ layers, average }: RetrofitFlags, { nLayer }: ModelConfig): number[][] {
  if (layers !== undefined && average !== undefined) {
    throw new ConfigError('--average', 'must not be given together with --layers', average);
  }
  if (average !== undefined) return parseGroups(average, '--average');
  return parseLayers(layers ?? `0-${nLayer - 1}`, '--layers');
}
