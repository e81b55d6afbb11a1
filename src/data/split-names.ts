/**
 * The words in the paths of a dataset's files that say which split a file belongs to, as the hub reads them. Reads no
 * files.
 */
import { basename } from 'node:path';

/** The words that name each split. */
const WORDS = {
  train: ['train', 'training'],
  validation: ['validation', 'valid', 'val', 'dev'],
  test: ['test', 'testing', 'eval', 'evaluation'],
} as const;
export type SplitName = keyof typeof WORDS;

const NAMES = Object.keys(WORDS) as SplitName[];
/** Names of files that accompany the data. */
const BESIDE =
  /^(readme|licen[cs]e|copying|citation|changelog|notice)([._-]|$)|^dataset_infos?\.json$|\.(md|rst|py)$/i;

/** The words of a path, which may name a split: `data/train-00000-of-00080.parquet` has data, train, 00000 … */
export function splitWords(path: string): string[] {
  return path.split(/[/\\._-]/);
}

/** The splits that a path names. */
export function splitsOf(path: string): SplitName[] {
  const words = splitWords(path.toLowerCase());
  return NAMES.filter((name) => WORDS[name].some((word) => words.includes(word)));
}

/** The split that a user means by a word; the word itself if it is not in `WORDS`. */
export function meantBy(word: string): string {
  return NAMES.find((name) => (WORDS[name] as readonly string[]).includes(word.toLowerCase())) ?? word;
}

/** Whether a path belongs to a split: one of the known splits, or any that is a word of the path. */
export function belongsTo(path: string, split: string): boolean {
  return (splitsOf(path) as string[]).includes(split) || splitWords(path).includes(split);
}

/**
 * How many files each split has, if every data file names exactly one split, and there are files to train and to
 * validate on; else undefined.
 */
export function ownSplits(paths: readonly string[]): ReadonlyMap<SplitName, number> | undefined {
  const counts = new Map<SplitName, number>();
  for (const path of paths) {
    if (BESIDE.test(basename(path))) continue;
    const splits = splitsOf(path);
    if (splits.length !== 1) return undefined;
    counts.set(splits[0], (counts.get(splits[0]) ?? 0) + 1);
  }
  return counts.has('train') && counts.has('validation') ? counts : undefined;
}
