/**
 * Training of byte-level BPE. Memory grows with the number of different words, not with the amount of text.
 *
 * The rule: ids 0–255 are the bytes in GPT-2's order. Then, repeatedly, the adjacent pair with the highest count
 * becomes the next id; ties go to the smaller left id, then to the smaller right id. Merging stops when the vocabulary
 * is full or no pair occurs twice. The last id is the end of the text. The same texts give the same vocabulary in any
 * order of feeding.
 */
import { ConfigError } from '../errors.js';
import { ByteLevelTokenizer } from './bpe.js';
import { BYTE_OF_ID, ID_OF_BYTE } from './byte-alphabet.js';
import { Heap } from './heap.js';
import { byteLevelToJSON } from './huggingface-json.js';
import { MergeTable } from './merges.js';
import { ownString, preTokenize } from './pretokenize.js';
import { END_OF_TEXT, MAX_VOCAB_SIZE, type PartingTokenizer } from './tokenizer.js';

/** The smallest vocabulary: the bytes and the end of the text. */
export const MIN_BPE_VOCAB_SIZE = 257;

/** Pairs that are counted between two yields. */
const PAIRS_AT_ONCE = 1 << 16;

interface Candidate {
  readonly pair: number;
  readonly count: number;
}

/** A pair as one number. */
const pairOf = (left: number, right: number): number => left * 65_536 + right;

/** Checks the size of a BPE vocabulary to be trained; throws ConfigError. */
export function checkBpeVocabSize(vocabSize: number): void {
  if (!Number.isInteger(vocabSize) || vocabSize < MIN_BPE_VOCAB_SIZE || vocabSize > MAX_VOCAB_SIZE) {
    throw new ConfigError(
      'vocabSize',
      `must be a whole number from ${MIN_BPE_VOCAB_SIZE} (256 bytes and the end of the text) to ${MAX_VOCAB_SIZE} for a byte-level vocabulary`,
      vocabSize,
    );
  }
}

/** Trains a byte-level BPE tokenizer on texts; throws ConfigError for an impossible vocabulary size. */
export function trainBpe(texts: Iterable<string>, vocabSize: number): PartingTokenizer {
  const trainer = new BpeTrainer(vocabSize);
  for (const text of texts) trainer.feed(text);
  return trainer.train();
}

/** Counts words text by text, then learns the merges. */
export class BpeTrainer {
  readonly #vocabSize: number;
  readonly #words = new Map<string, number>();

  /**
   * @param vocabSize the wanted number of ids, including the end of the text; a small text may give fewer
   */
  constructor(vocabSize: number) {
    checkBpeVocabSize(vocabSize);
    this.#vocabSize = vocabSize;
  }

  /** Counts the words of a text, or of a piece of a longer text that `cutBeforeSpace` has cut. */
  feed(text: string): void {
    const words = this.#words;
    preTokenize(text, (start, end) => {
      const word = text.slice(start, end);
      const count = words.get(word);
      if (count !== undefined) {
        words.set(word, count + 1);
        return;
      }
      const own = ownString(word);
      words.set(own, (words.get(own) ?? 0) + 1);
    });
  }

  /** Learns the merges from the words counted so far. */
  train(): ByteLevelTokenizer {
    const work = this.learn();
    for (;;) {
      const { done, value } = work.next();
      if (done) return value;
    }
  }

  /** Does what `train` does, and yields after every merge: learning all merges may take minutes. */
  *learn(): Generator<undefined, ByteLevelTokenizer, undefined> {
    const tokens: Uint8Array[] = Array.from(BYTE_OF_ID, (byte) => Uint8Array.of(byte));
    const merges = new MergeTable();
    const idOf = new Map<string, number>();
    const corpus = new PairCorpus();
    yield* corpus.add(this.#words);
    while (tokens.length < this.#vocabSize - 1) {
      const best = corpus.best();
      if (best === undefined) break;
      const left = Math.floor(best / 65_536);
      const right = best % 65_536;
      const bytes = concatenate(tokens[left], tokens[right]);
      // Two pairs can spell the same bytes (a+bc, ab+c): they become the same id.
      const spelling = bytes.join();
      const id = idOf.get(spelling) ?? tokens.length;
      if (id === tokens.length) {
        tokens.push(bytes);
        idOf.set(spelling, id);
      }
      merges.add(left, right, id);
      corpus.merge(left, right, id);
      yield;
    }
    const eot = tokens.push(new TextEncoder().encode(END_OF_TEXT)) - 1;
    return new ByteLevelTokenizer({
      name: `bpe-${tokens.length}`,
      tokens,
      idOfByte: ID_OF_BYTE,
      merges,
      eot,
      toJSON: byteLevelToJSON,
    });
  }
}

/** The words as sequences of ids, with the count of every adjacent pair kept up to date. */
class PairCorpus {
  readonly #words: Uint16Array[] = [];
  readonly #wordCounts: number[] = [];
  readonly #pairCounts = new Map<number, number>();
  /** The words in which a pair occurs, or once occurred. */
  readonly #wordsOfPair = new Map<number, number[]>();
  readonly #queue = new Heap<Candidate>(
    (a, b) => a.count > b.count || (a.count === b.count && a.pair < b.pair),
  );

