/** `loopnn compare`: trains the models of a suite on the same tokens and sets them side by side. */
import { join } from 'node:path';
import type { Command } from 'commander';
import { machine } from '../data/machine.js';
import { NodeStore, nodeClock } from '../data/node-store.js';
import { readPreset } from '../data/presets.js';
import { openDataset } from '../data/shard.js';
import { DataError } from '../errors.js';
import { compare, type Result } from '../experiments/compare.js';
import { comparisonTable, renderReport } from '../experiments/report.js';
import { findSuite, type Suite } from '../experiments/suites.js';
import { parseRunConfig, type RunConfig, type TrainConfig } from '../train/config.js';
import { readRunConfig, runExists } from '../train/run.js';
import { interruptible } from './interrupt.js';
import { duration, grouped, notice, Progress, printResult, table } from './output.js';
import { prepareWithProgress } from './prepare.js';
import { openRuntime, precisionOption, withPrecision } from './runtime.js';
import { showTraining } from './training.js';

/** Tokens of each sample. */
const SAMPLE_TOKENS = 200;

interface CompareFlags {
  readonly suite: string;
  readonly out: string;
  readonly precision: TrainConfig['precision'];
  readonly json?: true;
}

export function compareCommand(program: Command): void {
  program
    .command('compare')
    .description('train the models of a suite on the same tokens and compare them')
    .requiredOption('--suite <name>', 'demo')
    .requiredOption(
      '--out <dir>',
      'folder for the data, the runs and the report; a comparison cut off goes on there',
    )
    .addOption(precisionOption())
    .option('--json', 'print one JSON document at the end')
    .action((flags: CompareFlags) => interruptible((signal) => runComparison(flags, signal)));
}

/** What an interrupted comparison began with, so that it goes on so on any machine; `auto` where there is none. */
async function storedPrecision(first: NodeStore): Promise<TrainConfig['precision']> {
  return (await runExists(first)) ? (await readRunConfig(first, 'compare')).train.precision : 'auto';
}

async function runComparison(
  { suite: suiteName, out, precision, json }: CompareFlags,
  signal: AbortSignal,
): Promise<void> {
  const suite = findSuite(suiteName);
  const dataFolder = join(out, 'data');
  await using _lock = await new NodeStore(out).lock();
  await prepareOnce(suite, dataFolder, signal);
  await using data = await openDataset(dataFolder);
  if (!data.tokenizer || !data.meta)
    throw new DataError(dataFolder, 'must have a tokenizer.json and a meta.json');
  const { vocabSize } = data.meta.tokenizer;
  const stored = await storedPrecision(new NodeStore(join(out, suite.models[0].preset)));
  const runtime = openRuntime(precision === 'auto' ? stored : precision);
  notice(runtime.backend.description);
  const entrants = suite.models.map(({ preset, label }) => ({
    name: preset,
    label,
    config: withPrecision(entrantConfig(suite, preset, vocabSize), runtime),
    store: new NodeStore(join(out, preset)),
  }));

  const started = performance.now();
  const results: Result[] = [];
  const source = {
    train: data.train,
    val: data.val,
    valBytes: data.meta.val.bytes,
    tokenizer: data.tokenizer,
  };
  const options = {
    entrants,
    data: source,
    runtime,
    clock: nodeClock,
    prompt: suite.prompt,
    sampleTokens: SAMPLE_TOKENS,
  };
  let progress = new Progress('');
  let from = 0;
  for await (const event of compare(options, signal)) {
    const { entrant } = event;
    const { maxSteps } = entrant.config.train;
    if (event.kind === 'start') {
      from = event.step;
      progress = new Progress(entrant.label.padEnd(longest(suite)));
      const goesOn = from === 0 ? '' : from === maxSteps ? ', already trained' : `, going on at step ${from}`;
      notice(`\n${entrant.label} (${entrant.name}${goesOn})`);
    } else if (event.kind === 'train') showTraining(progress, event.event, maxSteps, from);
    else {
      progress.clear();
      results.push(event.result);
    }
  }
  if (results.length < entrants.length) return;

  const host = machine();
  const { train } = entrants[0].config;
  const facts: [string, string][] = [
    [
      'corpus',
      `${suite.corpus}, ${grouped(data.meta.train.tokens)} training and ${grouped(data.meta.val.tokens)} held-out tokens`,
    ],
    ['tokenizer', `${data.tokenizer.name}, ${grouped(vocabSize)} tokens`],
    [
      'training',
      `${grouped(results[0].tokensSeen)} tokens a model in ${train.maxSteps} steps, AdamW, peak lr ${train.lr}, seed ${train.seed}`,
    ],
    ['val loss', 'nats per token on all held-out tokens; the curves use fixed batches'],
    ['machine', `${host.processor}, ${host.processors} processors, Node ${host.node}, ${host.system}`],
    ['backend', runtime.backend.description],
    ['commit', host.commit ?? 'not a checkout'],
  ];
  const report = join(out, 'report.html');
  const store = new NodeStore(out);
  await store.replace(
    'report.html',
    renderReport(results, { title: suite.title, facts, prompt: suite.prompt }),
  );
  const document = { suite: suite.name, machine: host, backend: runtime.backend.description, results };
  await store.replace('results.json', `${JSON.stringify(document, null, 2)}\n`);
  printResult(json === true, document, () => {
    const { header, rows } = comparisonTable(results);
    const samples = results.map((r) => `${r.label}:\n  ${suite.prompt}${r.sample}`.replace(/\n+/g, '\n  '));
    const took = duration((performance.now() - started) / 1000);
    return [
      '',
      table(header, rows),
      '',
      ...samples.flatMap((s) => [s, '']),
      `report: ${report}  (${took})`,
    ].join('\n');
  });
}

function entrantConfig(suite: Suite, preset: string, vocabSize: number): RunConfig {
  const { model, train } = readPreset(preset) as { model: object; train: object };
  return parseRunConfig(
    { model: { vocabSize, ...model, ...suite.model }, train: { ...train, ...suite.train } },
    `preset ${preset}`,
  );
}

/** Prepares the suite's corpus unless an earlier run did. */
async function prepareOnce(suite: Suite, folder: string, signal: AbortSignal): Promise<void> {
  const { corpus, tokenizer } = suite;
  if ((await new NodeStore(folder).list('.')).includes('meta.json')) {
    await using found = await openDataset(folder);
    const same =
      found.meta?.sources.join() === corpus && found.tokenizer?.name === tokenizer.replace(':', '-');
    if (same) return;
    throw new DataError(
      folder,
      `must hold ${corpus} with tokenizer ${tokenizer}`,
      found.tokenizer?.name,
      'delete it',
    );
  }
  notice(`preparing ${corpus} with tokenizer ${tokenizer}`);
  await prepareWithProgress({ sources: [corpus], out: folder, tokenizer, seed: 2357, signal });
}

function longest(suite: Suite): number {
  return Math.max(...suite.models.map(({ label }) => label.length));
}
