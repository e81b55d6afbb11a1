/**
 * Which documents are held out for validation. A pure function of the seed, the number of documents and the
 * document's index, so that it streams; knows no text.
 */
import { ConfigError } from '../errors.js';
import { hashWords } from '../nn/random.js';

/** From this many documents on a corpus is large, and a small share is enough to measure the loss. */
export const LARGE_CORPUS = 10_000;
/** Share of documents held out of a large corpus, as nanoGPT does. */
export const LARGE_VAL_FRACTION = 0.0005;
/** Share of documents held out of a small corpus, and of the text of a single document. */
export const SMALL_VAL_FRACTION = 0.1;

/** The share held out if the user names none. */
export function defaultValFraction(documents: number): number {
  return documents >= LARGE_CORPUS ? LARGE_VAL_FRACTION : SMALL_VAL_FRACTION;
}

/** Checks a share to hold out; throws ConfigError. */
export function checkValFraction(valFraction: number): void {
  if (!(valFraction > 0 && valFraction < 1)) {
    throw new ConfigError('valFraction', 'the share held out must lie between 0 and 1', valFraction);
  }
}

/**
 * Makes the rule for a corpus of at least two documents: document i is held out if a hash of (seed, i) falls
 * below the share. If that holds out none or all, the document with the lowest hash is held out, or the highest
 * kept, so that both splits have one.
 */
export function heldOut(seed: number, documents: number, valFraction: number): (index: number) => boolean {
  const score = (index: number): number => hashWords(seed, index) / 2 ** 32;
  let count = 0;
  let lowest = 0;
  let highest = 0;
  for (let i = 0; i < documents; i++) {
    const here = score(i);
    if (here < valFraction) count++;
    if (here < score(lowest)) lowest = i;
    if (here > score(highest)) highest = i;
  }
  if (count === 0) return (index) => index === lowest;
  if (count === documents) return (index) => index !== highest;
  return (index) => score(index) < valFraction;
}
