/** Marks between documents that a text spells out, such as `<|endoftext|>`. This file must not read files. */
import { DataError } from '../../errors.js';

/** Passes texts on and counts a mark's occurrences in them, including those that span two texts. */
export async function* countMarks(
  texts: AsyncIterable<string>,
  mark: string,
  found: (times: number) => void,
): AsyncGenerator<string> {
  let held = '';
  let times = 0;
  for await (const text of texts) {
    held += text;
    let end = 0;
    for (let at = held.indexOf(mark); at >= 0; at = held.indexOf(mark, end)) {
      times++;
      end = at + mark.length;
    }
    held = held.slice(Math.max(end, held.length - mark.length + 1));
    yield text;
  }
  if (times > 0) found(times);
}

/**
 * The texts between marks, unchanged, for any chunking of the text.
 *
 * @param longest most UTF-16 units of a text between two marks, so that memory is bounded
 * @throws DataError for a longer text
 */
export async function* splitOn(
  texts: AsyncIterable<string>,
  mark: string,
  where: string,
  longest: number,
): AsyncGenerator<string> {
  let parts: string[] = [];
  let length = 0;
  // The end of the text so far, which may be the beginning of a mark.
  let tail = '';
  for await (const text of texts) {
    const held = tail + text;
    let start = 0;
    for (let at = held.indexOf(mark); at >= 0; at = held.indexOf(mark, start)) {
      parts.push(held.slice(start, at));
      yield parts.join('');
      parts = [];
      length = 0;
      start = at + mark.length;
    }
    const end = Math.max(start, held.length - mark.length + 1);
    parts.push(held.slice(start, end));
    length += end - start;
    tail = held.slice(end);
    if (length > longest) {
      const rule = `must have at most ${longest} characters between two marks`;
      throw new DataError(where, rule, length, 'leave --split-on out, or give what stands between documents');
    }
  }
  parts.push(tail);
  yield parts.join('');
}
