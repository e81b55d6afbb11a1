/**
 * Prepares a corpus for training: makes two token shards of texts, a held-out one and the rest. This file orders the
 * work and writes the prepared folder; it prints nothing and handles no signals.
 *
 * The text is read up to three times and never held in memory as a whole: to measure the documents (`splits.ts`), to
 * train a tokenizer if one is requested (on the training split alone), and to encode.
 */
import { type OptionNames, requireOptionNames } from '../fields.js';
import { createHash } from 'node:crypto';
import { rm, stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { ConfigError } from '../errors.js';
import { BpeTrainer, checkBpeVocabSize } from '../tokenizer/bpe-train.js';
import { createTokenizer } from '../tokenizer/load.js';
import { endOfTextNames } from '../tokenizer/special-tokens.js';
import {
  END_OF_TEXT,
  partsDocuments,
  type PartingTokenizer,
  type Tokenizer,
} from '../tokenizer/tokenizer.js';
import { isCorpus, openSource } from './corpus/corpora.js';
import { pathsBelow } from './corpus/documents.js';
import { ALONE, broadcastText, type Peers } from '../train/peers.js';
import { defaultWorkers, Encoder, type Encoding } from './encoder.js';
import { helpEncode, SharedEncoder } from './shared-encoder.js';
import { checkValFraction, type Split } from './holdout.js';
import { tokenizerInFile } from './hub/huggingface-texts.js';
import { type HubOptions, type HubTextSource, isHubSpec, openHubSource } from './hub/hub-source.js';
import { makeFolder, removeEmpty } from '../node/make-folder.js';
import { readRecord, removeJournal, type SplitProgress, writeRecord } from './journal.js';
import { DATA_FILES, type DatasetMeta, META_FORMAT, type SplitMeta } from './meta.js';
import { checkOut, moveInto, writeFlushed } from './output-folder.js';
import { underItsName, writing } from '../node/file-errors.js';
import {
  describeWarnings,
  FIELD_DEFAULTS,
  type FieldOptions,
  noWarnings,
  type TextSource,
} from './corpus/source.js';
import { BATCH_UNITS, batches, SplitWriters, STRETCH_UNITS } from './split-writers.js';
import { meantBy, ownSplits, type SplitName } from './split-names.js';
import { SplitCorpus } from './splits.js';

/** Bytes of text below which the work would be done before other threads have started. */
const FEW_BYTES = 1 << 23;
/** Milliseconds for which words are counted and merges learned before signals are handled. */
const SLICE_MS = 100;
/** Bytes of text after which the shards are flushed and a record is written. */
const RECORD_BYTES = 1 << 28;
/** Must change whenever documents would go to other splits, so that earlier work is not resumed. */
const RECORD_RULES = 'hold-out by bytes';

/** What to prepare, and how. */
export interface PrepareOptions {
  /** Names of corpora, files and folders. */
  readonly sources: readonly string[];
  /** The folder to make. */
  readonly out: string;
  /** 'bytes', 'gpt2', 'bpe:N' (trained here, N ids) or the path of a `tokenizer.json`. */
  readonly tokenizer: string;
  /** The token that ends a text, for a `tokenizer.json` that names another or none. */
  readonly eot?: string | undefined;
  /** A source to hold out whole, in place of a share: a corpus, file, folder or dataset. */
  readonly val?: string | undefined;
  /**
   * The split to hold out, of `val` if given, else of the sources. These must be datasets on the hub, or folders whose
   * files name their splits.
   */
  readonly valSplit?: string | undefined;
  /** Share of the text to hold out; default: see `holdout.ts`. */
  readonly valFraction?: number | undefined;
  /** Decides which documents are held out. */
  readonly seed: number;
  /** How files of records are read; by default the text is in their field or column `text`. */
  readonly fields?: Partial<FieldOptions> | undefined;
  /** The wanted part of a dataset on the hub, and how the hub is reached. */
  readonly hub?: Omit<HubOptions, 'signal' | 'onProgress'> | undefined;
  /** Threads that encode; default: see `encoder.ts`. The result does not depend on their number. */
  readonly workers?: number | undefined;
  /**
   * The processes that encode together; this process alone by default. Rank 0 reads and writes; the other ranks need
   * no files.
   */
  readonly peers?: Peers | undefined;
  /** Bytes of text between two records of the progress on datasets of the hub. */
  readonly recordBytes?: number | undefined;
  /** Bytes of text from which datasets on the hub are not measured first; default: see `splits.ts`. */
  readonly large?: number | undefined;
  /** Replace a folder that was prepared before. */
  readonly force?: boolean | undefined;
  /** Stops the work. Nothing of it stays, except the downloads and the progress of datasets on the hub. */
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: PrepareProgress) => void) | undefined;
}

