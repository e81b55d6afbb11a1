/** `loopnn inspect`: what a model does to each token of a text, loop by loop. */
import type { Command } from 'commander';
import { describedParts, gateNorm, type Inspection } from '../experiments/inspect.js';
import { visible } from '../printable.js';
import { renderInspection } from '../experiments/inspect-page.js';
import type { BackendName } from '../node/backend.js';
import { inspectText } from '../operations/inspect.js';
import type { TrainConfig } from '../train/config.js';
import { anyNumber, wholeNumber } from './flags.js';
import { examples } from './help.js';
import { notice, paragraph, printResult, table, writePage } from './output.js';
import { backendOption, precisionOption } from './runtime.js';

interface InspectFlags {
  readonly model: string;
  readonly prompt: string;
  readonly loops?: number;
  readonly top: number;
  readonly exitThreshold: number;
  readonly html?: string;
  readonly backend?: BackendName;
  readonly precision: TrainConfig['precision'];
  readonly json?: true;
}

export function inspectCommand(program: Command): void {
  program
    .command('inspect')
    .description('print predictions, losses and movement of each token of a text, loop by loop')
    .requiredOption('--model <run>', 'folder of a trained run')
    .requiredOption('--prompt <text>', 'text to inspect')
    .option('--loops <n>', 'loops, steps or layers to run; all by default', wholeNumber(1))
    .option('--top <k>', 'predictions to list at each exit', wholeNumber(1), 3)
    .option(
      '--exit-threshold <p>',
      'probability above which a prediction counts as confident',
      anyNumber,
      0.9,
    )
    .option('--html <file>', 'write a page to this file too')
    .addOption(backendOption())
    .addOption(precisionOption())
    .option('--json', 'print one JSON document')
    .addHelpText(
      'after',
      examples(
        'npx loopnn inspect --model models/playground --prompt "what we can do for"',
        'npx loopnn inspect --model models/playground --prompt Peace --html page.html',
      ),
    )
    .action(async ({ html, json, exitThreshold: threshold, ...flags }: InspectFlags) => {
      const { model, prompt } = flags;
      const inspection = await inspectText({ ...flags, threshold, onNotice: notice });
      if (html !== undefined) await writePage(html, renderInspection(inspection, `${model}: ${prompt}`));
      printResult(json === true, { model, prompt, ...inspection }, () => renderTable(inspection));
      if (html !== undefined) notice(`page: ${html}`);
    });
}

/** An inspection as a table and its legend, without columns that the model has nothing for. */
export function renderTable(inspection: Inspection, width?: number): string[] {
  const { unit, tokens, threshold, gates, loopParts, stateRms } = inspection;
  const many = tokens[0].exits.length > 1;
  const moves = tokens[0].exits[0].relative !== null || many;
  const rows = tokens.flatMap(({ text, exits, confidentAt, haltsAt }) =>
    exits.map((exit, n) => {
      const stops = [
        ...(haltsAt === n + 1 ? ['halts'] : []),
        ...(confidentAt === n + 1 ? ['confident'] : []),
      ];
      return [
        n === 0 ? visible(text) : '',
        ...(many ? [String(n + 1)] : []),
        exit.top.map((p) => `${visible(p.text)} ${(100 * p.probability).toFixed(1)} %`).join('  '),
        exit.loss?.toFixed(3) ?? '–',
        ...(moves ? [exit.relative?.toFixed(3) ?? '–', exit.cosine?.toFixed(3) ?? '–'] : []),
        ...(many ? [stops.join(', ')] : []),
      ];
    }),
  );
  const header = [
    'token',
    ...(many ? [unit] : []),
    'predictions',
    'loss',
    ...(moves ? ['moved', 'cosine'] : []),
    ...(many ? ['exit'] : []),
  ];
  const legend = [
    'loss: nats of the token that follows',
    ...(moves
      ? [
          `moved: ‖change‖/‖state‖ in the ${unit}`,
          `cosine: between the states before and after the ${unit}; 1: same direction, 0: right angle`,
        ]
      : []),
    ...(many ? [`confident: first ${unit} whose best prediction exceeds ${threshold}`] : []),
  ];
  const learned = Object.entries(gates).map(
    ([name, loops]) =>
      `${name}: ${loops.map((g) => `${g.mean.toFixed(3)} (norm ${gateNorm(g).toFixed(3)})`).join(', ')}`,
  );
  const parts = describedParts(loopParts).map(([name, values]) => `${name}: ${values}`);
  return [
    ...table(header, rows, width),
    '',
    ...legend.flatMap((line) => paragraph(line, width)),
    ...(learned.length > 0
      ? ['gates by loop, mean and norm/√C:', ...learned.map((line) => `  ${line}`)]
      : []),
    ...(parts.length > 0
      ? ['parts of the loops, mean (least to largest):', ...parts.map((line) => `  ${line}`)]
      : []),
    ...(stateRms.length > 1
      ? [`state after each ${unit}, root mean square: ${stateRms.map((x) => x.toFixed(3)).join(', ')}`]
      : []),
  ];
}
