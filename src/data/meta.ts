/**
 * `meta.json` of a prepared data folder: what was prepared, and how much of it.
 */
import { DataError } from '../errors.js';

/** The names of the files in a prepared data folder. */
export const DATA_FILES = {
  train: 'train.bin',
  val: 'val.bin',
  meta: 'meta.json',
  tokenizer: 'tokenizer.json',
  tokenizerConfig: 'tokenizer_config.json',
} as const;

export const META_FORMAT = 'loopnn-data-1';

/** The size of one split. */
export interface SplitMeta {
  readonly documents: number;
  /** Bytes of text in UTF-8, without ends of text: bits per byte = loss · tokens / (bytes · ln 2). */
  readonly bytes: number;
  /** Token ids in the shard, including one end of text for each document. */
  readonly tokens: number;
}

/** The content of `meta.json`. */
export interface DatasetMeta {
  readonly format: typeof META_FORMAT;
  readonly tokenizer: { readonly name: string; readonly vocabSize: number; readonly eot: number };
  /** The largest id in either split. */
  readonly largestId: number;
  readonly seed: number;
  readonly heldOut: {
    /** Separate sources, whole documents, or the end of one document. */
    readonly unit: 'sources' | 'documents' | 'tail';
    /** The names of separate sources. */
    readonly sources?: readonly string[];
    /** The requested share of the text, or the share that separate sources have. */
    readonly fraction: number;
    /** The resulting share of the tokens; absent in folders of earlier versions. */
    readonly share?: number;
  };
  /** Names of corpora, files and folders, without paths. */
  readonly sources: readonly string[];
  readonly train: SplitMeta;
  readonly val: SplitMeta;
}

/** Checks the content of `meta.json`; throws DataError. */
export function parseMeta(json: unknown, where: string): DatasetMeta {
  const root = fields(json, where);
  if (root.format !== META_FORMAT) {
    throw new DataError(
      where,
      `must have the format '${META_FORMAT}'`,
      root.format,
      'prepare the data again',
    );
  }
  const tokenizer = fields(root.tokenizer, `${where}: tokenizer`);
  for (const key of ['vocabSize', 'eot']) count(tokenizer[key], `${where}: tokenizer.${key}`);
  count(root.largestId, `${where}: largestId`);
  for (const split of ['train', 'val']) {
    const sizes = fields(root[split], `${where}: ${split}`);
    for (const key of ['documents', 'bytes', 'tokens']) count(sizes[key], `${where}: ${split}.${key}`);
  }
  return json as DatasetMeta;
}

function fields(value: unknown, where: string): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new DataError(where, 'must be an object', JSON.stringify(value));
  }
  return value as Record<string, unknown>;
}

function count(value: unknown, where: string): void {
  if (!Number.isSafeInteger(value) || (value as number) < 0) {
    throw new DataError(where, 'must be a whole number', JSON.stringify(value));
  }
}