const PREPARE_OPTIONS: OptionNames<PrepareOptions> = {
  sources: true,
  out: true,
  tokenizer: true,
  eot: true,
  val: true,
  valSplit: true,
  valFraction: true,
  seed: true,
  fields: true,
  hub: true,
  workers: true,
  peers: true,
  recordBytes: true,
  large: true,
  force: true,
  signal: true,
  onProgress: true,
};

const HUB_OPTIONS: OptionNames<NonNullable<PrepareOptions['hub']>> = {
  endpoint: true,
  token: true,
  cache: true,
  retryMs: true,
  silenceMs: true,
  onNotice: true,
  onPlan: true,
  split: true,
  subset: true,
};

const FIELD_OPTIONS: OptionNames<FieldOptions> = {
  field: true,
  column: true,
  maxBroken: true,
  as: true,
  splitOn: true,
  followLinks: true,
  split: true,
};

/** The progress of the work. */
export interface PrepareProgress {
  readonly phase: 'download' | 'count' | 'train tokenizer' | 'encode';
  /** Documents begun in this phase. */
  readonly documents: number;
  /** Bytes of text read in this phase, or downloaded. */
  readonly bytes: number;
  /** Bytes of text that this phase reads, an estimate for a dataset on the hub; undefined while unknown. */
  readonly totalBytes: number | undefined;
  /** Token ids written. */
  readonly tokens: number;
}

/** What was prepared. */
export interface PrepareResult {
  readonly meta: DatasetMeta;
  /** Sentences for the user: what was skipped or corrected. */
  readonly warnings: readonly string[];
  /** Sentences for the user: what was chosen because the user gave no choice. */
  readonly notices: readonly string[];
}

/**
 * Writes `train.bin`, `val.bin`, `meta.json` and `tokenizer.json` (and, for an end of text with an unusual name,
 * `tokenizer_config.json`) into the folder `out`, which appears complete or not at all. Each document ends with the
 * end-of-text id. The same sources and options give the same bytes, for any number of processes.
 *
 * @throws ConfigError for an impossible option; DataError if a source or package is missing, there is no text, or
 *   `out` holds something that may not be replaced; the signal's reason if the signal is aborted
 */
export async function prepareCorpus(options: PrepareOptions): Promise<PrepareResult> {
  requireOptionNames('prepareCorpus', options, PREPARE_OPTIONS);
  if (options.fields) requireOptionNames('fields', options.fields, FIELD_OPTIONS);
  if (options.hub) requireOptionNames('hub', options.hub, HUB_OPTIONS);
  const { peers = ALONE } = options;
  if (peers.rank > 0) await helpEncode(peers);
  const result = peers.rank > 0 ? null : await prepareHere(options);
  const told = await broadcastText(peers, 0, JSON.stringify(result));
  return result ?? JSON.parse(told);
}

