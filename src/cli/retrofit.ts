/** `loopnn retrofit`: makes a loop network of a GPT-2, ready to train on. */
import { type Command, Option } from 'commander';
import { type ModelConfig, modelFields } from '../models/config.js';
import { RETROFIT_INJECTIONS } from '../convert/retrofit.js';
import { retrofitModel } from '../operations/retrofit.js';
import { wholeNumber } from './flags.js';
import { examples } from './help.js';
import { interruptible } from './interrupt.js';
import { counted, grouped, notice, printResult } from './output.js';

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
  readonly inputInjection?: ModelConfig['inputInjection'];
  readonly loopEmbedding?: true;
  readonly hyperConnections?: ModelConfig['hyperConnections'];
  readonly nStream?: number;
  readonly json?: true;
}

export function retrofitCommand(program: Command): void {
  const { loopForm, gate, loopEmbedding, hyperConnections, nStream } = modelFields;
  program
    .command('retrofit')
    .description('make a loop network from a GPT-2, as close to it as the loop form allows')
    .requiredOption('--model <run>', 'folder of a GPT-2’s run, trained or imported')
    .requiredOption('--out <run>', 'folder of the new run; loopnn train --resume trains it further')
    .option('--layers <list>', 'layers to keep, in order: 0-5 or 0,2,4-6; all by default')
    .option(
      '--average <groups>',
      'groups of layers to average into one layer each, in place of --layers: 0-1,2-3 or 0+6,1+7',
    )
    .option(
      '--loops <n>',
      'loops over the stack; this or --inner-loops must be at least 2',
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
    .addOption(
      new Option(
        '--input-injection <kind>',
        'how every loop meets the stack’s first input e again; scalars: λx + μe, the one kind that starts as the GPT-2',
      ).choices(RETROFIT_INJECTIONS),
    )
    .option('--loop-embedding', loopEmbedding.help)
    .addOption(
      new Option('--hyper-connections <kind>', hyperConnections.help).choices(hyperConnections.choices),
    )
    .option('--n-stream <n>', nStream.help, wholeNumber(2))
    .option('--json', 'print one JSON document')
    .addHelpText(
      'after',
      examples(
        'npx loopnn import hf:gpt2 --out runs/gpt2',
        'npx loopnn retrofit --model runs/gpt2 --out runs/loops --layers 0-5 --loops 2',
      ),
    )
    .action((flags: RetrofitFlags) => interruptible((signal) => runRetrofit(flags, signal)));
}

async function runRetrofit(flags: RetrofitFlags, signal: AbortSignal): Promise<void> {
  const { json, ...options } = flags;
  const made = await retrofitModel({ ...options, signal, onNotice: notice });
  printResult(json === true, made, () => {
    const parts = [counted(made.model.nLayer, 'layer'), counted(made.applications, 'block application')];
    return [`${made.run}: ${parts.join(', ')}, ${grouped(made.parameters)} parameters`];
  });
}