  /** Counts the pairs of all words, and yields after every `PAIRS_AT_ONCE` pairs. */
  *add(words: Map<string, number>): Generator<undefined, void, undefined> {
    const utf8 = new TextEncoder();
    let counted = 0;
    for (const [word, count] of words) {
      const ids = Uint16Array.from(utf8.encode(word), (byte) => ID_OF_BYTE[byte]);
      const index = this.#words.push(ids) - 1;
      this.#wordCounts.push(count);
      for (let i = 0; i + 1 < ids.length; i++) {
        this.#count(pairOf(ids[i], ids[i + 1]), count, index);
        if (++counted % PAIRS_AT_ONCE === 0) yield;
      }
    }
    for (const [pair, count] of this.#pairCounts) this.#queue.push({ pair, count });
  }

  /** The most frequent pair, or undefined if none occurs twice. */
  best(): number | undefined {
    for (let top = this.#queue.pop(); top !== undefined; top = this.#queue.pop()) {
      const count = this.#pairCounts.get(top.pair) ?? 0;
      if (count < 2) continue;
      if (count === top.count) return top.pair;
      // Counts of queued pairs only fall, so the pair goes back into the queue with its present count.
      this.#queue.push({ pair: top.pair, count });
    }
    return undefined;
  }

  /** Replaces the pair with the id in every word. */
  merge(left: number, right: number, id: number): void {
    const pair = pairOf(left, right);
    const made = new Set<number>();
    for (const index of this.#wordsOfPair.get(pair) ?? []) this.#mergeWord(index, left, right, id, made);
    this.#wordsOfPair.delete(pair);
    this.#pairCounts.delete(pair);
    for (const next of made) this.#queue.push({ pair: next, count: this.#pairCounts.get(next)! });
  }

  /** Replaces the pair in one word from left to right; only the pairs around it change their counts. */
  #mergeWord(index: number, left: number, right: number, id: number, made: Set<number>): void {
    const word = this.#words[index];
    const count = this.#wordCounts[index];
    // The word shrinks in place: what is written lies before what is still to be read.
    let length = 0;
    let last = -1;
    let justMade = false;
    const make = (pair: number): void => {
      this.#count(pair, count, index);
      made.add(pair);
    };
    for (let i = 0; i < word.length; i++) {
      if (word[i] === left && word[i + 1] === right) {
        // Directly after another merge, that merge has already subtracted the pair with the symbol before.
        if (i > 0 && !justMade) this.#count(pairOf(last, left), -count);
        if (i + 2 < word.length) this.#count(pairOf(right, word[i + 2]), -count);
        if (i > 0) make(pairOf(last, id));
        last = id;
        justMade = true;
        i++;
      } else {
        if (justMade) make(pairOf(id, word[i]));
        last = word[i];
        justMade = false;
      }
      word[length++] = last;
    }
    if (length < word.length) this.#words[index] = word.subarray(0, length);
  }

  #count(pair: number, change: number, word?: number): void {
    this.#pairCounts.set(pair, (this.#pairCounts.get(pair) ?? 0) + change);
    if (word === undefined) return;
    const words = this.#wordsOfPair.get(pair);
    if (words === undefined) this.#wordsOfPair.set(pair, [word]);
    else if (words[words.length - 1] !== word) words.push(word);
  }
}

function concatenate(a: Uint8Array, b: Uint8Array): Uint8Array {
  const both = new Uint8Array(a.length + b.length);
  both.set(a);
  both.set(b, a.length);
  return both;
}