async function prepareHere(options: PrepareOptions): Promise<PrepareResult> {
  if (options.sources.length === 0) throw new ConfigError('sources', 'must name at least one', 0);
  if (options.valFraction !== undefined) checkValFraction(options.valFraction);
  const out = resolve(options.out);
  const replaces = await checkOut(out, options.out, options.force ?? false);
  const makeTokenizer = await planTokenizer(options.tokenizer, options.eot);
  const fields = { ...FIELD_DEFAULTS, ...options.fields };
  const { hub: wanted, sources: specs } = options;
  const valSpecs = options.val !== undefined ? [options.val] : options.valSplit !== undefined ? specs : [];
  if (valSpecs.length > 0 && options.valFraction !== undefined) {
    const rule = 'must not be given beside --val or --val-split';
    throw new ConfigError('--val-fraction', rule, options.valFraction);
  }
  if (wanted?.subset !== undefined && ![...specs, ...valSpecs].some(isHubSpec)) {
    throw new ConfigError(
      '--subset',
      'is for datasets on the hub',
      specs.join(' '),
      'name the folder itself',
    );
  }
  await requireSplits('--split', wanted?.split, specs);
  await requireSplits('--val-split', options.valSplit, valSpecs);
  const chosen = [options.val, options.valSplit, options.valFraction, wanted?.split];
  const asked = chosen.some((choice) => choice !== undefined);
  const split =
    wanted?.split ?? (options.valSplit !== undefined && options.val === undefined ? 'train' : undefined);
  const sources: TextSource[] = [];
  const splits: OwnSplits[] = [];
  // Local sources first: their faults are reported before anything is downloaded.
  const inOrder = (all: readonly string[]) =>
    [...all.entries()].sort(([, a], [, b]) => Number(isHubSpec(a)) - Number(isHubSpec(b)));
  for (const [index, spec] of inOrder(specs)) {
    if (isHubSpec(spec)) {
      const source = await openHub(spec, fields, options, wanted?.split);
      splits[index] = source.splits;
      sources[index] = source;
    } else {
      sources[index] = await openLocal(spec, fields, split);
      splits[index] = asked || isCorpus(spec) ? undefined : ownSplits((await pathsBelow(spec, fields)) ?? []);
    }
  }
  const own = asked ? undefined : toldOf(specs, splits);
  const [held, valSplit] = own === undefined ? [valSpecs, options.valSplit] : [specs, 'validation'];
  const val: TextSource[] = [];
  for (const [index, spec] of inOrder(held)) {
    val[index] = await (isHubSpec(spec)
      ? openHub(spec, fields, options, valSplit)
      : openLocal(spec, fields, valSplit));
    if (own !== undefined && !isHubSpec(spec)) sources[index] = await openLocal(spec, fields, 'train');
  }

  const aside = `${out}.partial`;
  const resumable = [...sources, ...val].every(({ census }) => census !== undefined);
  let topmost: string | undefined;
  try {
    if (!resumable) await rm(aside, { recursive: true, force: true });
    topmost = await writing(aside, () => makeFolder(aside));
    const result = await new Preparation(options, fields, sources, val).run(makeTokenizer, aside, resumable);
    options.signal?.throwIfAborted();
    await removeJournal(aside);
    await moveInto(aside, out, replaces);
    return own === undefined ? result : { ...result, notices: [own] };
  } catch (error) {
    if (resumable) throw underItsName(error, aside, aside, 'the same command resumes where it stopped');
    throw underItsName(error, aside, out);
  } finally {
    if (!resumable) {
      await rm(aside, { recursive: true, force: true });
      await removeEmpty(dirname(aside), topmost);
    }
  }
}

/** Throws ConfigError if a split is wanted of a source that has none. */
async function requireSplits(
  flag: string,
  split: string | undefined,
  specs: readonly string[],
): Promise<void> {
  if (split === undefined) return;
  for (const spec of specs) {
    if (isHubSpec(spec)) continue;
    const isFile = (await stat(spec).catch(() => undefined))?.isFile() ?? false;
    if (!isCorpus(spec) && !isFile) continue;
    const rule = 'is for datasets on the hub, and folders whose files name their splits';
    throw new ConfigError(flag, rule, spec, 'hold out another source with --val');
  }
}

type OwnSplits = ReadonlyMap<SplitName, number> | undefined;

