/**
 * Makes a loop network from a GPT-2, ready for further training: `loopnn retrofit`, and `retrofitModel` of the library.
 */
import { type OptionNames, requireOptionNames } from '../fields.js';
import { join } from 'node:path';
import { requireNewFolder, writeNewFolder } from '../node/new-folder.js';
import type { NodeStore } from '../node/store.js';
import { TensorFiles } from '../data/hub/tensor-files.js';
import { ConfigError } from '../errors.js';
import { elementCount } from '../formats/lazy-tensors.js';
import { applicationCount, type ModelConfig } from '../models/config.js';
import { parseGroups, parseLayers, retrofitConfig, retrofitTensors } from '../convert/retrofit.js';
import { saveInitialWeights, weightsFile } from '../train/checkpoint.js';
import { parseRunConfig } from '../train/config.js';
import { createRun } from '../train/run.js';
import { openRun } from '../node/run.js';

export interface RetrofitOptions {
  /** Folder of a GPT-2's run, trained or imported. */
  readonly model: string;
  /** Folder of the new run. */
  readonly out: string;
  /** Layers to keep, in order: `0-5` or `0,2,4-6`; all by default. */
  readonly layers?: string | undefined;
  /** Instead, layers that are each the mean of several: `0-1,2-3` or `0+6,1+7`. */
  readonly average?: string | undefined;
  /** Loops over the stack, and over each layer; one of them must be 2 or more. */
  readonly loops?: number;
  readonly innerLoops?: number;
  /** First and last layers that run once. */
  readonly prelude?: number;
  readonly coda?: number;
  /** `correction` (default) starts equal to the GPT-2. */
  readonly loopForm?: ModelConfig['loopForm'];
  readonly gate?: ModelConfig['gate'];
  /** Recipes that start as the network without them; injection by `scalars` alone. */
  readonly inputInjection?: ModelConfig['inputInjection'];
  readonly loopEmbedding?: boolean;
  readonly hyperConnections?: ModelConfig['hyperConnections'];
  readonly nStream?: number;
  readonly signal?: AbortSignal;
  /** Receives one line about anything that was left out. */
  readonly onNotice?: (line: string) => void;
}

const RETROFIT_OPTIONS: OptionNames<RetrofitOptions> = {
  model: true,
  out: true,
  layers: true,
  average: true,
  loops: true,
  innerLoops: true,
  prelude: true,
  coda: true,
  loopForm: true,
  gate: true,
  inputInjection: true,
  loopEmbedding: true,
  hyperConnections: true,
  nStream: true,
  signal: true,
  onNotice: true,
};

export interface RetrofittedModel {
  /** The folders of the new run and of the GPT-2's, and the update that its weights are from. */
  readonly run: string;
  readonly from: string;
  readonly step: number;
  readonly model: ModelConfig;
  /** For each layer, the GPT-2's layers of which it is the mean. */
  readonly layers: readonly (readonly number[])[];
  readonly parameters: number;
  readonly applications: number;
}

/**
 * Makes a loop network from a GPT-2, as close to it as the loop form allows; train it further with `trainRun({ resume:
 * true })`.
 *
 * @throws ConfigError if the run is not a GPT-2, `out` is neither new nor empty, or layers do not exist
 *
 * @example
 * const { applications } = await retrofitModel({ model: 'runs/gpt2', out: 'runs/looped', loops: 2 });
 * console.log(applications);
 */
export async function retrofitModel(options: RetrofitOptions): Promise<RetrofittedModel> {
  requireOptionNames('retrofitModel', options, RETROFIT_OPTIONS);
  const { model: run, out, loopForm = 'correction', gate = 'vector', signal, onNotice = () => {} } = options;
  await requireNewFolder(out, '--out');
  const opened = await openRun(run);
  const { store, config: original } = opened;
  const groups = chosenLayers(options, original.model);
  const model = retrofitConfig(original.model, groups, {
    nLoop: options.loops ?? 1,
    nInnerLoop: options.innerLoops ?? 1,
    nPrelude: options.prelude ?? 0,
    nCoda: options.coda ?? 0,
    loopForm,
    gate,
    ...chosenRecipes(options),
  });
  const tokenizer = await opened.ownTokenizer();
  const conventions = await opened.conventions();
  const { path, step } = await weightsFile(store, signal);
  await using weights = await TensorFiles.open([join(run, path)]);
  const tensors = retrofitTensors(model, groups, weights.tensors, path);

  const config = parseRunConfig({ model, train: original.train }, run);
  const write = async (target: NodeStore) => {
    await saveInitialWeights(target, tensors);
    await createRun(target, config, tokenizer, conventions);
  };
  await writeNewFolder(out, '--out', write, signal);
  const left = original.model.nLayer - new Set(groups.flat()).size;
  if (left > 0) onNotice(`left out of the ${original.model.nLayer} layers: ${left}`);
  if (loopForm === 'output') {
    onNotice('loop form output: starts with the embedding counted once too often; correction starts exactly');
  }
  const parameters = tensors.reduce((sum, { shape }) => sum + elementCount(shape), 0);
  const applications = applicationCount(model);
  return { run: out, from: run, step, model, layers: groups, parameters, applications };
}

function chosenLayers({ layers, average }: RetrofitOptions, { nLayer }: ModelConfig): number[][] {
  if (layers !== undefined && average !== undefined) {
    throw new ConfigError('--average', 'must not be given together with --layers', average);
  }
  if (average !== undefined) return parseGroups(average, '--average');
  return parseLayers(layers ?? `0-${nLayer - 1}`, '--layers');
}

/** The requested recipes. */
function chosenRecipes({
  inputInjection,
  loopEmbedding,
  hyperConnections,
  nStream,
}: RetrofitOptions): Partial<ModelConfig> {
  const given = Object.entries({ inputInjection, loopEmbedding, hyperConnections, nStream });
  return Object.fromEntries(given.filter(([, value]) => value !== undefined));
}
