/** A run's best weights in the layouts of other tools: `loopnn export`, and `exportModel` of the library. */
import { type OptionNames, requireOptionNames } from '../fields.js';
import { join } from 'node:path';
import { readModelingFile } from '../data/hub/huggingface.js';
import { requireNewFolder, writeNewFolder } from '../node/new-folder.js';
import type { NodeStore } from '../node/store.js';
import { TensorFiles } from '../data/hub/tensor-files.js';
import { ConfigError } from '../errors.js';
import { elementCount, lazySafetensors } from '../formats/lazy-tensors.js';
import { onnxFile, type OnnxValue } from '../formats/onnx.js';
import type { WeightType } from '../formats/onnx-weights.js';
import { type TextIdFields, textIdFields } from '../generate/text-ids.js';
import {
  huggingFaceConfig,
  LOOP_MODEL_TYPE,
  MODELING_MODULE,
  tensorsForHuggingFace,
} from '../convert/huggingface.js';
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
import { publishedFiles } from '../train/published.js';
import { TOKENIZER_FILE } from '../train/run.js';
import { openRun } from '../node/run.js';
import type { Run } from '../train/run.js';

export interface ExportOptions {
  /** Folder of the run. */
  readonly model: string;
  /** A new folder for the exported model. */
  readonly out: string;
  /**
   * `huggingface` (default): config.json and safetensors for transformers. `onnx`: a graph with a key/value cache.
   * `browser`: a run for `loadModel` of loopnn/browser, without the files for training.
   */
  readonly format?: 'huggingface' | 'onnx' | 'browser';
  /**
   * For onnx: loops, steps or layers to write out; without it they are an input of the graph if the depth allows that.
   */
  readonly loops?: number | undefined;
  /** For onnx: how weights are stored; float32 by default. */
  readonly weights?: WeightType | undefined;
  readonly signal?: AbortSignal;
  /** Receives one line about anything that was left out. */
  readonly onNotice?: (line: string) => void;
}

const EXPORT_OPTIONS: OptionNames<ExportOptions> = {
  model: true,
  out: true,
  format: true,
  loops: true,
  weights: true,
  signal: true,
  onNotice: true,
};

/** The files written to the folder `out`, and the update of their weights. */
interface Exported {
  readonly out: string;
  readonly step: number;
  /** Null if it has no form there. */
  readonly tokenizer: string | null;
}

export interface ExportedHuggingFace extends Exported {
  readonly modelType: string;
  readonly parameters: number;
}

export interface ExportedForBrowser extends Exported {
  /** Of all files together. */
  readonly bytes: number;
}

export interface ExportedOnnx extends Exported {
  readonly weights: WeightType;
  /** Null if they are an input of the graph, or there is no choice. */
  readonly loops: number | null;
  readonly inputs: readonly OnnxValue[];
  readonly outputs: readonly OnnxValue[];
}

/**
 * Writes a run's best weights for other tools; the folder is written whole or not at all.
 *
 * @throws ConfigError if `out` is neither new nor empty, and for options that the format or the model does not have;
 * CheckpointError for damaged weights
 *
 * @example
 * const { modelType } = await exportModel({ model: 'runs/mine', out: 'exported' });
 * console.log(modelType);
 */
export function exportModel(options: ExportOptions & { format: 'onnx' }): Promise<ExportedOnnx>;
export function exportModel(
  options: ExportOptions & { format?: 'huggingface' },
): Promise<ExportedHuggingFace>;
export function exportModel(options: ExportOptions & { format: 'browser' }): Promise<ExportedForBrowser>;
export function exportModel(options: ExportOptions): Promise<AnyExported>;
export async function exportModel(options: ExportOptions): Promise<AnyExported> {
  requireOptionNames('exportModel', options, EXPORT_OPTIONS);
  const { format = 'huggingface' } = options;
  if (format === 'onnx') return exportOnnx(options);
  for (const name of ['loops', 'weights'] as const) {
    if (options[name] === undefined) continue;
    throw new ConfigError(`--${name}`, `must not be given where --format is ${format}`, options[name]);
  }
  return format === 'browser' ? exportForBrowser(options) : exportHuggingFace(options);
}

type AnyExported = ExportedHuggingFace | ExportedOnnx | ExportedForBrowser;

