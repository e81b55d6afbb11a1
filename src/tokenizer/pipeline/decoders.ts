/** The decoders of a tokenizer.json: how tokens become a text again. They decode as Python's tokenizers does. */
import { alphabetToBytes } from '../byte-alphabet.js';
import { isRecord } from '../huggingface-json.js';
import type { Replacement } from '../replacements.js';
import { readPattern } from './pattern.js';
import { prependScheme } from './pre-tokenizers.js';
import { Settings } from './settings.js';
import { eachMatch } from './split.js';

/** Turns tokens into pieces; joined, the pieces are the text. */
export type TokensDecoder = (tokens: readonly string[]) => readonly string[];

/** The supported types of decoders. */
export const DECODERS = [
  'BPEDecoder',
  'ByteFallback',
  'ByteLevel',
  'CTC',
  'Fuse',
  'Metaspace',
  'Replace',
  'Sequence',
  'Strip',
  'WordPiece',
] as const;

/** Reads a decoder; without one tokens are separated by spaces. Throws DataError if it is damaged or not supported. */
export function readDecoder(value: unknown, where: string): TokensDecoder {
  if (value === null || value === undefined) return (tokens) => [tokens.join(' ')];
  const settings = new Settings(value, where);
  switch (settings.name('type', DECODERS)) {
    case 'BPEDecoder': {
      const suffix = settings.text('suffix');
      return (tokens) =>
        tokens.map((token, i) => token.replaceAll(suffix, () => (i === tokens.length - 1 ? '' : ' ')));
    }
    case 'ByteFallback':
      return byteFallback;
    case 'ByteLevel':
      return byteLevel;
    case 'CTC':
      return ctc(settings);
    case 'Fuse':
      return (tokens) => [tokens.join('')];
    case 'Metaspace': {
      const mark = settings.character('replacement');
      const first = prependScheme(settings) === 'never' ? ' ' : '';
      return (tokens) => tokens.map((token, i) => token.replaceAll(mark, i === 0 ? first : ' '));
    }
    case 'Replace': {
      const pattern = readPattern(settings);
      const content = settings.text('content');
      return (tokens) => tokens.map((token) => replaced(token, pattern, content));
    }
    case 'Sequence': {
      const steps = settings.list('decoders').map((one, i) => readDecoder(one, `${where}.decoders[${i}]`));
      return (tokens) => steps.reduce((before, step) => step(before), tokens);
    }
    case 'Strip':
      return strip(settings);
    case 'WordPiece': {
      const prefix = settings.text('prefix');
      const clean = settings.flag('cleanup') ? cleanedUp : (text: string) => text;
      return (tokens) =>
        tokens.map((token, i) => {
          if (i === 0) return clean(token);
          return clean(token.startsWith(prefix) ? token.slice(prefix.length) : ` ${token}`);
        });
    }
  }
}

/**
 * Splits off the replacements with which a decoder ends after it has joined all tokens. They are made in the decoded
 * text, whole or piece by piece.
 */
export function withoutReplacements(decoder: unknown): { decoder: unknown; replacements: Replacement[] } {
  const replacements: Replacement[] = [];
  if (!isRecord(decoder) || decoder.type !== 'Sequence' || !Array.isArray(decoder.decoders)) {
    return { decoder, replacements };
  }
  const steps: unknown[] = [...decoder.decoders];
  for (;;) {
    const last = steps.at(-1);
    if (!isRecord(last)) return { decoder, replacements: [] };
    if (last.type === 'Fuse' || last.type === 'ByteLevel') break;
    const from = last.type === 'Replace' && isRecord(last.pattern) ? last.pattern.String : undefined;
    if (typeof from !== 'string' || from === '' || typeof last.content !== 'string') {
      return { decoder, replacements: [] };
    }
    replacements.unshift([from, last.content]);
    steps.pop();
  }
  return { decoder: { ...decoder, decoders: steps }, replacements };
}

function replaced(text: string, pattern: RegExp, content: string): string {
  let out = '';
  let at = 0;
  eachMatch(pattern, text, (start, end) => {
    out += text.slice(at, start) + content;
    at = end;
  });
  return out + text.slice(at);
}

const utf8 = new TextDecoder('utf-8', { ignoreBOM: true });

/** Decodes all bytes together, since a character may be spread over tokens. */
function byteLevel(tokens: readonly string[]): string[] {
  const bytes: number[] = [];
  for (const token of tokens) {
    for (const byte of alphabetToBytes(token) ?? new TextEncoder().encode(token)) bytes.push(byte);
  }
  return [utf8.decode(Uint8Array.from(bytes))];
}

/** Decodes tokens `<0x41>` in a row as bytes; if they are not UTF-8 together, each is U+FFFD. */
function byteFallback(tokens: readonly string[]): string[] {
  const out: string[] = [];
  let bytes: number[] = [];
  const flush = (): void => {
    if (bytes.length === 0) return;
    try {
      const strict = new TextDecoder('utf-8', { ignoreBOM: true, fatal: true });
      out.push(strict.decode(Uint8Array.from(bytes)));
    } catch {
      out.push('\ufffd'.repeat(bytes.length));
    }
    bytes = [];
  };
  for (const token of tokens) {
    const byte = /^<0x([0-9A-Fa-f]{2})>$/.exec(token);
    if (byte) {
      bytes.push(Number.parseInt(byte[1], 16));
    } else {
      flush();
      out.push(token);
    }
  }
  flush();
  return out;
}

function ctc(settings: Settings): TokensDecoder {
  const pad = settings.text('pad_token');
  const delimiter = settings.text('word_delimiter_token');
  const cleanup = settings.flag('cleanup');
  return (tokens) => {
    const out: string[] = [];
    tokens.forEach((token, i) => {
      if (token === tokens[i - 1]) return;
      const padless = token.replaceAll(pad, '');
      const text = cleanup ? cleanedUp(padless).replaceAll(delimiter, ' ') : padless;
      if (text !== '') out.push(text);
    });
    return out;
  };
}

function strip(settings: Settings): TokensDecoder {
  const content = settings.character('content');
  const start = settings.count('start', 0);
  const stop = settings.count('stop', 0);
  return (tokens) =>
    tokens.map((token) => {
      const characters = Array.from(token);
      let from = 0;
      while (from < start && characters[from] === content) from++;
      let to = characters.length;
      while (to > from && to > characters.length - stop && characters[to - 1] === content) to--;
      return characters.slice(from, to).join('');
    });
}

/** Removes spaces that English does not have. */
function cleanedUp(text: string): string {
  return text
    .replaceAll(' .', '.')
    .replaceAll(' ?', '?')
    .replaceAll(' !', '!')
    .replaceAll(' ,', ',')
    .replaceAll(" ' ", "'")
    .replaceAll(" n't", "n't")
    .replaceAll(" 'm", "'m")
    .replaceAll(' do not', " don't")
    .replaceAll(" 's", "'s")
    .replaceAll(" 've", "'ve")
    .replaceAll(" 're", "'re");
}
