/**
 * Bytes to text, piece by piece, in memory that does not grow with the text. This file must not read files or encode.
 */
import { isUtf8 } from 'node:buffer';
import { cutBeforeSpace } from '../../tokenizer/pretokenize.js';

/** UTF-16 units after which text is split even without white space. */
const LONGEST_WORD = 1 << 24;
/** UTF-16 units that are processed together. */
const PIECE_UNITS = 1 << 20;

/**
 * Decodes UTF-8, dropping a byte order mark at the beginning; what is not UTF-8 becomes U+FFFD.
 *
 * @param onInvalid called once if the bytes are not all UTF-8
 */
export async function* decodeUtf8(
  chunks: AsyncIterable<Uint8Array>,
  onInvalid: () => void,
): AsyncGenerator<string> {
  const utf8 = new TextDecoder('utf-8', { ignoreBOM: true });
  let rest: Uint8Array = new Uint8Array(0);
  let first = true;
  let valid = true;
  const decode = (bytes: Uint8Array): string => {
    if (valid && !isUtf8(bytes)) {
      valid = false;
      onInvalid();
    }
    const text = utf8.decode(bytes);
    const start = first && text.charCodeAt(0) === 0xfeff ? 1 : 0;
    if (text.length > 0) first = false;
    return start === 0 ? text : text.slice(start);
  };
  for await (const chunk of chunks) {
    const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    const end = wholeCharacters(bytes);
    rest = bytes.subarray(end);
    yield decode(bytes.subarray(0, end));
  }
  if (rest.length > 0) yield decode(rest);
}

/** The number of leading bytes that end at the end of a character. */
function wholeCharacters(bytes: Uint8Array): number {
  for (let back = 1; back <= 3 && back <= bytes.length; back++) {
    const byte = bytes[bytes.length - back];
    if (byte >= 0xc0) {
      const needed = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2;
      return needed > back ? bytes.length - back : bytes.length;
    }
    if (byte < 0x80) break;
  }
  return bytes.length;
}

/**
 * Splits text anew so that every piece but the last ends before white space that follows something else: byte-level
 * tokenizers (`cuttable`) give the pieces the same ids as the whole. Only a stretch of more than `longest` UTF-16 units
 * without such a place is split at any character. Empty pieces are skipped.
 */
export async function* cutPieces(
  texts: AsyncIterable<string>,
  longest = LONGEST_WORD,
): AsyncGenerator<string> {
  let held = '';
  for await (const text of texts) {
    for (let at = 0, end: number; at < text.length; at = end) {
      end = characterStart(text, Math.min(text.length, at + PIECE_UNITS));
      held += text.slice(at, end);
      let cut = cutBeforeSpace(held);
      if (cut === 0 && held.length > longest) cut = characterStart(held, longest);
      if (cut === 0) continue;
      yield held.slice(0, cut);
      held = held.slice(cut);
    }
  }
  if (held !== '') yield held;
}

/** The pieces of a text that is whole in memory, as `cutPieces` splits them. */
export async function* piecesOf(text: string): AsyncGenerator<string> {
  if (text.length > PIECE_UNITS) yield* cutPieces(only(text));
  else if (text !== '') yield text;
}

async function* only<Item>(item: Item): AsyncGenerator<Item> {
  yield item;
}

/** The index at or before `at` that is not between the two halves of a surrogate pair. */
export function characterStart(text: string, at: number): number {
  return at > 0 && at < text.length && text.codePointAt(at - 1)! > 0xffff ? at - 1 : at;
}

/**
 * The pieces of a text of `total` bytes up to the first character that begins at or after byte `cut`; if there is none,
 * up to the last character. So neither side of a text of two characters is empty.
 */
export async function* piecesUpTo(
  pieces: AsyncIterable<string>,
  cut: number,
  total: number,
): AsyncGenerator<string> {
  let at = 0;
  for await (const piece of pieces) {
    const end = at + Buffer.byteLength(piece);
    const inside = cutInside(piece, at, end, cut, total);
    if (inside > 0) yield piece.slice(0, inside);
    if (end >= cut) return;
    at = end;
  }
}

/** The rest after `piecesUpTo`. */
export async function* piecesFrom(
  pieces: AsyncIterable<string>,
  cut: number,
  total: number,
): AsyncGenerator<string> {
  let at = 0;
  for await (const piece of pieces) {
    const end = at + Buffer.byteLength(piece);
    const inside = at >= cut ? 0 : cutInside(piece, at, end, cut, total);
    if (inside < piece.length) yield piece.slice(inside);
    at = end;
  }
}

/** How many UTF-16 units of a piece, bytes `at` to `end` of the text, lie before the cut. */
function cutInside(piece: string, at: number, end: number, cut: number, total: number): number {
  if (end < cut) return piece.length;
  let inside = 0;
  for (let byte = at; byte < cut; ) {
    const character = piece.codePointAt(inside)!;
    byte += character < 0x80 ? 1 : character < 0x800 ? 2 : character < 0x10000 ? 3 : 4;
    inside += character < 0x10000 ? 1 : 2;
  }
  const all = inside === piece.length && end === total;
  return all ? characterStart(piece, piece.length - 1) : inside;
}
