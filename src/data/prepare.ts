/**
 * Prepares a corpus for training: texts to two token shards, a held-out one and the rest. Knows the order of the
 * work and what a prepared folder holds; it prints nothing and handles no signals.
 *
 * The text is gone through two or three times and never held in memory: to count the documents, to train a
 * tokenizer if one is asked for (on the training split alone), and to encode.
 */
import { mkdir, open, readdir, rename, rm, rmdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { ConfigError, DataError } from '../errors.js';
import { BpeTrainer, checkBpeVocabSize } from '../tokenizer/bpe-train.js';
import { createTokenizer, tokenizerFromJSON } from '../tokenizer/load.js';
import type { Tokenizer } from '../tokenizer/tokenizer.js';
import { openSource } from './corpora.js';
import { checkValFraction, defaultValFraction, heldOut } from './holdout.js';
import { DATA_FILES, type DatasetMeta, META_FORMAT, type SplitMeta } from './meta.js';
import { readJSON, ShardWriter } from './shard.js';
import {
  describeWarnings,
  FIELD_DEFAULTS,
  type FieldOptions,
  noWarnings,
  type TextDocument,
  type TextSource,
} from './source.js';
import { piecesFrom, piecesUpTo } from './text.js';

/** UTF-16 units of one document that a tokenizer which needs it whole can be given. */
const LONGEST_WHOLE_DOCUMENT = 1 << 28;

/** What to prepare, and how. */
export interface PrepareOptions {
  /** Names of corpora, files and folders. */
  readonly sources: readonly string[];
  /** The folder to make. */
  readonly out: string;
  /** 'bytes', 'gpt2', 'bpe:N' (trained here, N ids) or the path of a `tokenizer.json`. */
  readonly tokenizer: string;
  /** Share of documents to hold out; default: see `holdout.ts`. */
  readonly valFraction?: number | undefined;
  /** Decides which documents are held out. */
  readonly seed: number;
  /** The field of JSONL and the column of parquet that hold the text; default: `text`. */
  readonly fields?: Partial<FieldOptions> | undefined;
  /** Replace a folder that was prepared before. */
  readonly force?: boolean | undefined;
  /** Stops the work; nothing of it stays. */
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: PrepareProgress) => void) | undefined;
}

/** How far the work is. */
export interface PrepareProgress {
  readonly phase: 'count' | 'train tokenizer' | 'encode';
  /** Documents begun in this phase. */
  readonly documents: number;
  /** Bytes of text gone through in this phase. */
  readonly bytes: number;
  /** Bytes of text that this phase goes through; undefined while unknown. */
  readonly totalBytes: number | undefined;
  /** Token ids written. */
  readonly tokens: number;
}

/** What was prepared. */
export interface PrepareResult {
  readonly meta: DatasetMeta;
  /** Sentences for the user: what was left out or mended. */
  readonly warnings: readonly string[];
}

type Split = 'train' | 'val';

/** What the first pass finds. */
interface Census {
  readonly documents: number;
  readonly bytes: number;
  /** UTF-16 units. */
  readonly units: number;
}

/**
 * Writes `train.bin`, `val.bin`, `meta.json` and `tokenizer.json` into the folder `out`, which appears complete or
 * not at all. Each document ends with the end-of-text id. The same sources and options give the same bytes.
 *
 * @throws ConfigError for an impossible option; DataError if a source or package is missing, there is no text, or
 * `out` holds something that may not be replaced; the signal's reason if it is aborted
 */
export async function prepareCorpus(options: PrepareOptions): Promise<PrepareResult> {
  if (options.sources.length === 0) throw new ConfigError('sources', 'must name at least one', 0);
  if (options.valFraction !== undefined) checkValFraction(options.valFraction);
  const out = resolve(options.out);
  const replaces = await checkOut(out, options.out, options.force ?? false);
  const makeTokenizer = await planTokenizer(options.tokenizer);
  const fields = { ...FIELD_DEFAULTS, ...options.fields };
  const sources = await Promise.all(options.sources.map((spec) => openSource(spec, undefined, fields)));

  const aside = `${out}.partial`;
  try {
    await rm(aside, { recursive: true, force: true });
    await mkdir(aside, { recursive: true });
    const result = await new Preparation(options, sources).run(makeTokenizer, aside);
    options.signal?.throwIfAborted();
    await moveInto(aside, out, replaces);
    return result;
  } finally {
    await rm(aside, { recursive: true, force: true });
  }
}

class Preparation {
  readonly #options: PrepareOptions;
  readonly #sources: readonly TextSource[];
  /** What the first pass met; the later ones meet the same. */
  readonly #warnings = noWarnings();

