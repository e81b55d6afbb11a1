/**
 * Graves's parity test of adaptive computation time, which `src/experiments/parity.ts` describes and trains: a network
 * that
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
import { type Block, renderHtml } from '../src/experiments/document.js';
import { type Chart, lineChart, type Series, seriesColor } from '../src/experiments/plot.js';
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
  const chart = (
    title: string,
    says: string,
    axes: Pick<Chart, 'xLabel' | 'yLabel'>,
    points: (result: ParityResult) => Series['points'],
  ): Block => {
    const series = runs.map(({ label, color, result }) => ({ label, color, points: points(result) }));
    return { kind: 'chart', name: title, title, says, svg: lineChart({ title, series, ...axes }) };
  };
  const difficulty = { xLabel: 'difficulty k: elements that are not 0' };
  const updates = { xLabel: 'update' };
  const error = { yLabel: 'error' };
  const steps = { yLabel: 'mean steps' };
  return renderHtml('Parity with adaptive computation time', [
    {
      title: 'What was trained',
      blocks: [
        { kind: 'text', text: facts },
        chart(
          'Error against difficulty',
          'At 0.5 the network guesses; at 0 it is always right.',
          { ...difficulty, ...error },
          (r) => r.byDifficulty.map((p) => [p.k, p.error] as const),
        ),
        chart(
          'Steps against difficulty',
          'A curve that rises would think longer about harder inputs.',
          { ...difficulty, ...steps },
          (r) => r.byDifficulty.map((p) => [p.k, p.ponderSteps] as const),
        ),
        chart(
          'Error while training',
          'Where a curve leaves 0.5, the network begins to learn parity.',
          { ...updates, ...error },
          (r) => r.curve.map((p) => [p.step, p.error] as const),
        ),
        chart(
          'Steps while training',
          'How many steps the network takes in the mean as it learns.',
          { ...updates, ...steps },
          (r) => r.curve.map((p) => [p.step, p.ponderSteps] as const),
        ),
      ],
    },
  ]);
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
  const one = await train('one step', seriesColor(1), { maxPonder: 1 });
  const act = await train('ACT', seriesColor(0), {});

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
