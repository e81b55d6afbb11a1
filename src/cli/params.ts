/** `loopnn params`: the cost of models, from their configuration alone. */
import type { Command } from 'commander';
import { presetNames, readPreset } from '../node/presets.js';
import { type ModelCost, modelCost } from '../models/cost.js';
import type { ModelConfig } from '../models/config.js';
import { parseRunConfig } from '../train/config.js';
import { examples } from './help.js';
import { byteSize, grouped, metric, paragraph, printResult, table } from './output.js';
import { addConfigFlags, configFromFlags } from './runtime.js';

export function paramsCommand(program: Command): void {
  const command = program
    .command('params')
    .description('print parameters, FLOPs and memory of presets, or of any configuration')
    .argument('[preset]', 'a preset; all presets if no configuration flag is given either')
    .option('--json', 'print one JSON document')
    .addHelpText(
      'after',
      examples('npx loopnn params', 'npx loopnn params gpt2-45m --depth loop --n-loop 4'),
    );
  addConfigFlags(command).action((preset: string | undefined, options: Record<string, unknown>) => {
    const { json, ...flags } = options;
    const chosen = preset === undefined ? flags : { ...flags, preset };
    const models =
      Object.keys(chosen).length === 0
        ? presetNames().map((name) => report(name, parseRunConfig(readPreset(name), `preset ${name}`).model))
        : [report(preset ?? String(flags.preset ?? flags.config ?? 'flags'), configFromFlags(chosen).model)];
    printResult(json === true, models.length === 1 ? models[0] : models, () => render(models));
  });
}

type Report = { readonly name: string; readonly config: ModelConfig } & ModelCost;

function report(name: string, config: ModelConfig): Report {
  return { name, config, ...modelCost(config) };
}

const NOTES = [
  'parameters: nanoGPT’s count, without the position embedding and the gates; in total: all that training changes',
  'FLOPs/token: forward, a multiply-add being two; causal attention at the full block size; backward takes twice as many',
  'K/V: keys and values in float32',
  'activations: bytes for one sequence',
  'vocabulary: GPT-2’s where the preset leaves it to the data (mini-*); --vocab-size n counts with another',
];

function render(models: readonly Report[]): string[] {
  const header = [
    'model',
    'parameters',
    'in total',
    'gates',
    'layers',
    'loops',
    'inner',
    'applications',
    'FLOPs/token',
    'K/V a token',
    'activations',
    'checkpointed',
  ];
  const rows = models.map((m) => [
    m.name,
    grouped(m.parameters.nanogpt),
    grouped(m.parameters.total),
    grouped(m.parameters.gates),
    String(m.layers),
    String(m.loops),
    String(m.innerLoops),
    String(m.applications),
    metric(m.flopsPerToken.forward),
    byteSize(m.cacheBytesPerToken),
    byteSize(m.activationBytesPerSequence.kept),
    byteSize(m.activationBytesPerSequence.checkpointed),
  ]);
  return [...table(header, rows), '', ...NOTES.flatMap((note) => paragraph(note))];
}