/** The run itself, so that nothing is lost. Pages turn texts into tokens, so it needs a tokenizer. */
async function exportForBrowser({ model, out, signal }: ExportOptions): Promise<ExportedForBrowser> {
  await requireNewFolder(out, '--out');
  const run = await openRun(model);
  const tokenizer = await run.tokenizer();
  const { files, step } = await publishedFiles(run.store, signal);
  let bytes = 0;
  const writeAll = async (target: NodeStore) => {
    for (const [name, content] of files) {
      await target.replace(name, content);
      await using file = await target.open(name);
      bytes += file.size;
    }
  };
  await writeNewFolder(out, '--out', writeAll, signal);
  return { out, step, tokenizer: tokenizer.name, bytes };
}

/** The suffixes by which transformers.js finds a graph for its `dtype`: fp32, fp16, q8. */
const ONNX_FILES: Readonly<Record<WeightType, string>> = {
  float32: 'onnx/model.onnx',
  float16: 'onnx/model_fp16.onnx',
  int8: 'onnx/model_quantized.onnx',
};

async function exportOnnx(options: ExportOptions): Promise<ExportedOnnx> {
  const { model: run, out, loops, weights: type = 'float32', signal, onNotice } = options;
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
    await writeTexts(target, texts, model.blockSize, run, onNotice);
    await writeJSON(target, 'config.json', onnxConfig(model, texts.ids, loops));
  };
  await writeNewFolder(out, '--out', writeAll, signal);
  const { inputs, outputs } = graph;
  return {
    out,
    step,
    weights: type,
    loops: loops ?? null,
    tokenizer: texts.tokenizer?.name ?? null,
    inputs,
    outputs,
  };
}

async function exportHuggingFace(options: ExportOptions): Promise<ExportedHuggingFace> {
  const { model: run, out, signal, onNotice } = options;
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
    await writeTexts(target, texts, model.blockSize, run, onNotice);
    if (config.model_type === LOOP_MODEL_TYPE)
      await target.replace(`${MODELING_MODULE}.py`, await readModelingFile());
    await writeJSON(target, 'config.json', config);
  };
  await writeNewFolder(out, '--out', writeAll, signal);
  const parameters = tensors.reduce((sum, { shape }) => sum + elementCount(shape), 0);
  return {
    out,
    step,
    modelType: String(config.model_type),
    parameters,
    tokenizer: texts.tokenizer?.name ?? null,
  };
}

/** A run's text conventions. */
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
    // By default one token separates documents; a model with only end tokens has no begin token.
    bos: bos ?? (eos.length === 0 ? eot : null),
    eos: eos.length === 0 && eot !== null ? [eot] : eos,
  };
  return { tokenizer, ids: textIdFields(ids), ...conventions };
}

/**
 * Writes the tokenizer, the ids by which texts begin and end, and the chat template, under transformers' file names.
 */
async function writeTexts(
  target: NodeStore,
  texts: Texts,
  blockSize: number,
  run: string,
  onNotice: ExportOptions['onNotice'],
): Promise<void> {
  const { tokenizer, tokens, generation, chatTemplate, ids } = texts;
  if (tokenizer) {
    const names = tokenNames({ tokens }, tokenizer);
    await writeTokenizer(target, tokenizer, names, blockSize, run, onNotice);
  }
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
  onNotice: ExportOptions['onNotice'],
): Promise<void> {
  const own = tokenizer.toJSON();
  if (own.model === undefined && !(tokenizer instanceof ByteLevelTokenizer)) {
    onNotice?.(`${run}: tokenizer ${tokenizer.name} has no form in Hugging Face's layout and is left out`);
    return;
  }
  const json = own.model === undefined ? byteLevelToJSON(tokenizer as ByteLevelTokenizer) : own;
  await writeJSON(target, TOKENIZER_FILE, json);
  await writeJSON(target, TOKENIZER_CONFIG_FILE, {
    tokenizer_class: 'PreTrainedTokenizerFast',
    model_max_length: blockSize,
    // If it is missing, some readers remove spaces before punctuation; the decoder removes what must be removed.
    clean_up_tokenization_spaces: false,
    ...names,
  });
}

function writeJSON(target: NodeStore, name: string, content: unknown): Promise<void> {
  return target.replace(name, `${JSON.stringify(content, null, 2)}\n`);
}
