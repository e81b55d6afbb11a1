/** `loopnn bench`: speed and memory of training steps on random tokens. */
import type { Command } from 'commander';
import { createBackend } from '../backend/create.js';
import { machine } from '../data/machine.js';
import { nodeClock } from '../data/node-store.js';
import { readPreset } from '../data/presets.js';
import { benchmark, type BenchmarkResult } from '../experiments/benchmark.js';
import { modelFields } from '../models/config.js';
import { parseRunConfig, trainFields } from '../train/config.js';
import { addFields, givenFields, wholeNumber } from './flags.js';
import { byteSize, grouped, metric, notice, Progress, printResult, table } from './output.js';

/** The training fields that a step's time depends on. */
const timedFields = { batchSize: trainFields.batchSize, activationMemory: trainFields.activationMemory };

interface BenchFlags extends Record<string, unknown> {
  readonly steps: number;
  readonly json?: true;
}

export function benchCommand(program: Command): void {
  const command = program
    .command('bench')
    .description('time training steps on random tokens; several presets take turns, step by step')
    .argument('[presets...]', 'presets to time', ['gpt2-45m'])
    .option('--steps <n>', 'timed steps of each', wholeNumber(1), 5)
    .option('--json', 'print one JSON document');
  addFields(command, modelFields, 'Model:');
  addFields(command, timedFields, 'Training:').action((presets: string[], flags: BenchFlags) =>
    bench(presets, flags),
  );
}

async function bench(presets: readonly string[], flags: BenchFlags): Promise<void> {
  const models = presets.map((name) => {
    const { model, train } = readPreset(name) as { model: object; train: object };
    const fields = {
      model: { ...model, ...givenFields(flags, modelFields) },
      train: { ...train, ...givenFields(flags, timedFields) },
    };
    return { name, config: parseRunConfig(fields, `preset ${name}`) };
  });
  const backend = createBackend(undefined, notice);
  const progress = new Progress('timing');
  const results = await benchmark(models, flags.steps, backend, nodeClock, (done, of) => {
    progress.update(done / of, `step ${done}/${of}`);
  });
  progress.clear();
  const peakBytes = process.resourceUsage().maxRSS * 1024;
  const host = machine();
  const document = { machine: host, backend: backend.description, steps: flags.steps, peakBytes, results };
  printResult(flags.json === true, document, () =>
    [
      `${host.processor}, ${host.processors} processors, Node ${host.node}, commit ${host.commit ?? 'unknown'}`,
      backend.description,
      '',
      summary(results),
      '',
      ...results.flatMap((result) => [kernels(result), '']),
      `peak resident memory: ${byteSize(peakBytes)}`,
    ].join('\n'),
  );
}

function summary(results: readonly BenchmarkResult[]): string {
  const header = [
    'model',
    'B',
    'T',
    'ms/step',
    'min',
    'max',
    'tokens/s',
    'FLOP/s',
    'forward',
    'backward',
    'optimizer',
    'ratio',
  ];
  const rows = results.map((r) => [
    r.name,
    String(r.batchSize),
    String(r.blockSize),
    r.stepMs.median.toFixed(1),
    r.stepMs.min.toFixed(1),
    r.stepMs.max.toFixed(1),
    grouped(r.tokensPerSecond),
    metric(r.flopsPerSecond),
    r.phaseMs.forward.toFixed(1),
    r.phaseMs.backward.toFixed(1),
    r.phaseMs.optimizer.toFixed(1),
    (r.stepMs.median / results[0].stepMs.median).toFixed(3),
  ]);
  return table(header, rows);
}

function kernels({ name, kernelMs, stepMs }: BenchmarkResult): string {
  const rows = Object.entries(kernelMs)
    .filter(([, ms]) => ms >= 0.001 * stepMs.median)
    .map(([kernel, ms]) => [kernel, ms.toFixed(2), `${((100 * ms) / stepMs.median).toFixed(1)} %`]);
  return table([`${name}: kernel`, 'ms/step', 'share'], rows);
}
