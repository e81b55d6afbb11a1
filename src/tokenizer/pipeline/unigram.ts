/** Unigram: the tokens that make a word with the greatest sum of scores, as in Python's tokenizers. */
import type { Settings } from './settings.js';
import { Trie } from './trie.js';
import { byteTokens, type ModelTokens, spellable, type WordModel } from './words.js';

/** How much lower an unknown character's score is than the lowest score of a token. */
const UNKNOWN_PENALTY = 10;

/** Reads the model; throws DataError if it is damaged. */
export function unigram(settings: Settings, tokens: ModelTokens): WordModel {
  const pieces = settings.list('vocab');
  const scores = pieces.map((entry, i) => {
    if (Array.isArray(entry) && typeof entry[1] === 'number') return asRead(entry[1]);
    return settings.refuse('vocab', `must be pairs of a token and its score, which entry ${i} is not`);
  });
  const unknown = settings.value('unk_id') === null ? null : settings.count('unk_id', 0);
  if (unknown !== null && unknown >= pieces.length) {
    settings.refuse('unk_id', `must be the id of one of the ${pieces.length} tokens`);
  }
  const byBytes = settings.flag('byte_fallback', false);
  const unknownScore = scores.reduce((least, score) => Math.min(least, score), Infinity) - UNKNOWN_PENALTY;
  const vocab = spellable(tokens);
  const trie = new Trie();
  for (const [token, id] of vocab) trie.add(token, id);

  /** For each place where a token may end: where the best token starts, and whether it is known. */
  const bestPath = (word: string): { starts: Int32Array; known: Uint8Array } => {
    const starts = new Int32Array(word.length + 1).fill(-1);
    const known = new Uint8Array(word.length + 1);
    const sums = new Float64Array(word.length + 1);
    const offer = (start: number, end: number, score: number, isKnown: boolean): void => {
      const sum = score + sums[start];
      if (starts[end] >= 0 && sum <= sums[end]) return;
      if (!isKnown && unknown === null) throw new Error('the model has no unk_id');
      starts[end] = start;
      sums[end] = sum;
      known[end] = isKnown ? 1 : 0;
    };
    for (let start = 0; start < word.length; ) {
      const next = start + (word.codePointAt(start)! > 0xffff ? 2 : 1);
      let single = false;
      trie.prefixes(word, start, (end, id) => {
        offer(start, end, scores[id], id !== unknown);
        single ||= end === next;
      });
      if (!single) offer(start, next, unknownScore, false);
      start = next;
    }
    return { starts, known };
  };

  /** The ids of a piece: a token, or a run of unknown characters. */
  const idsOf = (piece: string): number[] => {
    const id = vocab.get(piece);
    if (id !== undefined) return [id];
    return (byBytes ? byteTokens(piece, vocab) : undefined) ?? [unknown!];
  };
  return {
    encode: (word) => {
      const { starts, known } = bestPath(word);
      const ids: number[] = [];
      for (let end = word.length; end > 0; ) {
        let start = starts[end];
        if (!known[end]) while (start > 0 && !known[start]) start = starts[start];
        for (const id of idsOf(word.slice(start, end)).reverse()) ids.push(id);
        end = start;
      }
      return ids.reverse();
    },
  };
}

/**
 * A score as Python's tokenizers reads it: its digits as a whole number, then a division, each of which rounds.
 * JSON.parse gives the number nearest to the written one, which may differ by a unit in the last place, and so decide
 * differently between equal paths.
 */
function asRead(score: number): number {
  const [digits, power = '0'] = String(score).split('e');
  const [whole, fraction = ''] = digits.split('.');
  const exponent = Number(power) - fraction.length;
  const integer = Number(whole + fraction);
  return exponent < 0 ? integer / Number(`1e${-exponent}`) : integer * Number(`1e${exponent}`);
}
