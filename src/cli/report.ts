/** `loopnn report`: the page of finished runs, side by side. */
import type { Command } from 'commander';
import { reportRuns } from '../operations/report.js';
import { renderTables } from './compare.js';
import { notice, printResult, writePage } from './output.js';

interface ReportFlags {
  readonly out: string;
  readonly baseline?: string;
  readonly json?: true;
}

export function reportCommand(program: Command): void {
  program
    .command('report')
    .description('set finished runs side by side, on the same page as a comparison’s')
    .argument('<runs...>', 'folders of finished runs, or of comparisons, all of whose runs are taken')
    .option('--out <file>', 'the page', 'report.html')
    .option('--baseline <run>', 'the run that all others are set against; the first by default')
    .option('--json', 'print one JSON document')
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
