/**
 * Byte-pair encoding over characters, with all settings that a tokenizer.json may have, as in Python's tokenizers.
 */
import { mergesOf } from '../huggingface-json.js';
import type { Settings } from './settings.js';
import { partedBy } from './cutter.js';
import { byteTokens, type ModelTokens, spellable, type WordModel } from './words.js';

/** Reads the model; throws DataError if it is damaged, or has dropout, which would give different ids each time. */
export function subwordBpe(settings: Settings, tokens: ModelTokens): WordModel {
  const { vocab, controls, where } = tokens;
  const dropout = settings.value('dropout');
  if (dropout !== null && dropout !== 0) settings.refuse('dropout', 'must be null or 0');
  const prefix = settings.text('continuing_subword_prefix', '');
  const suffix = settings.text('end_of_word_suffix', '');
  const fuse = settings.flag('fuse_unk', false);
  const byBytes = settings.flag('byte_fallback', false);
  const whole = settings.flag('ignore_merges', false) ? spellable(tokens) : null;
  const unknown = settings.value('unk_token') === null ? null : settings.text('unk_token');
  const merges = mergesOf(settings.list('merges'), vocab, where, { prefix, unmade: controls });

  const symbols = (word: string): number[] => {
    const ids: number[] = [];
    // An unknown character's id comes after the byte tokens that follow the character, as in the original.
    let pending = -1;
    for (let start = 0; start < word.length; ) {
      const end = start + (word.codePointAt(start)! > 0xffff ? 2 : 1);
      const symbol = (start > 0 ? prefix : '') + word.slice(start, end) + (end === word.length ? suffix : '');
      start = end;
      const id = vocab.get(symbol);
      if (id !== undefined) {
        if (pending >= 0) ids.push(pending);
        pending = -1;
        ids.push(id);
        continue;
      }
      const bytes = byBytes ? byteTokens(symbol, vocab) : undefined;
      if (bytes !== undefined) {
        ids.push(...bytes);
      } else if (unknown !== null) {
        if (pending >= 0 && !fuse) ids.push(pending);
        pending = vocab.get(unknown) ?? -1;
        if (pending < 0) throw new Error(`the vocabulary does not have the unknown token '${unknown}'`);
      }
    }
    if (pending >= 0) ids.push(pending);
    return ids;
  };
  // A word that is a token as a whole, or has marks at its ends, may encode differently from its parts.
  const cuttable = whole === null && prefix === '' && suffix === '';
  return {
    ...(cuttable ? { parts: partedBy(vocab) } : {}),
    encode: (word) => {
      const id = whole?.get(word);
      if (id !== undefined) return [id];
      const ids = Uint16Array.from(symbols(word));
      return Array.from(ids.subarray(0, merges.apply(ids, 0, ids.length)));
    },
  };
}
