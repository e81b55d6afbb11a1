/**
 * What `--data` may name: a prepared folder, nanoGPT's, llm.c's, or a single file of tokens. Knows which files are
 * which split; knows no text and no training.
 */
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { DataError } from '../errors.js';
import { tokenizerFromJSON } from '../tokenizer/load.js';
import { namedTokens } from '../tokenizer/special-tokens.js';
import type { Tokenizer } from '../tokenizer/tokenizer.js';
import { SMALL_VAL_FRACTION } from './holdout.js';
import { DATA_FILES, type DatasetMeta } from './meta.js';
import {
  JoinedShards,
  openShard,
  openTokenShard,
  readJSON,
  readMeta,
  ShardRange,
  type TokenShard,
} from './shard.js';

/** Tokens of a single file that are held out at most. */
const MOST_VAL_TOKENS = 10_000_000;

/** Tokens to train and to validate on. */
export interface Dataset {
  readonly train: TokenShard;
  readonly val: TokenShard;
  /** The whole of a single file, of which `train` and `val` are head and tail; null for a folder. */
  readonly file: TokenShard | null;
  /** null if the folder has no `meta.json`. */
  readonly meta: DatasetMeta | null;
  /** null if the folder has no `tokenizer.json`. */
  readonly tokenizer: Tokenizer | null;
  close(): Promise<void>;
  /** `await using data = await openDataset(…)` closes it at the end of the block. */
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * Opens a folder with `train.bin` and `val.bin`, one with llm.c's `*_train_*.bin` and `*_val_*.bin`, or a single
 * file, of which the last tenth, at most ten million tokens, is held out.
 *
 * @throws DataError if a file is missing or damaged
 */
export async function openDataset(path: string): Promise<Dataset> {
  const status = await stat(path).catch(() => undefined);
  if (status?.isFile()) return openFile(path);
  const names = status?.isDirectory() ? (await readdir(path)).sort() : [];
  const shards = (split: string): string[] =>
    names.filter((name) => new RegExp(`_${split}(_\\d+)?\\.bin$`).test(name)).map((name) => join(path, name));
  const [train, val] = [shards('train'), shards('val')];
  if (names.includes(DATA_FILES.train) || train.length + val.length === 0) return openFolder(path);
  for (const [split, found] of [
    ['train', train],
    ['val', val],
  ] as const) {
    if (found.length > 0) continue;
    const rule = `must hold llm.c's shards *_${split}_*.bin`;
    throw new DataError(path, rule, 'none', 'name a single file to hold out its tail');
  }
  return openShards(path, train, val);
}

/** A folder that `loopnn prepare` or nanoGPT wrote. */
async function openFolder(folder: string): Promise<Dataset> {
  const meta = await readMeta(folder);
  const path = join(folder, DATA_FILES.tokenizer);
  const json = await readJSON(path);
  const config = await readJSON(join(folder, DATA_FILES.tokenizerConfig));
  const { eos_token: token } = namedTokens(config, undefined, folder).names;
  const tokenizer = json === undefined ? null : await tokenizerFromJSON(json, path, { token });
  if (meta !== null && tokenizer !== null && meta.tokenizer.vocabSize !== tokenizer.vocabSize) {
    throw new DataError(
      join(folder, DATA_FILES.tokenizer),
      `must have the ${meta.tokenizer.vocabSize} ids that ${DATA_FILES.meta} names`,
      tokenizer.vocabSize,
      'prepare the data again',
    );
  }
  return withShards(
    [
      () => openShard(join(folder, DATA_FILES.train), meta),
      () => openShard(join(folder, DATA_FILES.val), meta),
    ],
    ([train, val]) => ({ train, val, file: null, meta, tokenizer }),
  );
}

/** A folder of llm.c's shards. */
function openShards(folder: string, train: readonly string[], val: readonly string[]): Promise<Dataset> {
  const paths = [...train, ...val];
  return withShards(
    paths.map((path) => () => openShard(path, null)),
    (shards) => ({
      train: new JoinedShards(`${folder} (train)`, shards.slice(0, train.length)),
      val: new JoinedShards(`${folder} (val)`, shards.slice(train.length)),
      file: null,
      meta: null,
      tokenizer: null,
    }),
  );
}

function openFile(path: string): Promise<Dataset> {
  return withShards([() => openTokenShard(path)], ([file]) => {
    const held = Math.min(MOST_VAL_TOKENS, Math.floor(file.length * SMALL_VAL_FRACTION));
    const train = new ShardRange(file, 0, file.length - held);
    const val = new ShardRange(file, file.length - held, held);
    return { train, val, file, meta: null, tokenizer: null };
  });
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
