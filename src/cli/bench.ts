/** `loopnn bench`: the machine's limits, the kernels' share of them, speed and memory of whole steps, and decoding. */
import { type Command, Option } from 'commander';
import type { BackendName, Weights } from '../node/backend.js';
import { machine } from '../node/machine.js';
import { nodeClock } from '../node/store.js';
import { readPreset } from '../node/presets.js';
import { benchmarkDecoding, type DecodingResult } from '../bench/decoding.js';
import { benchmarkKernels, type KernelResult } from '../bench/kernels.js';
import { LimitMeter, type MachineLimits } from '../bench/limits.js';
import { benchmarkSteps, type StepsResult } from '../bench/steps.js';
import type { KernelMs } from '../bench/timed.js';
import { modelFields } from '../models/config.js';
import { parseRunConfig, requireEffect, trainFields } from '../train/config.js';
import { addFields, givenFields, wholeNumber } from './flags.js';
import { examples } from './help.js';
import { byteSize, grouped, metric, paragraph, Progress, printResult, table } from './output.js';
import { backendOption, openRuntime, weightsOption } from './runtime.js';

/** The training fields that a step's time depends on. */
const timedFields = {
  batchSize: trainFields.batchSize,
  activationMemory: trainFields.activationMemory,
  precision: trainFields.precision,
  optimizer: trainFields.optimizer,
  emaDecay: trainFields.emaDecay,
};

const PARTS = ['kernels', 'steps', 'decoding'] as const;

interface BenchFlags extends Record<string, unknown> {
  readonly only?: (typeof PARTS)[number];
  readonly steps: number;
  readonly backend?: BackendName;
  readonly weights: Weights;
  readonly json?: true;
}

export function benchCommand(program: Command): void {
  const command = program
    .command('bench')
    .description('time kernels, training steps and decoding on random tokens, against the machine’s limits')
    .argument('[presets...]', 'presets to time in turns; the first gives the kernels’ sizes', ['gpt2-45m'])
    .addOption(new Option('--only <part>', 'time this part alone').choices(PARTS))
    .option(
      '--steps <n>',
      'steps to time for each preset; for decoding, runs of eight tokens',
      wholeNumber(1),
      5,
    )
    .addOption(backendOption())
    .addOption(weightsOption())
    .option('--json', 'print one JSON document')
    .addHelpText(
      'after',
      examples('npx loopnn bench mini-1x2 mini-2x1', 'npx loopnn bench mini-1x2 --only steps --batch-size 8'),
    );
  addFields(command, modelFields, 'Model:');
  addFields(command, timedFields, 'Training:').action((presets: string[], flags: BenchFlags) =>
    bench(presets, flags),
  );
}

async function bench(presets: readonly string[], flags: BenchFlags): Promise<void> {
  const given = { model: givenFields(flags, modelFields), train: givenFields(flags, timedFields) };
  const models = presets.map((name) => {
    const { model, train } = readPreset(name) as { model: object; train: object };
    const fields = { model: { ...model, ...given.model }, train: { ...train, ...given.train } };
    return { name, config: parseRunConfig(fields, `preset ${name}`) };
  });
  requireEffect(
    given,
    models.map((model) => model.config),
    'flags',
  );
  const [{ config }] = models;
  const { backend } = await openRuntime({ ...flags, precision: config.train.precision });
  const on = { backend, weights: flags.weights };
  const progress = new Progress('timing');
  const show = (what: string) => (done: number, of: number) =>
    progress.update(done / of, `${what} ${done}/${of}`);
  const wants = (part: (typeof PARTS)[number]) => flags.only === undefined || flags.only === part;
  const meter = !wants('kernels') && !backend.limits ? null : LimitMeter.open(backend, nodeClock);
  const kernels = wants('kernels')
    ? await benchmarkKernels(config.model, config.train.batchSize, on, meter, nodeClock, show('kernel'))
    : [];
  const results = wants('steps')
    ? await benchmarkSteps(models, flags.steps, backend, meter, nodeClock, show('step'))
    : [];
  const decoding = wants('decoding')
    ? await benchmarkDecoding(models, flags.steps, on, meter, nodeClock, show('run'))
    : [];
  progress.clear();
  const peakBytes = process.resourceUsage().maxRSS * 1024;
  const limits = (await meter?.result()) ?? null;
  meter?.dispose();
  const host = machine();
  const { description } = backend;
  const document = {
    machine: host,
    backend: description,
    limits,
    kernels,
    steps: flags.steps,
    peakBytes,
    results,
    decoding,
  };
  printResult(flags.json === true, document, () => [
    `${host.processor}, ${host.processors} processors, Node ${host.node}, commit ${host.commit ?? 'unknown'}`,
    description,
    ...(limits ? paragraph(limitsLine(limits)) : []),
    '',
    ...(kernels.length > 0 ? [...kernelTable(kernels), ''] : []),
    ...(results.length > 0 ? [...stepTable(results), ''] : []),
    ...results.flatMap((result) => [...shares(result), '']),
    ...(decoding.length > 0 ? [...decodingTable(decoding), ''] : []),
    ...decoding.flatMap((result) => [...decodingShares(result), '']),
    `peak resident memory: ${byteSize(peakBytes)}`,
  ]);
}

