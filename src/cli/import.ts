/** `loopnn import`: a model in Hugging Face's layout becomes a run, to evaluate, generate from and train on. */
import type { Command } from 'commander';
import type { DownloadOptions, DownloadPlan } from '../data/hub/hub-download.js';
import { openHubModel } from '../data/hub/hub-model.js';
import { folderFiles, openHuggingFace } from '../data/hub/huggingface.js';
import { foundTemplate, foundTextIds, foundTokenizer } from '../data/hub/huggingface-texts.js';
import type { ModelFiles } from '../data/hub/model-files.js';
import { requireNewFolder, writeNewFolder } from '../node/new-folder.js';
import type { NodeStore } from '../node/store.js';
import { ConfigError } from '../errors.js';
import { elementCount } from '../formats/lazy-tensors.js';
import { modelCost } from '../models/cost.js';
import { modelFromHuggingFace, tensorsFromHuggingFace } from '../convert/huggingface.js';
import { createTokenizer } from '../tokenizer/load.js';
import { isGpt2 } from '../tokenizer/gpt2.js';
import { saveInitialWeights } from '../train/checkpoint.js';
import { parseRunConfig } from '../train/config.js';
import { createRun, requireFits } from '../train/run.js';
import { notEmpty } from './flags.js';
import { interruptible } from './interrupt.js';
import { byteSize, counted, grouped, notice, Progress, printResult } from './output.js';

interface ImportFlags {
  readonly out: string;
  readonly eot?: string;
  readonly followLinks?: true;
  readonly json?: true;
}

export function importCommand(program: Command): void {
  program
    .command('import')
    .description('make a run of a GPT-2, or an exported loop network, in Hugging Face’s layout')
    .argument(
      '<source>',
      'folder with config.json, *.safetensors and, if any, the tokenizer’s files and chat template; or a model on the Hugging Face hub: hf:owner/name, hf:owner/name@revision, hf:gpt2',
    )
    .requiredOption('--out <run>', 'folder of the new run; train it on with: loopnn train --resume')
    .option(
      '--eot <token>',
      'token that ends a text; by default what the model’s files name, or a usual name',
      notEmpty,
    )
    .option('--follow-links', 'read files that links in the folder lead to outside of it')
    .option('--json', 'print one JSON document')
    .action((source: string, flags: ImportFlags) =>
      interruptible((signal) => importModel(source, flags, signal)),
    );
}

async function importModel(source: string, flags: ImportFlags, signal: AbortSignal): Promise<void> {
  await requireNewFolder(flags.out, '--out');
  const download = new Download(signal);
  const found = await openHuggingFace(await openSource(source, flags, download));
  const { texts } = found;
  const { model, queryScales, notices } = modelFromHuggingFace(texts.config, found.configPath);
  const { ids, generation, notices: ofIds } = foundTextIds(texts, model.vocabSize);
  if (flags.eot !== undefined && !texts.tokenizer) {
    throw new ConfigError(
      '--eot',
      `must not be given where there is no tokenizer, as in ${source}`,
      flags.eot,
    );
  }
  const read = texts.tokenizer && (await foundTokenizer(texts.tokenizer, texts, ids, flags.eot));
  // GPT-2's own tokenizer is remembered by its name, as in data prepared with it.
  const tokenizer = read && (await isGpt2(read.tokenizer)) ? await createTokenizer('gpt2') : read?.tokenizer;
  const beyond = tokenizer ? requireFits(tokenizer, model, texts.tokenizerPath) : [];
  const { chatTemplate, notices: ofTemplates } = foundTemplate(texts);
  const conventions = { generation, tokens: read?.tokens ?? null, chatTemplate };
  download.runBytes = 4 * modelCost(model).parameters.total;
  await using weights = await found.openWeights();
  download.progress.clear();
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
  await writeNewFolder(flags.out, '--out', write, signal);
  for (const line of [...notices, ...ofTensors, ...ofIds, ...ofTemplates]) notice(line);
  if (beyond.length > 0) {
    const named = beyond.map(({ content, id }) => `${content} (${id})`).join(', ');
    const ids = grouped(model.vocabSize);
    notice(`${texts.tokenizerPath}: beyond the model's ${ids} ids, which never makes them: ${named}`);
  }
  if (chatTemplate !== null) notice(`${source}: has a chat template, which loopnn serve uses`);
  if (!tokenizer) notice(`${source}: has no tokenizer; the run works on tokens, and data brings its own`);
  const parameters = tensors.reduce((sum, { shape }) => sum + elementCount(shape), 0);
  const document = { run: flags.out, model, parameters, tokenizer: tokenizer?.name ?? null };
  printResult(flags.json === true, document, () => {
    const { depth, nLayer, nEmbd, vocabSize } = model;
    const size = `${counted(nLayer, 'layer')} of ${nEmbd} channels, ${grouped(vocabSize)} tokens`;
    return [`${flags.out}: ${depth} with ${size}, ${grouped(parameters)} parameters`];
  });
}

/** The files of a folder, or of a model on the hub. */
function openSource(source: string, flags: ImportFlags, download: Download): Promise<ModelFiles> {
  return source.startsWith('hf:') ? openHubModel(source, download) : folderFiles(source, flags.followLinks);
}

/** A download as the terminal shows it: what it takes in one line, then a bar. */
class Download implements DownloadOptions {
  progress = new Progress('download');
  readonly onNotice = notice;
  /** Bytes of the run that the weights become. */
  runBytes = 0;
  /** Share that was there before. */
  #from: number | undefined;

  constructor(readonly signal: AbortSignal) {}

  readonly onPlan = ({ files, totalBytes, missingBytes, cache, freeBytes }: DownloadPlan): void => {
    this.progress.clear();
    this.progress = new Progress('download');
    this.#from = undefined;
    const free = freeBytes === undefined ? '' : ` (${byteSize(freeBytes)} free)`;
    notice(
      `${counted(files, 'file')} of weights, ${byteSize(totalBytes)}: ${byteSize(missingBytes)} to ` +
        `download to ${cache}${free}; the run will take about ${byteSize(this.runBytes)}`,
    );
  };

  readonly onProgress = (bytes: number, totalBytes: number): void => {
    if (totalBytes === 0) return;
    const fraction = bytes / totalBytes;
    this.#from ??= fraction;
    this.progress.update(fraction, byteSize(bytes), this.#from);
  };
}
