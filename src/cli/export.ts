/** `loopnn export`: a run's best weights in the layout that other tools read. */
import { join } from 'node:path';
import { type Command, Option } from 'commander';
import { readModelingFile } from '../data/hub/huggingface.js';
import { requireNewFolder, writeNewFolder } from '../node/new-folder.js';
import type { NodeStore } from '../node/store.js';
import { TensorFiles } from '../data/hub/tensor-files.js';
import { ConfigError } from '../errors.js';
import { elementCount, lazySafetensors } from '../formats/lazy-tensors.js';
import { onnxFile } from '../formats/onnx.js';
import { WEIGHT_TYPES, type WeightType } from '../formats/onnx-weights.js';
import { type TextIdFields, textIdFields } from '../generate/text-ids.js';
import {
  huggingFaceConfig,
  LOOP_MODEL_TYPE,
  MODELING_MODULE,
  tensorsForHuggingFace,
} from '../convert/huggingface.js';
import { depthOf } from '../models/depth/kinds.js';
import { onnxConfig, onnxGraph } from '../convert/onnx.js';
import { ByteLevelTokenizer } from '../tokenizer/bpe.js';
import { byteLevelToJSON } from '../tokenizer/huggingface-json.js';
import { TOKENIZER_CONFIG_FILE, type TokenNames } from '../tokenizer/special-tokens.js';
import type { Tokenizer } from '../tokenizer/tokenizer.js';
import { weightsFile } from '../train/checkpoint.js';
import {
  CHAT_TEMPLATE_FILE,
  type Conventions,
  GENERATION_CONFIG_FILE,
  textIdsOf,
  tokenNames,
} from '../train/conventions.js';
import { TOKENIZER_FILE } from '../train/run.js';
import { wholeNumber } from './flags.js';
import { interruptible } from './interrupt.js';
import { grouped, notice, printResult } from './output.js';
import { openRun } from '../node/run.js';
import type { Run } from '../train/run.js';

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
  const opened = await openRun(run);
  const {
    store,
    config: { model },
  } = opened;
  const texts = await readTexts(opened);
  const { path, step } = await weightsFile(store, signal);
  await using weights = await TensorFiles.open([join(run, path)]);
  const graph = onnxGraph(model, weights.tensors, type, loops);
  const pieces = onnxFile(graph);

  const writeAll = async (target: NodeStore) => {
    await target.replace(ONNX_FILES[type], pieces);
    await writeTexts(target, texts, model.blockSize, run);
    await writeJSON(target, 'config.json', onnxConfig(model, texts.ids, loops));
  };
  await writeNewFolder(out, '--out', writeAll, signal);
  const { inputs, outputs } = graph;
  const asks = inputs.some(({ name }) => name === 'loops') ? ', which asks for the loops' : '';
  const document = {
    out,
    step,
    weights: type,
    loops: loops ?? null,
    tokenizer: texts.tokenizer?.name ?? null,
    inputs,
    outputs,
  };
  printResult(flags.json === true, document, () => [`${out}: ONNX${asks}, ${type} weights of step ${step}`]);
}

async function exportHuggingFace(flags: ExportFlags, signal: AbortSignal): Promise<void> {
  const { model: run, out } = flags;
  await requireNewFolder(out, '--out');
  const opened = await openRun(run);
  const {
    store,
    config: { model },
  } = opened;
  const texts = await readTexts(opened);
  const config = huggingFaceConfig(model, texts.ids);
  const { path, step } = await weightsFile(store, signal);
  await using weights = await TensorFiles.open([join(run, path)]);
  const tensors = tensorsForHuggingFace(model, weights.tensors, path);

  const writeAll = async (target: NodeStore) => {
    await target.replace('model.safetensors', lazySafetensors(tensors, { format: 'pt' }));
    await writeTexts(target, texts, model.blockSize, run);
    if (depthOf(model).huggingFace === LOOP_MODEL_TYPE)
      await target.replace(`${MODELING_MODULE}.py`, await readModelingFile());
    await writeJSON(target, 'config.json', config);
  };
  await writeNewFolder(out, '--out', writeAll, signal);
  const parameters = tensors.reduce((sum, { shape }) => sum + elementCount(shape), 0);
  const document = {
    out,
    step,
    modelType: config.model_type,
    parameters,
    tokenizer: texts.tokenizer?.name ?? null,
  };
  printResult(flags.json === true, document, () => [
    `${out}: ${config.model_type}, ${grouped(parameters)} parameters of step ${step}`,
  ]);
}

/** How a run's texts are written. */
interface Texts extends Conventions {
  readonly tokenizer: Tokenizer | null;
  readonly ids: TextIdFields;
}

async function readTexts(run: Run): Promise<Texts> {
  const tokenizer = await run.ownTokenizer();
  const conventions = await run.conventions();
  const { bos, eos } = textIdsOf(conventions, run.name, run.config.model.vocabSize);
  const eot = tokenizer?.eot ?? null;
  const ids = {
    // Where nobody said anything, one token parts documents; what ends without a beginning has none.
    bos: bos ?? (eos.length === 0 ? eot : null),
    eos: eos.length === 0 && eot !== null ? [eot] : eos,
  };
  return { tokenizer, ids: textIdFields(ids), ...conventions };
}

/** Writes the tokenizer, the ids by which texts begin and end, and the chat template, under transformers' file names. */
async function writeTexts(target: NodeStore, texts: Texts, blockSize: number, run: string): Promise<void> {
  const { tokenizer, tokens, generation, chatTemplate, ids } = texts;
  if (tokenizer) await writeTokenizer(target, tokenizer, tokenNames({ tokens }, tokenizer), blockSize, run);
  await writeJSON(target, GENERATION_CONFIG_FILE, {
    ...(generation ?? { _from_model_config: true }),
    ...ids,
  });
  if (chatTemplate !== null) await target.replace(CHAT_TEMPLATE_FILE, chatTemplate);
}

async function writeTokenizer(
  target: NodeStore,
  tokenizer: Tokenizer,
  names: TokenNames,
  blockSize: number,
  run: string,
): Promise<void> {
  const own = tokenizer.toJSON();
  if (own.model === undefined && !(tokenizer instanceof ByteLevelTokenizer)) {
    notice(`${run}: tokenizer ${tokenizer.name} has no form in Hugging Face's layout and is left out`);
    return;
  }
  const json = own.model === undefined ? byteLevelToJSON(tokenizer as ByteLevelTokenizer) : own;
  await writeJSON(target, TOKENIZER_FILE, json);
  await writeJSON(target, TOKENIZER_CONFIG_FILE, {
    tokenizer_class: 'PreTrainedTokenizerFast',
    model_max_length: blockSize,
    // Where it is missing, some readers take spaces before punctuation away; what is to go, the decoder takes.
    clean_up_tokenization_spaces: false,
    ...names,
  });
}

function writeJSON(target: NodeStore, name: string, content: unknown): Promise<void> {
  return target.replace(name, `${JSON.stringify(content, null, 2)}\n`);
}
