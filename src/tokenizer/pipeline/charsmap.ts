/**
 * SentencePiece's compiled rules of normalisation: texts and their replacements, found by a double array (darts-clone)
 * over UTF-8. As the crate spm_precompiled reads them for Python's tokenizers.
 */
import { DataError } from '../../errors.js';

/** Most bytes in UTF-8 of a grapheme that is looked up whole; of a longer one, only the characters are looked up. */
const LONGEST = 5;
/**
 * Characters that may join with their neighbours to form a grapheme. Any other character is a grapheme by itself, and
 * skips the rules of graphemes, which are slow.
 */
const JOINING =
  '\\p{M}\\p{Cf}\\p{Grapheme_Extend}\\p{Emoji_Modifier}\\p{RI}\\r\\n\\u0e33\\u0eb3' +
  '\\u1100-\\u11ff\\ua960-\\ua97c\\ud7b0-\\ud7fb\\u0d4e\\u{111c2}\\u{111c3}\\u{113d1}\\u{1193f}\\u{11941}\\u{11a3a}' +
  '\\u{11a84}-\\u{11a89}\\u{11d46}\\u{11f02}';
const STRETCH = new RegExp(`[^${JOINING}]?(?:[${JOINING}]+[^${JOINING}]?)+|[^\\x20-\\x7e]`, 'gu');

export class Charsmap {
  readonly #units: Uint32Array;
  /** The replacements, each ended by a NUL. */
  readonly #texts: Uint8Array;
  readonly #graphemes = new Intl.Segmenter('en', { granularity: 'grapheme' });
  readonly #known = new Map<string, string>();
  /** Matches what may change: all text, or all but printable ASCII if that does not change. */
  readonly #stretch: RegExp;

  /** @param base64 the field `precompiled_charsmap`; throws DataError if it is damaged */
  constructor(base64: string, where: string) {
    let bytes: Uint8Array;
    try {
      bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
    } catch {
      throw new DataError(where, 'must be base64');
    }
    const view = new DataView(bytes.buffer);
    const size = bytes.length < 4 ? -1 : view.getUint32(0, true);
    if (size < 4 || size % 4 !== 0 || 4 + size > bytes.length) {
      throw new DataError(where, 'must have a table of the size that it states', size);
    }
    this.#units = Uint32Array.from({ length: size / 4 }, (_, i) => view.getUint32(4 + 4 * i, true));
    this.#texts = bytes.subarray(4 + size);
    const printable = Array.from({ length: 0x5f }, (_, i) => String.fromCharCode(0x20 + i));
    const stays = printable.every((character) => this.#lookUp(character) === undefined);
    this.#stretch = stays ? STRETCH : new RegExp(`${STRETCH.source}|[^]`, 'gu');
  }

  normalize(text: string): string {
    return text.replace(this.#stretch, (stretch) => {
      let normal = this.#known.get(stretch);
      if (normal === undefined) {
        normal = '';
        for (const { segment } of this.#graphemes.segment(stretch)) normal += this.#grapheme(segment);
        if (this.#known.size < 100_000) this.#known.set(stretch, normal);
      }
      return normal;
    });
  }

  #grapheme(grapheme: string): string {
    const whole = new TextEncoder().encode(grapheme).length <= LONGEST ? this.#lookUp(grapheme) : undefined;
    if (whole !== undefined) return whole;
    let normal = '';
    for (const character of grapheme) normal += this.#lookUp(character) ?? character;
    return normal;
  }

  /**
   * The replacement of a text: that of the text's shortest prefix that has one, which in most cases is the whole text.
   */
  #lookUp(text: string): string | undefined {
    const units = this.#units;
    let node = offsetOf(units[0]);
    for (const byte of new TextEncoder().encode(text)) {
      if (byte === 0) return undefined;
      node ^= byte;
      const unit = units[node];
      // The label, with the bit that marks a leaf.
      if (unit === undefined || (unit & 0x8000_00ff) !== byte) return undefined;
      node ^= offsetOf(unit);
      if ((unit >>> 8) & 1) {
        const start = (units[node] ?? 0) & 0x7fff_ffff;
        const end = this.#texts.indexOf(0, start);
        return new TextDecoder('utf-8', { ignoreBOM: true }).decode(
          this.#texts.subarray(start, end < 0 ? undefined : end),
        );
      }
    }
    return undefined;
  }
}

function offsetOf(unit: number): number {
  return (unit >>> 10) << ((unit & 0x200) >>> 6);
}
