/** The normalizers of a tokenizer.json, which change a text before it is split, as Python's tokenizers does. */
import { textToAlphabet } from '../byte-alphabet.js';
import { Charsmap } from './charsmap.js';
import { CodePoints } from './code-points.js';
import { readPattern } from './pattern.js';
import { Settings } from './settings.js';
import { eachMatch } from './split.js';
import { classOf } from './unicode.js';

/** A text on its way to the model. */
export interface Normalized {
  text: string;
  /**
   * How many of its UTF-16 units come from the first character of the whole text. Metaspace needs it, since it may mark
   * the first word only.
   */
  lead: number;
}

export type Normalizer = (normalized: Normalized) => void;

/** The supported types of normalizers. */
export const NORMALIZERS = [
  'BertNormalizer',
  'ByteLevel',
  'Lowercase',
  'NFC',
  'NFD',
  'NFKC',
  'NFKD',
  'Nmt',
  'Precompiled',
  'Prepend',
  'Replace',
  'Sequence',
  'Strip',
  'StripAccents',
] as const;

/** Reads a normalizer, null for none; throws DataError if it is damaged or not supported. */
export function readNormalizer(value: unknown, where: string): Normalizer {
  if (value === null || value === undefined) return () => {};
  const settings = new Settings(value, where);
  const type = settings.name('type', NORMALIZERS);
  switch (type) {
    case 'BertNormalizer':
      return bert(settings);
    case 'ByteLevel':
      return change(textToAlphabet);
    case 'Lowercase':
      return lowercase;
    case 'NFC':
    case 'NFD':
    case 'NFKC':
    case 'NFKD':
      return unicodeForm(type);
    case 'Nmt':
      return sequence([remove(NMT_REMOVED), replace(NMT_SPACES, ' ')]);
    case 'Precompiled': {
      const charsmap = new Charsmap(settings.text('precompiled_charsmap'), `${where}.precompiled_charsmap`);
      const normalize = change((text) => charsmap.normalize(text));
      return (normalized) => {
        const { lead } = normalized;
        normalize(normalized);
        // A first character that such a table removes still counts.
        normalized.lead ||= Math.min(lead, 1);
      };
    }
    case 'Prepend': {
      const prefix = settings.text('prepend');
      return change((text) => (text === '' ? '' : prefix + text));
    }
    case 'Replace':
      return replaceMatches(readPattern(settings), settings.text('content'));
    case 'Sequence':
      return sequence(
        settings.list('normalizers').map((one, i) => readNormalizer(one, `${where}.normalizers[${i}]`)),
      );
    case 'Strip':
      return strip(settings.flag('strip_left'), settings.flag('strip_right'));
    case 'StripAccents':
      return remove(classOf('mark'));
  }
}

/** Control characters that the normalizer Nmt removes, and characters that it turns into spaces. */
const NMT_REMOVED = CodePoints.union([
  CodePoints.range(0x01, 0x08),
  CodePoints.range(0x0e, 0x1f),
  CodePoints.of('\x0b\x7f\x8f\x9f'),
]);
const NMT_SPACES = CodePoints.of('\t\n\f\r\u1680\u200b\u200c\u200d\u200e\u200f\u2028\u2029▁\ufeff\ufffd');

/** BERT's Chinese characters; U+2B820 to U+2B91F are not among them. */
const CHINESE = CodePoints.union([
  CodePoints.range(0x4e00, 0x9fff),
  CodePoints.range(0x3400, 0x4dbf),
  CodePoints.range(0x20000, 0x2a6df),
  CodePoints.range(0x2a700, 0x2b73f),
  CodePoints.range(0x2b740, 0x2b81f),
  CodePoints.range(0x2b920, 0x2ceaf),
  CodePoints.range(0xf900, 0xfaff),
  CodePoints.range(0x2f800, 0x2fa1f),
]);

function bert(settings: Settings): Normalizer {
  const lower = settings.flag('lowercase');
  const chinese = new RegExp(CHINESE.source, 'gu');
  const steps: Normalizer[] = [];
  if (settings.flag('clean_text')) steps.push(remove(classOf('control')), replace(classOf('space'), ' '));
  if (settings.flag('handle_chinese_chars')) steps.push(change((text) => text.replace(chinese, ' $& ')));
  if (settings.flag('strip_accents', lower)) steps.push(unicodeForm('NFD'), remove(classOf('accent')));
  if (lower) steps.push(lowercase);
  return sequence(steps);
}

/** A normalizer that changes the parts of a text as it changes the whole. */
function change(work: (text: string) => string): Normalizer {
  return (normalized) => {
    normalized.lead = work(normalized.text.slice(0, normalized.lead)).length;
    normalized.text = work(normalized.text);
  };
}

function sequence(steps: readonly Normalizer[]): Normalizer {
  return (normalized) => {
    for (const step of steps) step(normalized);
  };
}

/** Character by character: JavaScript's `toLowerCase` turns a Σ that ends a word into ς. */
const lowercase = change((text) => text.replaceAll('Σ', 'σ').toLowerCase());

function unicodeForm(form: 'NFC' | 'NFD' | 'NFKC' | 'NFKD'): Normalizer {
  const inert = classOf('unnormalised').source;
  const hasInert = new RegExp(inert, 'u');
  const byInert = new RegExp(`(${inert}+)`, 'u');
  const work = (text: string): string => {
    if (!hasInert.test(text)) return text.normalize(form);
    const parts = text.split(byInert);
    return parts.map((part, i) => (i % 2 === 0 ? part.normalize(form) : part)).join('');
  };
  if (form === 'NFC' || form === 'NFKC') return change(work);
  return (normalized) => {
    const first = work(normalized.text.slice(0, normalized.lead));
    normalized.text = work(normalized.text);
    // A mark of a later character may move between those of the first character.
    let lead = 0;
    while (lead < first.length && first[lead] === normalized.text[lead]) lead++;
    normalized.lead = lead;
  };
}

function replace(characters: CodePoints, content: string): Normalizer {
  const pattern = new RegExp(characters.source, 'gu');
  return change((text) => text.replace(pattern, content));
}

function remove(characters: CodePoints): Normalizer {
  const pattern = new RegExp(`${characters.source}+`, 'gu');
  return change((text) => text.replace(pattern, ''));
}

function strip(left: boolean, right: boolean): Normalizer {
  const { source } = classOf('space');
  const before = new RegExp(`^${source}+`, 'u');
  const space = new RegExp(source, 'u');
  return (normalized) => {
    const { text } = normalized;
    const start = left ? (before.exec(text)?.[0].length ?? 0) : 0;
    let end = text.length;
    while (right && end > start && space.test(text[end - 1])) end--;
    normalized.text = text.slice(start, end);
    normalized.lead = Math.max(0, normalized.lead - start);
  };
}

function replaceMatches(pattern: RegExp, content: string): Normalizer {
  return (normalized) => {
    const { text, lead } = normalized;
    let out = '';
    let at = 0;
    let kept = 0;
    eachMatch(pattern, text, (start, end) => {
      kept += Math.max(0, Math.min(start, lead) - at);
      // The content belongs to the first character if the last character that it replaces does.
      const last = end > 0 && text.codePointAt(end - 2)! > 0xffff ? end - 2 : end - 1;
      if (last < lead) kept += content.length;
      out += text.slice(at, start) + content;
      at = end;
    });
    normalized.text = out + text.slice(at);
    normalized.lead = kept + Math.max(0, lead - at);
  };
}
