/** `loopnn export`: a run's best weights in the layout that other tools read. */
import { type Command, Option } from 'commander';
import { WEIGHT_TYPES, type WeightType } from '../formats/onnx-weights.js';
import { exportModel } from '../operations/export.js';
import { wholeNumber } from './flags.js';
import { examples } from './help.js';
import { interruptible } from './interrupt.js';
import { grouped, notice, printResult } from './output.js';

interface ExportFlags {
  readonly model: string;
  readonly out: string;
  readonly format: 'huggingface' | 'onnx' | 'browser';
  readonly loops?: number;
  readonly weights?: WeightType;
  readonly json?: true;
}

export function exportCommand(program: Command): void {
  program
    .command('export')
    .description('write a trained model for other tools')
    .requiredOption('--model <run>', 'folder of a trained run')
    .requiredOption('--out <folder>', 'new folder for the exported model')
    .addOption(
      new Option(
        '--format <name>',
        'huggingface: config.json and safetensors for transformers, with a PyTorch file for loop networks; ' +
          'onnx: a graph for onnxruntime and transformers.js, with a key/value cache; ' +
          'browser: the run itself, for loadModel of loopnn/browser to fetch',
      )
        .choices(['huggingface', 'onnx', 'browser'])
        .default('huggingface'),
    )
    .option(
      '--loops <n>',
      'onnx: loops, steps or layers of the graph; by default an input, loops, sets them where the depth allows',
      wholeNumber(1),
    )
    .addOption(
      new Option('--weights <type>', 'onnx: how weights are stored; float32 by default').choices(
        WEIGHT_TYPES,
      ),
    )
    .option('--json', 'print one JSON document')
    .addHelpText(
      'after',
      examples(
        'npx loopnn export --model models/playground --out exported',
        'npx loopnn export --model models/playground --out onnx --format onnx',
      ),
    )
    .action((flags: ExportFlags) => interruptible((signal) => runExport(flags, signal)));
}

async function runExport(flags: ExportFlags, signal: AbortSignal): Promise<void> {
  const { json, ...options } = flags;
  const exported = await exportModel({ ...options, signal, onNotice: notice });
  const { out, step } = exported;
  printResult(json === true, exported, () => {
    if ('modelType' in exported) {
      const { modelType, parameters } = exported;
      return [`${out}: ${modelType}, ${grouped(parameters)} parameters of step ${step}`];
    }
    if ('bytes' in exported) {
      return [
        `${out}: a run for loopnn/browser, ${(exported.bytes / 1e6).toFixed(1)} MB, weights of step ${step}`,
      ];
    }
    const asks = exported.inputs.some(({ name }) => name === 'loops') ? ' with the input loops' : '';
    return [`${out}: ONNX${asks}, ${exported.weights} weights of step ${step}`];
  });
}
