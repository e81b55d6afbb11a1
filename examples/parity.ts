/**
 * Graves's parity test of adaptive computation time, which `src/experiments/parity.ts` describes and trains: a network that
 * may ponder over its input learns what the same network does not learn with a single step.
 *
 *     node dist/examples/parity.js [OUT] [--quick] [--seed N]
 *
 * prints a table and writes parity.html, with the curves, and parity.json into OUT, runs/parity by default.
 */
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import {
  PARITY,
  type ParityResult,
  type ParitySettings,
  QUICK_PARITY,
  type Score,
  trainParity,
} from '../src/experiments/parity.js';
import { type Chart, escapeText, lineChart, type Series } from '../src/experiments/plot.js';
import { createBackend } from '../src/node/backend.js';
import { NodeStore } from '../src/node/store.js';
import { Runtime } from '../src/tensor/tensor.js';

interface Run {
  readonly label: string;
  readonly color: string;
  readonly result: ParityResult;
}

/** The page with the four charts. */
function renderPage(runs: readonly Run[], facts: string): string {
  const chart = (rest: Omit<Chart, 'series'>, points: (result: ParityResult) => Series['points']): string =>
    lineChart({
      ...rest,
      series: runs.map(({ label, color, result }) => ({ label, color, points: points(result) })),
    });
  const xLabel = 'difficulty k: elements that are not 0';
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Parity with adaptive computation time</title>
<style>
:root { color-scheme: light dark; }
body { font: 15px/1.55 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } svg { margin-top: 1.5rem; }
</style>
</head>
<body>
<h1>Parity with adaptive computation time</h1>
<p>${escapeText(facts)}</p>
${chart({ title: 'Error against difficulty (0.5 is chance)', xLabel, yLabel: 'error' }, (r) =>
  r.byDifficulty.map((p) => [p.k, p.error] as const),
)}
${chart({ title: 'Steps against difficulty', xLabel, yLabel: 'mean steps' }, (r) =>
  r.byDifficulty.map((p) => [p.k, p.ponderSteps] as const),
)}
${chart({ title: 'Error while training', xLabel: 'update', yLabel: 'error' }, (r) =>
  r.curve.map((p) => [p.step, p.error] as const),
)}
${chart({ title: 'Steps while training', xLabel: 'update', yLabel: 'mean steps' }, (r) =>
  r.curve.map((p) => [p.step, p.ponderSteps] as const),
)}
</body>
</html>
`;
}

/** The command line, or an exit with the usage. */
function parseCommand(args: string[]): { out: string; settings: ParitySettings } {
  try {
    const options = { quick: { type: 'boolean' }, seed: { type: 'string' } } as const;
    const { values, positionals } = parseArgs({ args, options, allowPositionals: true });
    const base = values.quick ? QUICK_PARITY : PARITY;
    const seed = Number(values.seed ?? base.seed);
    if (positionals.length > 1) throw new Error(`expected one folder, got ${positionals.join(', ')}`);
    if (!Number.isInteger(seed)) throw new Error(`seed must be an integer, got ${values.seed}`);
    return { out: positionals[0] ?? 'runs/parity', settings: { ...base, seed } };
  } catch (error) {
    console.error(
      `${(error as Error).message}\nusage: node dist/examples/parity.js [OUT] [--quick] [--seed N]`,
    );
    process.exit(2);
  }
}

async function main(args: string[]): Promise<void> {
  const { out, settings } = parseCommand(args);
  const runtime = new Runtime(await createBackend({ precision: 'f32' }));
  const train = async (label: string, color: string, changes: Partial<ParitySettings>): Promise<Run> => {
    const result = await trainParity(
      { ...settings, ...changes },
      runtime,
      ({ step, loss, error, ponderSteps }) => {
        const figures = `loss ${loss.toFixed(4)}  error ${error.toFixed(4)}  steps ${ponderSteps.toFixed(2)}`;
        console.error(`${label}  update ${step}/${settings.maxSteps}  ${figures}`);
      },
    );
    return { label, color, result };
  };
  const one = await train('one step', '#d1495b', { maxPonder: 1 });
  const act = await train('ACT', '#3b6fb6', {});

  console.log('| k | error, one step | error, ACT | mean steps, ACT |');
  console.log('|---|---|---|---|');
  const line = (name: string | number, a: Score, b: Score) =>
    console.log(`| ${name} | ${a.error.toFixed(4)} | ${b.error.toFixed(4)} | ${b.ponderSteps.toFixed(2)} |`);
  for (const [i, point] of act.result.byDifficulty.entries())
    line(point.k, one.result.byDifficulty[i], point);
  line('all', one.result.overall, act.result.overall);
  const seconds = (run: Run) => `${run.result.seconds.toFixed(0)} s`;
  const facts =
    `${settings.size} elements, ${settings.hidden} tanh units, at most ${settings.maxPonder} steps, ` +
    `τ = ${settings.ponderCost}; ${settings.maxSteps} updates of ${settings.batchSize} inputs, seed ${settings.seed}; ` +
    `${seconds(one)} for one step, ${seconds(act)} for ACT; ${runtime.backend.description}`;
  console.log(`\n${facts}`);
  const store = new NodeStore(out);
  await store.replace('parity.html', renderPage([one, act], facts));
  await store.replace(
    'parity.json',
    `${JSON.stringify({ oneStep: one.result, act: act.result }, null, 2)}\n`,
  );
  console.error(`wrote ${join(out, 'parity.html')} and parity.json`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main(process.argv.slice(2));
