/** `loopnn report`: the page of finished runs, side by side. */
import type { Command } from 'commander';
import { reportRuns } from '../operations/report.js';
import { renderTables } from './compare.js';
import { examples } from './help.js';
import { notice, printResult, writePage } from './output.js';

interface ReportFlags {
  readonly out: string;
  readonly baseline?: string;
  readonly json?: true;
}

export function reportCommand(program: Command): void {
  program
    .command('report')
    .description('put finished runs side by side, on a page like a comparison’s')
    .argument('<runs...>', 'folders of finished runs, or of comparisons for all their runs')
    .option('--out <file>', 'file of the page', 'report.html')
    .option('--baseline <run>', 'run that the others are compared with; the first by default')
    .option('--json', 'print one JSON document')
    .addHelpText(
      'after',
      examples(
        'npx loopnn compare demo --out runs/demo',
        'npx loopnn report runs/demo --baseline runs/demo/RUN',
      ),
    )
    .action(async (runs: string[], { out, baseline, json }: ReportFlags) => {
      const { html, results, context } = await reportRuns(runs, baseline);
      await writePage(out, html);
      printResult(json === true, { results, warnings: context.missing }, () => [
        ...renderTables(results, context),
        ...context.missing.map((line) => `warning: ${line}`),
      ]);
      notice(`page: ${out}`);
    });
}
