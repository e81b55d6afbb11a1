/**
 * The pre-tokenizers of a tokenizer.json, which split a text into words that tokens never cross, as Python's tokenizers
 * does.
 */
import { textToAlphabet } from '../byte-alphabet.js';
import { preTokenize } from '../pretokenize.js';
import { literal, readPattern } from './pattern.js';
import { scriptOf } from './scripts.js';
import { Settings } from './settings.js';
import { BEHAVIORS, type Behavior, split } from './split.js';
import { classOf } from './unicode.js';

/** A text in pieces; no piece is empty. */
export interface Pieces {
  readonly texts: readonly string[];
  /** How many UTF-16 units come from the whole text's first character, for each piece that begins with such units. */
  readonly leads: readonly number[];
}

export type PreTokenizer = (pieces: Pieces) => Pieces;

/** The supported types of pre-tokenizers. */
export const PRE_TOKENIZERS = [
  'BertPreTokenizer',
  'ByteLevel',
  'CharDelimiterSplit',
  'Digits',
  'FixedLength',
  'Metaspace',
  'Punctuation',
  'Sequence',
  'Split',
  'UnicodeScripts',
  'Whitespace',
  'WhitespaceSplit',
] as const;

/** Reads a pre-tokenizer, null for none; throws DataError if it is damaged or not supported. */
export function readPreTokenizer(value: unknown, where: string): PreTokenizer {
  if (value === null || value === undefined) return (pieces) => pieces;
  const settings = new Settings(value, where);
  switch (settings.name('type', PRE_TOKENIZERS)) {
    case 'BertPreTokenizer':
      return sequence([cut(space(), 'Removed'), cut(punctuation(), 'Isolated')]);
    case 'ByteLevel':
      return byteLevel(settings.flag('add_prefix_space'), settings.flag('use_regex', true));
    case 'CharDelimiterSplit':
      return cut(literal(settings.character('delimiter')), 'Removed');
    case 'Digits':
      return cut(
        new RegExp(classOf('numeric').source, 'gu'),
        settings.flag('individual_digits') ? 'Isolated' : 'Contiguous',
      );
    case 'FixedLength': {
      const length = settings.count('length', 1, 5);
      if (length > 1000) settings.refuse('length', 'must be at most 1000');
      return cut(new RegExp(`[^]{1,${length}}`, 'gu'), 'Isolated');
    }
    case 'Metaspace':
      return metaspace(settings);
    case 'Punctuation':
      return cut(punctuation(), settings.name('behavior', BEHAVIORS, 'Isolated'));
    case 'Sequence':
      return sequence(
        settings.list('pretokenizers').map((one, i) => readPreTokenizer(one, `${where}.pretokenizers[${i}]`)),
      );
    case 'Split':
      return cut(readPattern(settings), settings.name('behavior', BEHAVIORS), settings.flag('invert'));
    case 'UnicodeScripts':
      return unicodeScripts;
    case 'Whitespace': {
      const [word, white] = [classOf('word'), classOf('space')];
      return cut(new RegExp(`${word.source}+|${word.or(white).not().source}+`, 'gu'), 'Removed', true);
    }
    case 'WhitespaceSplit':
      return cut(space(), 'Removed');
  }
}

const space = () => new RegExp(classOf('space').source, 'gu');

/** Punctuation by Unicode, and every ASCII character that is neither a letter, a digit nor a space. */
const punctuation = () => new RegExp(classOf('punctuation').source, 'gu');

function sequence(steps: readonly PreTokenizer[]): PreTokenizer {
  return (pieces) => steps.reduce((before, step) => step(before), pieces);
}

function cut(pattern: RegExp, behavior: Behavior, invert = false): PreTokenizer {
  return ({ texts, leads }) => {
    const out = new Out();
    texts.forEach((text, i) => {
      split(text, pattern, behavior, invert, (start, end) => {
        if (start < end) out.add(text.slice(start, end), (leads[i] ?? 0) - start);
      });
    });
    return out;
  };
}

class Out implements Pieces {
  readonly texts: string[] = [];
  readonly leads: number[] = [];

  /** @param lead units of the piece, or more, that come from the first character; 0 or below for none */
  add(text: string, lead: number): void {
    this.texts.push(text);
    if (lead > 0) this.leads.push(Math.min(lead, text.length));
  }
}

/** Splits where the script changes. Text before the first character with a script is dropped. */
function unicodeScripts({ texts, leads }: Pieces): Pieces {
  const out = new Out();
  texts.forEach((text, i) => {
    let start = text.length;
    let script: string | null = null;
    const piece = (end: number): void => {
      if (start < end) out.add(text.slice(start, end), (leads[i] ?? 0) - start);
      start = end;
    };
    for (let at = 0; at < text.length; ) {
      const codePoint = text.codePointAt(at)!;
      const own = scriptOf(codePoint);
      if (own !== null && own !== script) {
        piece(at);
        script = own;
      }
      at += codePoint > 0xffff ? 2 : 1;
    }
    piece(text.length);
  });
  return out;
}

function byteLevel(prefixSpace: boolean, useRegex: boolean): PreTokenizer {
  return ({ texts, leads }) => {
    const out = new Out();
    texts.forEach((piece, i) => {
      const prefix = prefixSpace && !piece.startsWith(' ') ? ' ' : '';
      const text = prefix + piece;
      const lead = leads[i] ? prefix.length + leads[i] : 0;
      const word = (start: number, end: number): void => {
        const ownLead = start < lead ? textToAlphabet(text.slice(start, lead)).length : 0;
        out.add(textToAlphabet(text.slice(start, end)), ownLead);
      };
      if (useRegex) preTokenize(text, word);
      else word(0, text.length);
    });
    return out;
  };
}

function metaspace(settings: Settings): PreTokenizer {
  const mark = settings.character('replacement');
  const scheme = prependScheme(settings);
  const words = settings.flag('split', true) ? cut(literal(mark), 'MergedWithNext') : sequence([]);
  return ({ texts, leads }) => {
    const out = new Out();
    texts.forEach((text, i) => {
      const lead = leads[i] ?? 0;
      const replaced = text.replaceAll(' ', () => mark);
      const prepended = scheme === 'always' || (scheme === 'first' && lead > 0);
      const prefix = prepended && !replaced.startsWith(mark) ? mark : '';
      out.add(prefix + replaced, lead > 0 ? prefix.length + lead : 0);
    });
    return words(out);
  };
}

/** The words before which Metaspace puts its mark. Older files, without a scheme, have the flag add_prefix_space. */
export function prependScheme(settings: Settings): 'always' | 'first' | 'never' {
  const scheme = settings.name('prepend_scheme', ['always', 'first', 'never'], 'always');
  if (settings.flag('add_prefix_space', true) || scheme === 'never') return scheme;
  if (settings.value('prepend_scheme') === null) return 'never';
  return settings.refuse('prepend_scheme', 'must be never where add_prefix_space is false');
}
