/**
 * What `--data` may name: a folder that `loopnn prepare` or nanoGPT wrote, a folder of shards as llm.c and
 * build-nanogpt write them, or a single file of tokens. This file assigns files to splits, and must not import text
 * sources or training.
 */
import { readdir, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { DataError } from '../errors.js';
import type { IntegerType } from '../formats/integers.js';
import { tokenizerFromJSON } from '../tokenizer/load.js';
import { namedTokens } from '../tokenizer/special-tokens.js';
import type { Tokenizer } from '../tokenizer/tokenizer.js';
import { type Split, USUAL_VAL_FRACTION } from './holdout.js';
import { readJSON } from '../node/json-file.js';
import { DATA_FILES, type DatasetMeta, parseMeta } from './meta.js';
import { readMetaPickle } from './nanogpt-meta.js';
import { JoinedShards, ShardRange, type TokenShard } from './shard.js';
import { openTokenFile } from './token-file.js';

/** Most tokens of a single file that are held out. */
const MOST_VAL_TOKENS = 10_000_000;
/** The remedy for a short prepared val split. */
const HOLD_OUT_MORE = 'prepare the data again with a larger --val-fraction';

/** Tokens to train and to validate on. */
export interface Dataset {
  readonly train: TokenShard;
  readonly val: TokenShard;
  /** A single file as a whole, whose head is `train` and whose tail is `val`; null for a folder. */
  readonly file: TokenShard | null;
  /** null if the folder has no `meta.json`. */
  readonly meta: DatasetMeta | null;
  /** Number of ids in the vocabulary, as the folder says; null if it does not. */
  readonly vocabSize: number | null;
  /** From the folder's `tokenizer.json`, or nanoGPT's `meta.pkl`; null if it has neither. */
  readonly tokenizer: Tokenizer | null;
  close(): Promise<void>;
  /** `await using data = await openDataset(…)` closes it at the end of the block. */
  [Symbol.asyncDispose](): Promise<void>;
}

/** What the user says of the data. */
export interface DatasetOptions {
  /**
   * The type of ids in files without a header. By default uint16 for a folder with `train.bin` and `val.bin`; required
   * for any other file.
   */
  readonly dtype?: IntegerType | undefined;
}

/**
 * Opens a folder with `train.bin` and `val.bin`, one with shards `*_train_*` and `*_val_*` of llm.c (`.bin`) or numpy
 * (`.npy`), or a single file. Of a single file the last tenth, at most ten million tokens, is held out.
 *
 * @throws DataError if a file is missing or damaged, holds no tokens, or does not state their type
 */
export async function openDataset(path: string, { dtype }: DatasetOptions = {}): Promise<Dataset> {
  const status = await stat(path).catch(() => undefined);
  if (status?.isFile()) return openFile(path, dtype);
  const names = status?.isDirectory() ? (await readdir(path)).sort() : [];
  const shards = (split: Split): string[] =>
    names.filter((name) => new RegExp(`(^|_)${split}(_\\d+)?\\.(bin|npy)$`).test(name));
  const found = { train: shards('train'), val: shards('val') };
  const all = [...found.train, ...found.val];
  const ours = names.includes(DATA_FILES.train) || names.includes(DATA_FILES.val);
  if (ours || all.length === 0) return openFolder(path, dtype);
  for (const split of ['train', 'val'] as const) {
    if (found[split].length > 0) continue;
    const rule = `must hold shards *_${split}_*.bin or *_${split}_*.npy`;
    throw new DataError(path, rule, 'none', 'name a single file to hold out its tail');
  }
  const other = all.find((name) => name.slice(-4) !== all[0].slice(-4));
  if (other !== undefined) {
    throw new DataError(path, 'must hold shards of one kind', `${all[0]} and ${other}`, 'move one kind away');
  }
  return openShards(path, found, dtype);
}

/** A folder that `loopnn prepare` or nanoGPT wrote. */
async function openFolder(folder: string, dtype: IntegerType | undefined): Promise<Dataset> {
  const { meta, tokenizer, vocabSize } = await readVocabulary(folder);
  const names = await readdir(folder).catch((): string[] => []);
  if (names.includes(DATA_FILES.train) && !names.includes(DATA_FILES.val)) {
    const rule = `must hold ${DATA_FILES.val} beside ${DATA_FILES.train}`;
    throw new DataError(folder, rule, 'none', `name ${join(folder, DATA_FILES.train)} to hold out its tail`);
  }
  return withShards(
    (['train', 'val'] as const).map((split) => () => openSplit(folder, split, meta, dtype)),
    ([train, val]) => ({ train, val, file: null, meta, vocabSize, tokenizer }),
  );
}

/** What a folder of tokens says of its vocabulary. */
async function readVocabulary(folder: string): Promise<Pick<Dataset, 'meta' | 'tokenizer' | 'vocabSize'>> {
  const meta = await readMeta(folder);
  const path = join(folder, DATA_FILES.tokenizer);
  const json = await readJSON(path);
  const config = await readJSON(join(folder, DATA_FILES.tokenizerConfig));
  const { eos_token: token } = namedTokens(config, undefined, folder).names;
  const tokenizer =
    json === undefined ? await readMetaPickle(folder) : await tokenizerFromJSON(json, path, { token });
  if (meta !== null && tokenizer !== null && meta.tokenizer.vocabSize !== tokenizer.vocabSize) {
    throw new DataError(
      join(folder, DATA_FILES.tokenizer),
      `must have the ${meta.tokenizer.vocabSize} ids that ${DATA_FILES.meta} names`,
      tokenizer.vocabSize,
      'prepare the data again',
    );
  }
  return { meta, tokenizer, vocabSize: meta?.tokenizer.vocabSize ?? tokenizer?.vocabSize ?? null };
}

/** `train.bin` or `val.bin` of a folder that has both. */
function openSplit(
  folder: string,
  split: Split,
  meta: DatasetMeta | null,
  dtype: IntegerType | undefined,
): Promise<TokenShard> {
  const path = join(folder, DATA_FILES[split]);
  if (meta === null) return openTokenFile(path, { dtype, usual: 'uint16' });
  if (dtype !== undefined && dtype !== 'uint16') {
    const rule = `must hold ${dtype}, as --dtype says`;
    throw new DataError(path, rule, `uint16 by its ${DATA_FILES.meta}`, 'leave --dtype out');
  }
  const tooShort = split === 'val' ? HOLD_OUT_MORE : undefined;
  return openTokenFile(path, { usual: 'uint16', tokens: meta[split].tokens, tooShort });
}

/** A folder of shards. */
function openShards(
  folder: string,
  found: Readonly<Record<Split, readonly string[]>>,
  dtype: IntegerType | undefined,
): Promise<Dataset> {
  const { train, val } = found;
  return withShards(
    [...train, ...val].map((name) => () => openTokenFile(join(folder, name), { dtype })),
    (shards) => ({
      train: new JoinedShards(`${folder} (train)`, shards.slice(0, train.length)),
      val: new JoinedShards(`${folder} (val)`, shards.slice(train.length)),
      file: null,
      meta: null,
      vocabSize: null,
      tokenizer: null,
    }),
  );
}

async function openFile(path: string, dtype: IntegerType | undefined): Promise<Dataset> {
  const { open, tokenizer, vocabSize } = await describeFile(path, dtype);
  return withShards([open], ([file]) => {
    const held = Math.min(MOST_VAL_TOKENS, Math.floor(file.length * USUAL_VAL_FRACTION));
    const train = new ShardRange(file, 0, file.length - held);
    const val = new ShardRange(file, file.length - held, held);
    return { train, val, file, meta: null, vocabSize, tokenizer };
  });
}

/**
 * How a single file is opened, and its vocabulary. A `train.bin` or `val.bin` is described by its folder if the folder
 * has both files, or says what the vocabulary is.
 */
async function describeFile(
  path: string,
  dtype: IntegerType | undefined,
): Promise<Pick<Dataset, 'tokenizer' | 'vocabSize'> & { open: () => Promise<TokenShard> }> {
  const folder = dirname(path);
  const split = (['train', 'val'] as const).find((name) => basename(path) === DATA_FILES[name]);
  if (split !== undefined) {
    const { meta, tokenizer, vocabSize } = await readVocabulary(folder);
    const names = await readdir(folder);
    const both = names.includes(DATA_FILES.train) && names.includes(DATA_FILES.val);
    if (both || vocabSize !== null) {
      return { open: () => openSplit(folder, split, meta, dtype), tokenizer, vocabSize };
    }
  }
  return { open: () => openTokenFile(path, { dtype }), tokenizer: null, vocabSize: null };
}

/** Opens shards and makes a dataset of them; if one cannot be opened, closes the others. */
async function withShards(
  openers: readonly (() => Promise<TokenShard>)[],
  make: (shards: TokenShard[]) => Omit<Dataset, 'close' | typeof Symbol.asyncDispose>,
): Promise<Dataset> {
  const shards: TokenShard[] = [];
  const close = async (): Promise<void> => {
    for (const shard of shards) await shard.close();
  };
  try {
    for (const open of openers) shards.push(await open());
    return { ...make(shards), close, [Symbol.asyncDispose]: close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Reads the folder's `meta.json`; null if there is none. */
async function readMeta(folder: string): Promise<DatasetMeta | null> {
  const path = join(folder, DATA_FILES.meta);
  const json = await readJSON(path);
  return json === undefined ? null : parseMeta(json, path);
}
