/** The page of finished runs: `train` writes it for its run, and `loopnn report` for several. */
import { readdir } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { ConfigError } from '../errors.js';
import { ComparisonFolder } from '../experiments/comparison-folder.js';
import { renderHtml } from '../experiments/document.js';
import { pilotSteps } from '../experiments/entrants.js';
import { factsOfRuns, type FoundResult, suiteOfRuns } from '../experiments/own-suite.js';
import { type ReportContext, reportSections } from '../experiments/report.js';
import { hasResult, readResult, type RunResult } from '../experiments/result.js';
import { unknownName } from '../fields.js';
import { NodeStore } from '../node/store.js';
import { type Tokenizer, textOf } from '../tokenizer/tokenizer.js';
import { readMetrics } from '../train/metrics.js';
import { Run, runExists } from '../train/run.js';

const PAGE = 'report.html';

export interface RunsReport {
  /** The self-contained page. */
  readonly html: string;
  readonly results: readonly RunResult[];
  /** The data of the page. */
  readonly context: ReportContext;
}

/**
 * The page of finished runs, the same as a comparison's; of a comparison's folder it takes every finished run. All runs
 * are compared with `baseline`, by default the first.
 *
 * @throws CheckpointError if a folder has no finished run
 *
 * @example
 * const { html, results } = await reportRuns(['runs/mine']);
 * console.log(`${results.length} run, ${html.length} characters`);
 */
export async function reportRuns(runs: readonly string[], baseline?: string): Promise<RunsReport> {
  const found: FoundResult[] = [];
  for (const run of runs) found.push(...(await resultsIn(run)));
  if (found.length === 0) throw new ConfigError('runs', 'must name a finished run at least', 0);
  const names = found.map(({ run }) => run);
  if (baseline !== undefined && !names.includes(baseline)) {
    throw unknownName('--baseline', 'run', baseline, names);
  }
  const title = found.length === 1 ? names[0] : `${found.length} runs`;
  const tokenizer = await Run.open(new NodeStore(names[0]), names[0]).then((run) => run.ownTokenizer());
  return pageOf(found, title, tokenizer, baseline);
}

/** Writes the page of one run into its folder; returns its path. */
export async function writeRunReport(
  store: NodeStore,
  run: string,
  result: RunResult,
  tokenizer: Tokenizer | null,
): Promise<string> {
  const { html } = pageOf([{ run, result }], basename(resolve(run)), tokenizer);
  await store.replace(PAGE, html);
  return join(run, PAGE);
}

function pageOf(
  found: readonly FoundResult[],
  title: string,
  tokenizer: Tokenizer | null,
  baseline?: string,
): RunsReport {
  const { suite, results } = suiteOfRuns(found, title, baseline);
  const { facts, warnings } = factsOfRuns(results);
  // The token's text inside a text: decoded after itself.
  const tokenText = (id: number) => (tokenizer ? textOf(tokenizer, id, id) : String(id));
  const context: ReportContext = { suite, facts, timings: [], missing: warnings, tokenText };
  return { html: renderHtml(title, reportSections(results, context)), results, context };
}

/** The result of a run, or those of a comparison's runs. */
async function resultsIn(folder: string): Promise<FoundResult[]> {
  const store = new NodeStore(folder);
  if (await hasResult(store)) return [{ run: folder, result: await readResult(store, folder) }];
  if (await runExists(store)) {
    const comparison = dirname(resolve(folder));
    if ((await ComparisonFolder.note(new NodeStore(comparison))) !== null) {
      const name = join(folder, '..');
      const hint = `report the comparison, loopnn report ${name}, or continue it, loopnn compare … --out ${name}`;
      throw new ConfigError(folder, 'must be a finished run, with its scores', await unfinished(store), hint);
    }
    const hint = `it is scored when it is finished: loopnn train --out ${folder} --resume --data DATA`;
    throw new ConfigError(folder, 'must be a finished run, with its scores', undefined, hint);
  }
  const found: FoundResult[] = [];
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => []);
  for (const { name } of entries.filter((entry) => entry.isDirectory())) {
    const run = join(folder, name);
    const inside = store.within(name);
    if (await hasResult(inside)) found.push({ run, result: await readResult(inside, run) });
  }
  if (found.length > 0) return found;
  throw new ConfigError(folder, 'must be a finished run, or the folder of a comparison');
}

/** What an unfinished run of a comparison is, in words. */
async function unfinished(store: NodeStore): Promise<string> {
  const { train } = (await Run.open(store, store.folder)).config;
  const { events } = await readMetrics(store);
  const step = events.at(-1)?.step ?? 0;
  const done = `${step} of ${train.maxSteps} steps`;
  return step === pilotSteps(train) ? `a pilot, which tried a learning rate for ${done}` : `a run of ${done}`;
}
