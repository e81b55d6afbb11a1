/** `loopnn export`: a run's best weights in the layout that other tools read. */
import { join } from 'node:path';
import { type Command, Option } from 'commander';
import { readModelingFile } from '../data/huggingface.js';
import { requireNewFolder, writeNewFolder } from '../data/new-folder.js';
import { NodeStore } from '../data/node-store.js';
import { TensorFiles } from '../data/tensor-files.js';
import { ConfigError } from '../errors.js';
import { elementCount, lazySafetensors } from '../formats/lazy-tensors.js';
import { onnxFile } from '../formats/onnx.js';
import { WEIGHT_TYPES, type WeightType } from '../formats/onnx-weights.js';
import { huggingFaceConfig, MODELING_MODULE, tensorsForHuggingFace } from '../models/huggingface.js';
import { onnxConfig, onnxGraph } from '../models/onnx.js';
import { ByteLevelTokenizer } from '../tokenizer/bpe.js';
import { byteLevelToJSON } from '../tokenizer/huggingface-json.js';
import type { Tokenizer } from '../tokenizer/tokenizer.js';
import { weightsFile } from '../train/checkpoint.js';
import { readRunConfig, readRunTokenizer, runHasTokenizer } from '../train/run.js';
import { wholeNumber } from './flags.js';
import { interruptible } from './interrupt.js';
import { grouped, notice, printResult } from './output.js';

interface ExportFlags {
  readonly model: string;
  readonly out: string;
  readonly format: 'huggingface' | 'onnx';
  readonly loops?: number;
  readonly weights?: WeightType;
  readonly json?: true;
}

export function exportCommand(program: Command): void {
  program
    .command('export')
    .description('write a trained model for other tools')
    .requiredOption('--model <run>', 'folder of a run')
    .requiredOption('--out <folder>', 'new folder for the exported model')
    .addOption(
      new Option(
        '--format <name>',
        'huggingface: config.json and safetensors for transformers; loop networks bring their PyTorch file. ' +
          'onnx: a graph for onnxruntime and transformers.js, with a key/value cache',
      )
        .choices(['huggingface', 'onnx'])
        .default('huggingface'),
    )
    .option(
      '--loops <n>',
      'onnx: loops, steps or layers to write out; without it the file asks for them (input loops) where the depth allows',
      wholeNumber(1),
    )
    .addOption(
      new Option('--weights <type>', 'onnx: how weights are stored; float32 by default').choices(
        WEIGHT_TYPES,
      ),
    )
    .option('--json', 'print one JSON document')
    .action((flags: ExportFlags) => interruptible((signal) => exportRun(flags, signal)));
}

async function exportRun(flags: ExportFlags, signal: AbortSignal): Promise<void> {
  if (flags.format === 'onnx') return exportOnnx(flags, signal);
  for (const name of ['loops', 'weights'] as const) {
    if (flags[name] === undefined) continue;
    throw new ConfigError(`--${name}`, 'must not be given where --format is huggingface', flags[name]);
  }
  return exportHuggingFace(flags, signal);
}

/** Where transformers.js looks for a graph by its `dtype`: fp32, fp16, q8. */
const ONNX_FILES: Readonly<Record<WeightType, string>> = {
  float32: 'onnx/model.onnx',
  float16: 'onnx/model_fp16.onnx',
  int8: 'onnx/model_quantized.onnx',
};

async function exportOnnx(flags: ExportFlags, signal: AbortSignal): Promise<void> {
  const { model: run, out, loops, weights: type = 'float32' } = flags;
  await requireNewFolder(out, '--out');
  const store = new NodeStore(run);
  const { model } = await readRunConfig(store, run);
  const tokenizer = (await runHasTokenizer(store)) ? await readRunTokenizer(store, run) : null;
  const { path, step } = await weightsFile(store);
  await using weights = await TensorFiles.open([join(run, path)]);
  const graph = onnxGraph(model, weights.tensors, type, loops);
  const pieces = onnxFile(graph);

  const writeAll = async (target: NodeStore) => {
    const write = (name: string, content: unknown) =>
      target.replace(name, `${JSON.stringify(content, null, 2)}\n`);
    await target.replace(ONNX_FILES[type], pieces);
    if (tokenizer) await writeTokenizer(tokenizer, model.blockSize, run, write);
    await write('config.json', onnxConfig(model, tokenizer?.eot ?? null, loops));
  };
  await writeNewFolder(out, '--out', writeAll, signal);
  const { inputs, outputs } = graph;
  const asks = inputs.some(({ name }) => name === 'loops') ? ', which asks for the loops' : '';
  const document = {
    out,
    step,
    weights: type,
    loops: loops ?? null,
    tokenizer: tokenizer?.name ?? null,
    inputs,
    outputs,
  };
  printResult(flags.json === true, document, () => `${out}: ONNX${asks}, ${type} weights of step ${step}`);
}

async function exportHuggingFace(flags: ExportFlags, signal: AbortSignal): Promise<void> {
  const { model: run, out } = flags;
  await requireNewFolder(out, '--out');
  const store = new NodeStore(run);
  const { model } = await readRunConfig(store, run);
  const tokenizer = (await runHasTokenizer(store)) ? await readRunTokenizer(store, run) : null;
  const config = huggingFaceConfig(model, tokenizer?.eot ?? null);
  const { path, step } = await weightsFile(store);
  await using weights = await TensorFiles.open([join(run, path)]);
  const tensors = tensorsForHuggingFace(model, weights.tensors, path);

  const writeAll = async (target: NodeStore) => {
    const write = (name: string, json: unknown) => target.replace(name, `${JSON.stringify(json, null, 2)}\n`);
    await target.replace('model.safetensors', lazySafetensors(tensors, { format: 'pt' }));
    if (tokenizer) await writeTokenizer(tokenizer, model.blockSize, run, write);
    const { bos_token_id, eos_token_id } = config;
    await write('generation_config.json', { _from_model_config: true, bos_token_id, eos_token_id });
    if (model.depth === 'loop') await target.replace(`${MODELING_MODULE}.py`, await readModelingFile());
    await write('config.json', config);
  };
  await writeNewFolder(out, '--out', writeAll, signal);
  const parameters = tensors.reduce((sum, { shape }) => sum + elementCount(shape), 0);
  const document = {
    out,
    step,
    modelType: config.model_type,
    parameters,
    tokenizer: tokenizer?.name ?? null,
  };
  printResult(
    flags.json === true,
    document,
    () => `${out}: ${config.model_type}, ${grouped(parameters)} parameters of step ${step}`,
  );
}

async function writeTokenizer(
  tokenizer: Tokenizer,
  blockSize: number,
  run: string,
  write: (name: string, json: unknown) => Promise<void>,
): Promise<void> {
  const own = tokenizer.toJSON();
  if (own.model === undefined && !(tokenizer instanceof ByteLevelTokenizer)) {
    notice(`${run}: tokenizer ${tokenizer.name} has no form in Hugging Face's layout and is left out`);
    return;
  }
  await write(
    'tokenizer.json',
    own.model === undefined ? byteLevelToJSON(tokenizer as ByteLevelTokenizer) : own,
  );
  const eot = tokenizer.decode([tokenizer.eot]);
  await write('tokenizer_config.json', {
    tokenizer_class: 'PreTrainedTokenizerFast',
    model_max_length: blockSize,
    bos_token: eot,
    eos_token: eot,
  });
}