function limitsLine({ f32, bf16, f16, read }: MachineLimits): string {
  const rate = (what: string, unit: string, found: MachineLimits['f32'] | undefined) =>
    found ? [`${what} ${metric(found.median)}${unit}/s (${metric(found.min)}–${metric(found.max)})`] : [];
  const rates = [
    ...rate('float32', 'FLOP', f32),
    ...rate('bf16', 'FLOP', bf16),
    ...rate('f16', 'FLOP', f16),
    ...rate('memory read', 'B', read),
  ];
  return `limits: ${rates.join(', ')}`;
}

function kernelTable(kernels: readonly KernelResult[]): string[] {
  const header = ['kernel', 'size', 'ms', 'min', 'max', 'rate', 'of the limit', 'limit'];
  const rows = kernels.map(({ kernel, size, ms, rate, limit, share }) => [
    kernel,
    size,
    ms.median.toFixed(2),
    ms.min.toFixed(2),
    ms.max.toFixed(2),
    `${metric(rate)}${limit === 'read' ? 'B/s' : 'FLOP/s'}`,
    limit === 'read' ? ofMemory(share) : percent(share),
    limit === 'read' ? 'memory' : limit,
  ]);
  return table(header, rows);
}

function stepTable(results: readonly StepsResult[]): string[] {
  const header = [
    ...['model', 'B', 'T', 'ms/step', 'min', 'max', 'tokens/s', 'FLOP/s', 'MFU'],
    ...['forward', 'backward', 'optimizer', 'ratio', 'evaluation', 'MFU'],
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
    percent(r.mfu),
    r.phaseMs.forward.toFixed(1),
    r.phaseMs.backward.toFixed(1),
    r.phaseMs.optimizer.toFixed(1),
    (r.stepMs.median / results[0].stepMs.median).toFixed(3),
    r.evaluation.ms.toFixed(1),
    percent(r.evaluation.mfu),
  ]);
  return table(header, rows);
}

function decodingTable(results: readonly DecodingResult[]): string[] {
  const header = [
    ...['model, sequences × context', 'ms/step', 'min', 'max', 'tokens/s', 'of memory'],
    ...['outside kernels', 'prefill tokens/s', 'of products'],
  ];
  const rows = results.map((r) => [
    decodingCase(r),
    r.stepMs.median.toFixed(2),
    r.stepMs.min.toFixed(2),
    r.stepMs.max.toFixed(2),
    grouped(r.tokensPerSecond),
    ofMemory(r.share),
    percent(r.overhead),
    grouped(r.prefill.tokensPerSecond),
    percent(r.prefill.share),
  ]);
  return [
    ...table(header, rows),
    '',
    ...paragraph(
      'a step makes a token of every sequence; of memory, of products: share of the machine’s fastest reads and products',
    ),
  ];
}

function shares({ name, kernelMs, meanMs }: StepsResult): string[] {
  return kernelShares(`${name}: kernel`, kernelMs, meanMs);
}

function decodingShares(result: DecodingResult): string[] {
  return kernelShares(`${decodingCase(result)}: kernel`, result.kernelMs, result.meanMs);
}

const decodingCase = ({ name, sequences, context }: DecodingResult) => `${name}, ${sequences} × ${context}`;

function kernelShares(title: string, kernelMs: KernelMs, stepMs: number): string[] {
  if (!kernelMs) return [];
  const rows = Object.entries(kernelMs)
    .filter(([, ms]) => ms >= 0.001 * stepMs)
    .map(([kernel, ms]) => [kernel, ms.toFixed(2), percent(ms / stepMs)]);
  return table([title, 'ms/step', 'share'], rows);
}

/**
 * A share of a limit that is measured beside the work: what beats it has reached it, since the measurement was
 * disturbed.
 */
function percent(share: number | null): string {
  return share === null ? '–' : `${(100 * Math.min(1, share)).toFixed(1)} %`;
}

/** A share of memory bandwidth; a read faster than memory came from a cache. */
function ofMemory(share: number | null): string {
  return share !== null && share > 1 ? 'in cache' : percent(share);
}
