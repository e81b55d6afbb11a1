/** `loopnn params`: the cost of models, from their configuration alone. */
import type { Command } from 'commander';
import { presetNames } from '../node/presets.js';
import { type ModelCost, modelCost } from '../models/cost.js';
import type { ModelConfig } from '../models/config.js';
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
    const all = Object.keys(chosen).length === 0;
    const models = all
      ? presetNames().map((name) => report(name, configFromFlags({ preset: name }).model))
      : [report(preset ?? String(flags.preset ?? flags.config ?? 'flags'), configFromFlags(chosen).model)];
    printResult(json === true, models.length === 1 ? models[0] : models, () =>
      render(models, all ? vocabularies(models) : vocabulary(models[0], chosen)),
    );
  });
}

/** Whether the flags, and the preset or file that they name, leave the size of the vocabulary to the data. */
function leavesVocabulary(flags: Record<string, unknown>): boolean {
  const sizes = [1, 2].map((vocabSize) => configFromFlags(flags, { vocabSize }).model.vocabSize);
  return sizes[0] !== sizes[1];
}

/** The size of the vocabulary that a model is counted with, and where it comes from. */
function vocabulary({ name, config }: Report, flags: Record<string, unknown>): string {
  const size = `vocabulary: ${grouped(config.vocabSize)} tokens`;
  if (flags.vocabSize !== undefined) return `${size}, as --vocab-size says`;
  if (!leavesVocabulary(flags))
    return `${size}, as ${flags.config === undefined ? 'preset ' : ''}${name} says`;
  return `${size}, GPT-2’s, since nothing sets it here; training takes the data’s size: give that as --vocab-size n`;
}

/** The same for all presets. */
function vocabularies(models: readonly Report[]): string {
  const open = models.map(({ name }) => name).filter((preset) => leavesVocabulary({ preset }));
  const families = [...new Set(open.map((name) => name.replace(/-.*/, '-*')))].join(', ');
  const sizes = [...new Set(models.map(({ config }) => grouped(config.vocabSize)))].join(', ');
  return `vocabulary: ${sizes} tokens, GPT-2’s; ${families} set none, and training takes the data’s size: loopnn params NAME --vocab-size n counts with it`;
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
];

function render(models: readonly Report[], vocabulary: string): string[] {
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
  return [...table(header, rows), '', ...[...NOTES, vocabulary].flatMap((note) => paragraph(note))];
}
