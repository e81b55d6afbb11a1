/** The model in the worker's memory, and the answers to the page's questions. */
import { attentionWeights } from '../../experiments/attention.js';
import { isGate } from '../../evaluate/gates.js';
import { type Inspection, inspect } from '../../experiments/inspect.js';
import { Model } from '../../generate/model.js';
import { applicationCount, exitCount } from '../../models/config.js';
import { modelCost } from '../../models/cost.js';
import { exitCriteria, whyNoExit } from '../../models/exits/options.js';
import { webClock } from '../../web/clock.js';
import { loadParts, type ModelParts } from '../../web/load-model.js';
import { engineOf } from './engine.js';
import { runExits } from './exit-runs.js';
import type { Asked, ExitRuns, Gates, GivenFile, ModelFacts } from './messages.js';

/** Predictions that are listed at each exit. */
const LISTED = 8;
/** Tokens of a continuation. */
const CONTINUED = 60;

export class OpenModel {
  private readonly model: Model;

  private constructor(private readonly parts: ModelParts) {
    const { gpt, tokenizer, textIds } = parts;
    this.model = new Model(gpt, tokenizer, webClock, textIds);
  }

  /** Loads a run from files, or the page's own model. Throws CheckpointError, ConfigError or DataError. */
  static async load(files: readonly GivenFile[] | null): Promise<OpenModel> {
    return new OpenModel(await loadParts(files ? runAmong(files) : 'model/', { onWarning: () => {} }));
  }

  dispose(): Promise<void> {
    return this.model.dispose();
  }

  async facts(): Promise<ModelFacts> {
    const { gpt, step } = this.parts;
    const { config, runtime } = gpt;
    const gates: Gates[] = [];
    for (const parameter of gpt.parameters.all.filter(({ name }) => isGate(name))) {
      const [loops, width] = parameter.shape;
      gates.push({ name: parameter.name, loops, width, values: (await parameter.read()) as Float32Array });
    }
    const criteria = exitCriteria(config);
    return {
      config,
      step,
      parameters: modelCost(config).parameters.total,
      exits: exitCount(config),
      gates,
      criteria,
      noExits: criteria.length > 0 ? null : whyNoExit(config, 'change', exitCount(config)),
      engine: engineOf(runtime.backend),
      sharesMemory: globalThis.crossOriginIsolated,
    };
  }

  inspect(text: string): Promise<Inspection> {
    const { gpt, tokenizer } = this.parts;
    this.requireLength(text);
    return inspect(gpt, tokenizer, text, { top: LISTED, threshold: 0.5 });
  }

  /** Attention weights of the last block of a loop; loops are counted from 1. */
  attention({ text, loop }: Asked['attention']['question']): Promise<Float32Array | null> {
    const { gpt, tokenizer } = this.parts;
    const { config } = gpt;
    this.requireLength(text);
    const afterLoops = config.nCoda * config.nInnerLoop;
    const applications = applicationCount(config, exitCount(config) > 1 ? loop : undefined);
    return attentionWeights(gpt, Int32Array.from(tokenizer.encode(text)), applications - afterLoops - 1);
  }

  exits({ text, criterion }: Asked['exits']['question'], signal: AbortSignal): Promise<ExitRuns> {
    const { gpt, tokenizer } = this.parts;
    return runExits(gpt, tokenizer, text, criterion, signal);
  }

  /** Continues a text; returns why the continuation ended. */
  async generate(
    { text, loops, temperature }: Asked['generate']['question'],
    signal: AbortSignal,
    onPart: (text: string) => void,
  ): Promise<string> {
    this.requireLength(text);
    const { config } = this.parts.gpt;
    const options = { maxTokens: CONTINUED, temperature, signal, ...(temperature > 0 ? { topP: 0.95 } : {}) };
    const own = exitCount(config) > 1 ? { loops } : {};
    const answer = this.model.generate(text, { ...options, ...own });
    for (;;) {
      const { done, value } = await answer.next();
      if (done) return value.reason;
      if (value.text !== '') onPart(value.text);
    }
  }

  /** Throws an error for the visitor, since the model's own errors name an argument. */
  private requireLength(text: string): void {
    const { gpt, tokenizer } = this.parts;
    const { length } = tokenizer.encode(text);
    const most = gpt.config.blockSize;
    if (length === 0) throw new Error('Type a text for the model to read.');
    if (length <= most) return;
    throw new Error(`This model reads ${most} tokens at most, and the text has ${length}. Shorten it.`);
  }
}

/** The files of the run, with paths below a folder's own name, as a store of files needs them. */
function runAmong(files: readonly GivenFile[]): File[] {
  const depth = (path: string) => path.split('/').length;
  const configs = files.map(({ path }) => path).filter((path) => /(^|\/)config\.json$/.test(path));
  const [config = 'config.json'] = configs.sort((a, b) => depth(a) - depth(b));
  const root = config.slice(0, -'config.json'.length);
  const name = root.split('/').at(-2) ?? 'the run';
  return files
    .filter(({ path }) => path.startsWith(root))
    .map(({ path, file }) => {
      const value = `${name}/${path.slice(root.length)}`;
      return Object.defineProperty(file, 'webkitRelativePath', { value });
    });
}
