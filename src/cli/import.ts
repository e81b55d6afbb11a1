/** `loopnn import`: a model in Hugging Face's layout becomes a run, to evaluate, generate from and train on. */
import type { Command } from 'commander';
import { openHuggingFace } from '../data/huggingface.js';
import { NodeStore } from '../data/node-store.js';
import { ConfigError } from '../errors.js';
import { elementCount } from '../formats/lazy-tensors.js';
import { modelFromHuggingFace, tensorsFromHuggingFace } from '../models/huggingface.js';
import { createTokenizer, tokenizerFromJSON } from '../tokenizer/load.js';
import { isGpt2 } from '../tokenizer/gpt2.js';
import type { Tokenizer, TokenizerJSON } from '../tokenizer/tokenizer.js';
import { saveInitialWeights } from '../train/checkpoint.js';
import { parseRunConfig } from '../train/config.js';
import { createRun, requireFits, runExists } from '../train/run.js';
import { grouped, notice, printResult } from './output.js';

interface ImportFlags {
  readonly out: string;
  readonly json?: true;
}

export function importCommand(program: Command): void {
  program
    .command('import')
    .description('make a run of a GPT-2, or an exported loop network, in Hugging Face’s layout')
    .argument('<folder>', 'folder with config.json, *.safetensors and, if any, the tokenizer’s files')
    .requiredOption('--out <run>', 'folder of the new run; train it on with: loopnn train --resume')
    .option('--json', 'print one JSON document')
    .action(importModel);
}

async function importModel(source: string, flags: ImportFlags): Promise<void> {
  const store = new NodeStore(flags.out);
  await requireNoRun(store);
  await using folder = await openHuggingFace(localFolder(source));
  const { model, notices } = modelFromHuggingFace(folder.config, folder.configPath);
  const tensors = await tensorsFromHuggingFace(model, folder.weights.tensors, source);
  const tokenizer = folder.tokenizer && (await readTokenizer(folder.tokenizer, folder.tokenizerPath));
  if (tokenizer) requireFits(tokenizer, model, folder.tokenizerPath);

  await using _lock = await store.lock();
  await saveInitialWeights(store, tensors);
  await createRun(store, parseRunConfig({ model }, source), tokenizer);
  for (const line of notices) notice(line);
  if (!tokenizer) notice(`${source}: has no tokenizer; the run works on tokens, and data brings its own`);
  const parameters = tensors.reduce((sum, { shape }) => sum + elementCount(shape), 0);
  const document = { run: flags.out, model, parameters, tokenizer: tokenizer?.name ?? null };
  printResult(flags.json === true, document, () => {
    const { depth, nLayer, nEmbd, vocabSize } = model;
    const size = `${nLayer} layers of ${nEmbd} channels, ${grouped(vocabSize)} tokens`;
    return `${flags.out}: ${depth} with ${size}, ${grouped(parameters)} parameters`;
  });
}

/** Throws ConfigError where a folder holds a run. */
export async function requireNoRun(store: NodeStore): Promise<void> {
  if (!(await runExists(store))) return;
  throw new ConfigError('--out', 'must not hold a run yet', store.folder, 'name a new folder');
}

/** The folder that a source names. */
function localFolder(source: string): string {
  if (!source.startsWith('hf:')) return source;
  throw new ConfigError('source', 'must be a folder', source, 'download the model first');
}

/** GPT-2's own tokenizer is remembered by its name, as in data prepared with it. */
async function readTokenizer(json: TokenizerJSON, where: string): Promise<Tokenizer> {
  const tokenizer = await tokenizerFromJSON(json, where);
  return (await isGpt2(tokenizer)) ? createTokenizer('gpt2') : tokenizer;
}
