/** Turns a model in Hugging Face's layout into a run: `loopnn import`, and `importModel` of the library. */
import { type OptionNames, requireOptionNames } from '../fields.js';
import type { DownloadOptions, DownloadPlan } from '../data/hub/hub-download.js';
import { openHubModel } from '../data/hub/hub-model.js';
import { folderFiles, openHuggingFace } from '../data/hub/huggingface.js';
import { foundTemplate, foundTextIds, foundTokenizer } from '../data/hub/huggingface-texts.js';
import { requireNewFolder, writeNewFolder } from '../node/new-folder.js';
import type { NodeStore } from '../node/store.js';
import { ConfigError } from '../errors.js';
import { grouped } from '../printable.js';
import { elementCount } from '../formats/lazy-tensors.js';
import type { ModelConfig } from '../models/config.js';
import { modelCost } from '../models/cost.js';
import { modelFromHuggingFace, tensorsFromHuggingFace } from '../convert/huggingface.js';
import { createTokenizer } from '../tokenizer/load.js';
import { isGpt2 } from '../tokenizer/gpt2.js';
import { saveInitialWeights } from '../train/checkpoint.js';
import { parseRunConfig } from '../train/config.js';
import { createRun, requireFits } from '../train/run.js';

export interface ImportOptions {
  /** A folder with config.json and *.safetensors, or a model on the hub: `hf:owner/name`, `hf:owner/name@revision`. */
  readonly source: string;
  /** Folder of the new run. */
  readonly out: string;
  /** Token that ends a text; by default the one in the model's files, or a usual name. */
  readonly eot?: string | undefined;
  /** Read files outside the folder that links in it point to. */
  readonly followLinks?: boolean | undefined;
  readonly signal?: AbortSignal;
  /** The size of a download, and the bytes of the run's weights. */
  readonly onPlan?: (plan: DownloadPlan, runBytes: number) => void;
  readonly onProgress?: DownloadOptions['onProgress'];
  /** Called when the download is complete. */
  readonly onDownloaded?: () => void;
  /** Receives one line about anything that was left out or corrected. */
  readonly onNotice?: (line: string) => void;
}

const IMPORT_OPTIONS: OptionNames<ImportOptions> = {
  source: true,
  out: true,
  eot: true,
  followLinks: true,
  signal: true,
  onPlan: true,
  onProgress: true,
  onDownloaded: true,
  onNotice: true,
};

export interface ImportedModel {
  /** The folder. */
  readonly run: string;
  readonly model: ModelConfig;
  readonly parameters: number;
  /** Null if the source has none. */
  readonly tokenizer: string | null;
}

/**
 * Makes a run of a GPT-2, or of an exported loop network, in Hugging Face's layout. The folder `out` is written whole
 * or not at all.
 *
 * @throws ConfigError if `out` is neither new nor empty, or the model is of another kind; CheckpointError for wrong
 * weights
 *
 * @example
 * // A folder, or hf:gpt2.
 * const { parameters } = await importModel({ source: 'gpt2/', out: 'runs/gpt2' });
 * console.log(parameters);
 */
export async function importModel(options: ImportOptions): Promise<ImportedModel> {
  requireOptionNames('importModel', options, IMPORT_OPTIONS);
  const { source, out, eot, signal, onNotice = () => {} } = options;
  await requireNewFolder(out, '--out');
  let runBytes = 0;
  const download: DownloadOptions = {
    ...(signal ? { signal } : {}),
    onNotice,
    onPlan: (plan) => options.onPlan?.(plan, runBytes),
    ...(options.onProgress ? { onProgress: options.onProgress } : {}),
  };
  const files = source.startsWith('hf:')
    ? openHubModel(source, download)
    : folderFiles(source, options.followLinks);
  const found = await openHuggingFace(await files);
  const { texts } = found;
  const { model, queryScales, notices } = modelFromHuggingFace(texts.config, found.configPath);
  const { ids, generation, notices: ofIds } = foundTextIds(texts, model.vocabSize);
  if (eot !== undefined && !texts.tokenizer) {
    throw new ConfigError('--eot', `must not be given where there is no tokenizer, as in ${source}`, eot);
  }
  const read = texts.tokenizer && (await foundTokenizer(texts.tokenizer, texts, ids, eot));
  // GPT-2's own tokenizer is stored by its name, as in data prepared with it.
  const tokenizer = read && (await isGpt2(read.tokenizer)) ? await createTokenizer('gpt2') : read?.tokenizer;
  const beyond = tokenizer ? requireFits(tokenizer, model, texts.tokenizerPath) : [];
  const { chatTemplate, notices: ofTemplates } = foundTemplate(texts);
  const conventions = { generation, tokens: read?.tokens ?? null, chatTemplate };
  runBytes = 4 * modelCost(model).parameters.total;
  await using weights = await found.openWeights();
  options.onDownloaded?.();
  const { tensors, notices: ofTensors } = await tensorsFromHuggingFace(
    model,
    weights.tensors,
    source,
    queryScales,
  );

  const config = parseRunConfig({ model }, source);
  const write = async (store: NodeStore) => {
    await saveInitialWeights(store, tensors);
    await createRun(store, config, tokenizer ?? null, conventions);
  };
  await writeNewFolder(out, '--out', write, signal);
  for (const line of [...notices, ...ofTensors, ...ofIds, ...ofTemplates]) onNotice(line);
  if (beyond.length > 0) {
    const named = beyond.map(({ content, id }) => `${content} (${id})`).join(', ');
    const ids = grouped(model.vocabSize);
    onNotice(`${texts.tokenizerPath}: beyond the model's ${ids} ids, which never makes them: ${named}`);
  }
  if (chatTemplate !== null) onNotice(`${source}: has a chat template, which loopnn serve uses`);
  if (!tokenizer) onNotice(`${source}: has no tokenizer; the run works on tokens, and data brings its own`);
  const parameters = tensors.reduce((sum, { shape }) => sum + elementCount(shape), 0);
  return { run: out, model, parameters, tokenizer: tokenizer?.name ?? null };
}