/** The notice for sources that all have a validation split of their own; undefined if one has none. */
function toldOf(specs: readonly string[], splits: readonly OwnSplits[]): string | undefined {
  const told: string[] = [];
  for (const [i, counts] of splits.entries()) {
    if (counts === undefined) return undefined;
    const count = (name: SplitName) => counts.get(name) ?? 0;
    const left = count('test') > 0 ? `, those of its test split (${count('test')}) skipped` : '';
    told.push(
      `${specs[i]}: trained on the files of its train split (${count('train')}), those of its validation split (${count('validation')}) held out${left}`,
    );
  }
  return `${told.join('; ')}; --val-fraction holds out a share instead`;
}

/** Opens a file, a folder or a corpus, or a split of a folder. */
function openLocal(spec: string, fields: FieldOptions, split: string | undefined): Promise<TextSource> {
  return openSource(spec, undefined, split === undefined ? fields : { ...fields, split: meantBy(split) });
}

/** Opens a split of a dataset on the hub. */
function openHub(
  spec: string,
  fields: FieldOptions,
  options: PrepareOptions,
  split: string | undefined,
): Promise<HubTextSource> {
  const { signal, onProgress } = options;
  return openHubSource(spec, fields, {
    ...options.hub,
    split,
    signal,
    onProgress: (bytes, totalBytes) =>
      onProgress?.({ phase: 'download', documents: 0, bytes, totalBytes, tokens: 0 }),
  });
}

class Preparation {
  readonly #options: PrepareOptions;
  readonly #sources: readonly TextSource[];
  readonly #fields: FieldOptions;
  /** The warnings of the first pass; later passes have the same. */
  #warnings = noWarnings();

  constructor(
    options: PrepareOptions,
    fields: FieldOptions,
    sources: readonly TextSource[],
    private readonly val: readonly TextSource[],
  ) {
    this.#options = options;
    this.#fields = fields;
    this.#sources = sources;
  }