  constructor(options: PrepareOptions, sources: readonly TextSource[]) {
    this.#options = options;
    this.#sources = sources;
  }

  async run(makeTokenizer: TokenizerPlan, folder: string): Promise<PrepareResult> {
    const census = await this.#count();
    const fraction = this.#options.valFraction ?? defaultValFraction(census.documents);
    const tokenizer = await makeTokenizer((trainer) => this.#feed(trainer, census, fraction));
    const { largestId, train, val } = await this.#encode(tokenizer, census, fraction, folder);
    const meta: DatasetMeta = {
      format: META_FORMAT,
      tokenizer: { name: tokenizer.name, vocabSize: tokenizer.vocabSize, eot: tokenizer.eot },
      largestId,
      seed: this.#options.seed,
      heldOut: { unit: census.documents === 1 ? 'tail' : 'documents', fraction },
      sources: this.#sources.map(({ name }) => name),
      train,
      val,
    };
    await writeFlushed(join(folder, DATA_FILES.tokenizer), `${JSON.stringify(tokenizer.toJSON())}\n`);
    await writeFlushed(join(folder, DATA_FILES.meta), `${JSON.stringify(meta, null, 2)}\n`);
    return { meta, warnings: describeWarnings(this.#warnings) };
  }

  async #count(): Promise<Census> {
    let documents = 0;
    let bytes = 0;
    let units = 0;
    for await (const document of this.#documents(this.#warnings)) {
      documents++;
      for await (const piece of document.pieces()) {
        bytes += Buffer.byteLength(piece);
        units += piece.length;
        this.#progress({ phase: 'count', documents, bytes, totalBytes: undefined, tokens: 0 });
      }
    }
    if (units === 0) throw new DataError(this.#options.sources.join(' '), 'must hold text', 'none');
    if (documents === 1 && units < 2) {
      throw new DataError(
        this.#options.sources.join(' '),
        'a single document must have text for two splits',
        `${units} character`,
      );
    }
    return { documents, bytes, units };
  }

  async #feed(trainer: BpeTrainer, census: Census, fraction: number): Promise<void> {
    let documents = 0;
    let bytes = 0;
    for await (const { split, pieces } of this.#split(census, fraction)) {
      if (split === 'val') continue;
      documents++;
      for await (const piece of pieces) {
        trainer.feed(piece);
        bytes += Buffer.byteLength(piece);
        this.#progress({ phase: 'train tokenizer', documents, bytes, totalBytes: census.bytes, tokens: 0 });
      }
    }
  }

  async #encode(
    tokenizer: Tokenizer,
    census: Census,
    fraction: number,
    folder: string,
  ): Promise<{ largestId: number; train: SplitMeta; val: SplitMeta }> {
    const train = await ShardWriter.create(join(folder, DATA_FILES.train));
    const val = await ShardWriter.create(join(folder, DATA_FILES.val));
    const writers = { train, val };
    const documents = { train: 0, val: 0 };
    const bytes = { train: 0, val: 0 };
    try {
      for await (const { split, name, pieces } of this.#split(census, fraction)) {
        documents[split]++;
        for await (const text of tokenizer.cuttable ? pieces : whole(pieces, name, tokenizer)) {
          await writers[split].write(tokenizer.encode(text));
          bytes[split] += Buffer.byteLength(text);
          this.#progress({
            phase: 'encode',
            documents: documents.train + documents.val,
            bytes: bytes.train + bytes.val,
            totalBytes: census.bytes,
            tokens: train.tokens + val.tokens,
          });
        }
        await writers[split].write([tokenizer.eot]);
      }
      await train.finish();
      await val.finish();
    } finally {
      await train.close();
      await val.close();
    }
    const sizes = (split: Split): SplitMeta => ({
      documents: documents[split],
      bytes: bytes[split],
      tokens: writers[split].tokens,
    });
    return {
      largestId: Math.max(train.largestId, val.largestId),
      train: sizes('train'),
      val: sizes('val'),
    };
  }

  /** Every document with its split; a single document comes as two, its head and its tail. */
  async *#split(
    { documents, units }: Census,
    fraction: number,
  ): AsyncGenerator<{ split: Split; name: string; pieces: AsyncIterable<string> }> {
    if (documents === 1) {
      const cut = Math.max(1, Math.min(units - 1, Math.floor(units * (1 - fraction))));
      for await (const document of this.#documents()) {
        const { name } = document;
        yield { split: 'train', name, pieces: piecesUpTo(document.pieces(), cut) };
        yield { split: 'val', name, pieces: piecesFrom(document.pieces(), cut) };
      }
      return;
    }
    const isVal = heldOut(this.#options.seed, documents, fraction);
    let index = 0;
    for await (const document of this.#documents()) {
      yield { split: isVal(index) ? 'val' : 'train', name: document.name, pieces: document.pieces() };
      index++;
    }
    if (index !== documents) {
      throw new DataError(
        this.#options.sources.join(' '),
        `must keep their ${documents} documents while they are read`,
        index,
      );
    }
  }

  /** One pass over all sources. */
  async *#documents(warnings = noWarnings()): AsyncGenerator<TextDocument> {
    for (const source of this.#sources) yield* source.documents(warnings);
  }

  #progress(progress: PrepareProgress): void {
    this.#options.signal?.throwIfAborted();
    this.#options.onProgress?.(progress);
  }
}

