/** `loopnn exits`: the cost in loss and the savings in loops and time of early exit, by criterion and threshold. */
import { type Command, InvalidArgumentError } from 'commander';
import type { BackendName } from '../node/backend.js';
import { machine } from '../node/machine.js';
import { renderHtml } from '../experiments/document.js';
import { exitSections, exitSentences, exitTable } from '../experiments/exits-report.js';
import type { IntegerType } from '../formats/integers.js';
import { EXIT_CRITERIA, type ExitCriterion } from '../models/exits/options.js';
import type { TrainConfig } from '../train/config.js';
import { EXIT_DEFAULTS, measureExits } from '../operations/exits.js';
import { DATA_SOURCES, dtypeOption } from './data.js';
import { anyNumber, wholeNumber } from './flags.js';
import { examples } from './help.js';
import { grouped, notice, paragraph, Progress, printResult, table, writePage } from './output.js';
import { backendOption, precisionOption } from './runtime.js';

interface ExitsFlags {
  readonly model: string;
  readonly data: string;
  readonly dtype?: IntegerType;
  readonly criterion?: ExitCriterion[];
  readonly thresholds?: number[];
  readonly points: number;
  readonly loops?: number;
  readonly batchSize: number;
  readonly maxTokens: number;
  readonly tolerance: number;
  readonly out?: string;
  readonly backend?: BackendName;
  readonly precision: TrainConfig['precision'];
  readonly json?: true;
}

export function exitsCommand(program: Command): void {
  program
    .command('exits')
    .description('measure what early exit costs in loss and saves in loops and time')
    .requiredOption('--model <run>', 'folder of a trained run')
    .requiredOption('--data <path>', `held-out tokens: ${DATA_SOURCES}; of a folder, the val split`)
    .addOption(dtypeOption())
    .option(
      '--criterion <name,…>',
      `some of ${EXIT_CRITERIA.join(', ')}; all that the model has by default`,
      criteria,
    )
    .option('--thresholds <x,…>', 'thresholds of a single --criterion, in place of a sweep', numbers)
    .option('--points <n>', 'thresholds of each criterion’s sweep', wholeNumber(1), EXIT_DEFAULTS.points)
    .option(
      '--loops <n>',
      'loops, steps or layers of full depth; the trained count by default',
      wholeNumber(2),
    )
    .option('--max-tokens <n>', 'tokens to measure on', wholeNumber(1), EXIT_DEFAULTS.maxTokens)
    .option('--batch-size <n>', 'sequences in a forward pass', wholeNumber(1), EXIT_DEFAULTS.B)
    .option(
      '--tolerance <nats>',
      'most loss that the best threshold may add to that of full depth',
      anyNumber,
      EXIT_DEFAULTS.tolerance,
    )
    .option('--out <file>', 'write a page with plots to this file')
    .addOption(backendOption())
    .addOption(precisionOption())
    .option('--json', 'print one JSON document')
    .addHelpText(
      'after',
      examples(
        'npx loopnn prepare sotu --out data/playground \\\n    --tokenizer models/playground/tokenizer.json',
        'npx loopnn exits --model models/playground --data data/playground \\\n    --criterion kl --max-tokens 4096',
      ),
    )
    .action(runExits);
}

async function runExits(flags: ExitsFlags): Promise<void> {
  const { criterion: criteria, batchSize: B, out, json, ...rest } = flags;
  const { model: folder, data: path } = flags;
  const progress = new Progress('exits');
  const onProgress = (fraction: number, what: string) => progress.update(fraction, what);
  const chosen = criteria ? { criteria } : {};
  const { step, backend, ...sweep } = await measureExits({
    ...{ ...rest, ...chosen, B, onProgress },
    onNotice: notice,
  });
  progress.clear();
  const host = machine();
  const held = `${grouped(sweep.tokens)} held-out tokens in ${sweep.batches} batches`;
  printResult(json === true, { model: folder, step, backend, ...sweep }, () => {
    const { header, rows } = exitTable(sweep);
    return [
      ...table(header, rows),
      '',
      `${held}; loss: nats a token;`,
      `time: relative to full depth, ${(1000 * sweep.fullMs).toFixed(1)} µs a token`,
      '',
      ...exitSentences(sweep).flatMap((line) => paragraph(line)),
    ];
  });
  if (out === undefined) return;
  const facts = [
    ['model', `${folder}, step ${step}`],
    ['text', `${path}: ${held}`],
    ['full depth', `${sweep.fixed.length} loops, ${(1000 * sweep.fullMs).toFixed(1)} µs a token`],
    [
      'times',
      'the median over batches of a run’s time over that of full depth, run right before or after it',
    ],
    ['machine', `${host.processor}, ${host.processors} processors, Node ${host.node}, ${host.system}`],
    ['backend', backend],
    ['commit', host.commit ?? 'not a checkout'],
  ] as const;
  await writePage(out, renderHtml(`Early exits of ${folder}`, exitSections(sweep, facts)));
  notice(`page: ${out}`);
}

function criteria(text: string): ExitCriterion[] {
  return text.split(',').map((name) => {
    const known = EXIT_CRITERIA.find((criterion) => criterion === name);
    if (known) return known;
    throw new InvalidArgumentError(`It must be one of ${EXIT_CRITERIA.join(', ')}.`);
  });
}

function numbers(text: string): number[] {
  return text.split(',').map(anyNumber);
}