  async run(makeTokenizer: TokenizerPlan, folder: string, resumable: boolean): Promise<PrepareResult> {
    const { sources, seed, valFraction, large, signal } = this.#options;
    const corpus = await SplitCorpus.open(this.#sources, {
      where: sources.join(' '),
      seed,
      valFraction,
      val: this.val,
      large,
      onMeasure: (documents, bytes) =>
        this.#progress({ phase: 'count', documents, bytes, totalBytes: undefined, tokens: 0 }),
    });
    this.#warnings = corpus.warnings ?? this.#warnings;
    const tokenizer = await makeTokenizer((trainer) => this.#feed(trainer, corpus), signal);
    const key = resumable ? this.#key(corpus.valFraction, tokenizer) : null;
    const { train, val } = await this.#encode(tokenizer, corpus, folder, key);
    const meta: DatasetMeta = {
      format: META_FORMAT,
      tokenizer: { name: tokenizer.name, vocabSize: tokenizer.vocabSize, eot: tokenizer.eot },
      largestId: Math.max(train.largestId, val.largestId),
      seed,
      heldOut: {
        unit: corpus.unit,
        ...(this.val.length > 0 ? { sources: this.val.map(({ name }) => name) } : {}),
        fraction: corpus.valFraction,
        share: val.tokens / (train.tokens + val.tokens),
      },
      sources: this.#sources.map(({ name }) => name),
      train: sizes(train),
      val: sizes(val),
    };
    const { tokenizer: json, tokenizerConfig, meta: metaFile } = DATA_FILES;
    for (const name of [json, tokenizerConfig, metaFile]) await rm(join(folder, name), { force: true });
    await writeFlushed(join(folder, json), `${JSON.stringify(tokenizer.toJSON())}\n`);
    if (tokenizer.eotToken !== END_OF_TEXT) {
      const names = endOfTextNames(tokenizer);
      await writeFlushed(join(folder, tokenizerConfig), `${JSON.stringify(names, null, 2)}\n`);
    }
    await writeFlushed(join(folder, DATA_FILES.meta), `${JSON.stringify(meta, null, 2)}\n`);
    const fewer = fewerIds(this.#options.tokenizer, tokenizer);
    return { meta, warnings: [...fewer, ...describeWarnings(this.#warnings)], notices: [] };
  }

  async #feed(trainer: BpeTrainer, corpus: SplitCorpus): Promise<void> {
    let documents = 0;
    let bytes = 0;
    let turn = performance.now() + SLICE_MS;
    for await (const { split, pieces } of corpus.documents()) {
      if (split === 'val') continue;
      documents++;
      for await (const piece of pieces) {
        trainer.feed(piece);
        bytes += Buffer.byteLength(piece);
        if (performance.now() >= turn) {
          await setImmediate();
          turn = performance.now() + SLICE_MS;
        }
        this.#progress({ phase: 'train tokenizer', documents, bytes, totalBytes: corpus.bytes, tokens: 0 });
      }
    }
  }

  /** A hash of everything that the shards depend on. */
  #key(valFraction: number, tokenizer: Tokenizer): string {
    const prints = (of: readonly TextSource[]) => of.map(({ census }) => census!.fingerprint);
    const held = this.val.length > 0 ? [prints(this.val)] : [];
    const texts = [...prints(this.#sources), ...held];
    const { column } = this.#fields;
    const { seed, large } = this.#options;
    const ends = [tokenizer.toJSON(), tokenizer.eot];
    const content = [RECORD_RULES, texts, column, seed, valFraction, large, ...ends];
    return createHash('sha256').update(JSON.stringify(content)).digest('hex');
  }

  /** Encodes all documents into the two shards; with a key, resumes from the record that has it, and writes records. */
  async #encode(
    tokenizer: PartingTokenizer,
    corpus: SplitCorpus,
    folder: string,
    key: string | null,
  ): Promise<Record<Split, SplitProgress>> {
    const record = key === null ? null : await readRecord(folder, key);
    if (record !== null) this.#warnings = { ...noWarnings(), ...record.warnings };
    else if (key !== null) await clear(folder);
    const { recordBytes = RECORD_BYTES } = this.#options;
    const path = (split: Split): string => join(folder, DATA_FILES[split]);
    const encoder = await this.#encoder(tokenizer, corpus.bytes < FEW_BYTES);
    let out: SplitWriters | undefined;
    try {
      out = await SplitWriters.open(path, tokenizer.eot, record);
      const writers = out;
      const waiting: Promise<() => Promise<void>>[] = [];
      let recorded = writers.bytes;
      // Batches are written in the order in which they were read, however long each takes.
      const writeNext = async (): Promise<void> => {
        await (await waiting.shift()!)();
        if (key === null || !writers.betweenDocuments || writers.bytes - recorded < recordBytes) return;
        recorded = writers.bytes;
        await writers.flush();
        // Documents that were read ahead may have warned already; a count that is slightly high does no harm.
        await writeRecord(folder, { key, ...writers.progress(), warnings: this.#warnings });
      };
      const told = (): void =>
        this.#progress({
          phase: 'encode',
          documents: writers.documents,
          bytes: writers.bytes,
          totalBytes: Math.max(corpus.bytes, writers.bytes),
          tokens: writers.tokens,
        });
      const passed = {
        documents: writers.documents,
        bytes: { train: record?.train.bytes ?? 0, val: record?.val.bytes ?? 0 },
      };
      // The warnings of a first pass are not counted again.
      const documents = corpus.documents(passed, corpus.warnings === null ? this.#warnings : undefined);
      const mostUnits = Math.min(tokenizer.cuttable ? BATCH_UNITS : STRETCH_UNITS, recordBytes);
      for await (const units of batches(documents, tokenizer, mostUnits)) {
        while (waiting.length >= encoder.capacity) await writeNext();
        const encoded = encoder.encode(
          units.map(({ text, before }) => (before === undefined ? { text } : { text, before })),
        );
        waiting.push(encoded.then((found) => () => writers.write(units, found, told)));
        waiting.at(-1)!.catch(() => {});
        this.#options.signal?.throwIfAborted();
      }
      while (waiting.length > 0) await writeNext();
      await writers.flush();
      return writers.progress();
    } finally {
      await encoder.close();
      await out?.close();
    }
  }

  /** The encoder; it shares the work with the other processes, if there are any. */
  async #encoder(tokenizer: Tokenizer, few: boolean): Promise<Encoding> {
    const { peers = ALONE, workers = few ? 1 : null, signal } = this.#options;
    const own = new Encoder(tokenizer, workers ?? defaultWorkers(), signal);
    return peers.size > 1 ? SharedEncoder.open(peers, own, tokenizer, workers) : own;
  }

  #progress(progress: PrepareProgress): void {
    this.#options.signal?.throwIfAborted();
    this.#options.onProgress?.(progress);
  }
}

function sizes({ documents, bytes, tokens }: SplitProgress): SplitMeta {
  return { documents, bytes, tokens };
}

/** Removes the shards and the journal of earlier, interrupted work. */
async function clear(folder: string): Promise<void> {
  await removeJournal(folder);
  for (const name of [DATA_FILES.train, DATA_FILES.val]) await rm(join(folder, name), { force: true });
}

/** Makes the tokenizer; if it is to be trained, trains it with `feed`. */
type TokenizerPlan = (
  feed: (trainer: BpeTrainer) => Promise<void>,
  signal?: AbortSignal,
) => Promise<PartingTokenizer>;

/** The warning for a tokenizer trained here that has fewer ids than requested. */
function fewerIds(spec: string, { vocabSize }: Tokenizer): string[] {
  if (!spec.startsWith('bpe:') || Number(spec.slice('bpe:'.length)) === vocabSize) return [];
  return [`tokenizer ${spec} has ${vocabSize} ids: the text repeats no more pairs to merge`];
}

/** Checks the requested tokenizer before any work is done. */
async function planTokenizer(spec: string, eot: string | undefined): Promise<TokenizerPlan> {
  if (eot !== undefined && !spec.endsWith('.json')) {
    throw new ConfigError('--eot', `must not be given with --tokenizer ${spec}, which has its own`, eot);
  }
  if (spec.startsWith('bpe:')) {
    const vocabSize = Number(spec.slice('bpe:'.length));
    checkBpeVocabSize(vocabSize);
    return async (feed, signal) => {
      const trainer = new BpeTrainer(vocabSize);
      await feed(trainer);
      return finish(trainer.learn(), signal);
    };
  }
  const tokenizer = await namedTokenizer(spec, eot);
  if (!partsDocuments(tokenizer)) {
    const rule = 'must have a token that ends a text, to separate documents';
    throw new ConfigError(
      'tokenizer',
      rule,
      tokenizer.name,
      "write train.bin and val.bin as nanoGPT's prepare.py does",
    );
  }
  return async () => tokenizer;
}

/** Does long work slice by slice; throws the signal's reason if the signal is aborted between two slices. */
async function finish<Result>(work: Generator<unknown, Result>, signal?: AbortSignal): Promise<Result> {
  for (let end = performance.now() + SLICE_MS; ; ) {
    const { done, value } = work.next();
    if (done) return value;
    if (performance.now() < end) continue;
    await setImmediate();
    signal?.throwIfAborted();
    end = performance.now() + SLICE_MS;
  }
}

/**
 * Makes a tokenizer from 'bytes', 'gpt2' or the path of a `tokenizer.json`, whose end of text the files beside it may
 * name. Throws ConfigError for another name, DataError for a file that is missing or is no tokenizer.
 */
export async function namedTokenizer(spec: string, eot?: string): Promise<Tokenizer> {
  if (!spec.endsWith('.json')) {
    if (spec === 'bytes' || spec === 'gpt2') return createTokenizer(spec);
    throw new ConfigError('tokenizer', "must be bytes, gpt2, bpe:N or a tokenizer.json's path", spec);
  }
  return tokenizerInFile(spec, eot);
}