/** Makes the tokenizer, training it with `feed` where that is asked for. */
type TokenizerPlan = (feed: (trainer: BpeTrainer) => Promise<void>) => Promise<Tokenizer>;

/** Checks the tokenizer asked for before any work is done. */
async function planTokenizer(spec: string): Promise<TokenizerPlan> {
  if (spec.startsWith('bpe:')) {
    const vocabSize = Number(spec.slice('bpe:'.length));
    checkBpeVocabSize(vocabSize);
    return async (feed) => {
      const trainer = new BpeTrainer(vocabSize);
      await feed(trainer);
      return trainer.train();
    };
  }
  const tokenizer = await namedTokenizer(spec);
  return async () => tokenizer;
}

/**
 * Makes a tokenizer from 'bytes', 'gpt2' or the path of a `tokenizer.json`; throws ConfigError for another name,
 * DataError for a file that is missing or no tokenizer.
 */
export async function namedTokenizer(spec: string): Promise<Tokenizer> {
  if (!spec.endsWith('.json')) {
    if (spec === 'bytes' || spec === 'gpt2') return createTokenizer(spec);
    throw new ConfigError('tokenizer', "must be bytes, gpt2, bpe:N or a tokenizer.json's path", spec);
  }
  const json = await readJSON(spec);
  if (json === undefined) throw new DataError(spec, 'must be a tokenizer.json', 'no such file');
  return tokenizerFromJSON(json, spec);
}

/** A document in one piece, for tokenizers that need it so. */
export async function* whole(
  pieces: AsyncIterable<string>,
  name: string,
  tokenizer: Tokenizer,
): AsyncGenerator<string> {
  let text = '';
  for await (const piece of pieces) {
    text += piece;
    if (text.length > LONGEST_WHOLE_DOCUMENT) {
      throw new DataError(
        name,
        `must have at most ${LONGEST_WHOLE_DOCUMENT} characters for tokenizer ${tokenizer.name}`,
        undefined,
        'split the document, or choose a byte-level tokenizer',
      );
    }
  }
  if (text !== '') yield text;
}

/** Whether `out` holds a prepared folder to be replaced; throws DataError if it holds anything else. */
async function checkOut(out: string, shown: string, force: boolean): Promise<boolean> {
  let names: string[];
  try {
    names = await readdir(out);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw new DataError(
      shown,
      'must be a folder to write to',
      error instanceof Error ? error.message : error,
    );
  }
  if (names.length === 0) return false;
  const ours: string[] = Object.values(DATA_FILES);
  const other = names.filter((name) => !ours.includes(name));
  if (other.length > 0 || !names.includes(DATA_FILES.meta)) {
    const found = (other.length > 0 ? other : names).slice(0, 3).join(', ');
    throw new DataError(shown, 'must be a new folder or a prepared one', found, 'choose another folder');
  }
  if (!force)
    throw new DataError(shown, 'must be a new folder', 'a prepared one', 'use --force to replace it');
  return true;
}

async function writeFlushed(path: string, text: string): Promise<void> {
  const file = await open(path, 'wx');
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** Gives the finished folder its name; what it replaces goes only once it is out of the way. */
async function moveInto(aside: string, out: string, replaces: boolean): Promise<void> {
  if (!replaces) {
    // An empty folder may stand there.
    await rmdir(out).catch(() => {});
    await rename(aside, out);
    return;
  }
  const former = `${out}.former`;
  await rm(former, { recursive: true, force: true });
  await rename(out, former);
  try {
    await rename(aside, out);
  } catch (error) {
    await rename(former, out);
    throw error;
  }
  await rm(former, { recursive: true, force: true });
}
