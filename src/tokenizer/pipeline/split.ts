/** Splits a text where an expression matches, as Python's tokenizers does. */

/**
 * What becomes of the matches: they are removed, are pieces of their own, or join what lies before them, what lies
 * after them, or the matches beside them.
 */
export const BEHAVIORS = [
  'Removed',
  'Isolated',
  'MergedWithPrevious',
  'MergedWithNext',
  'Contiguous',
] as const;
export type Behavior = (typeof BEHAVIORS)[number];

/**
 * Calls `match` with the start and end of each match of a global expression, except an empty match directly after
 * another match. An empty text has no matches.
 */
export function eachMatch(pattern: RegExp, text: string, match: (start: number, end: number) => void): void {
  let from = 0;
  let before = -1;
  while (text !== '' && from <= text.length) {
    pattern.lastIndex = from;
    const found = pattern.exec(text);
    if (found === null) return;
    const end = pattern.lastIndex;
    if (end === before && found.index === end) {
      from += text.codePointAt(from)! > 0xffff ? 2 : 1;
    } else if (isInPair(text, found.index)) {
      // V8 also tries places within a surrogate pair.
      from = found.index + 1;
    } else {
      match(found.index, end);
      from = before = end;
    }
  }
}

function isInPair(text: string, i: number): boolean {
  return (text.charCodeAt(i) & 0xfc00) === 0xdc00 && i > 0 && text.codePointAt(i - 1)! > 0xffff;
}

/**
 * Splits a text into pieces, some of which may be empty. With `invert`, matches and what lies between them swap roles.
 *
 * @param piece is called with the start and end of each piece, in order
 */
export function split(
  text: string,
  pattern: RegExp,
  behavior: Behavior,
  invert: boolean,
  piece: (start: number, end: number) => void,
): void {
  if (behavior === 'Removed' || behavior === 'Isolated') {
    const emit = (start: number, end: number, match: boolean): void => {
      if (behavior === 'Isolated' || !match) piece(start, end);
    };
    eachSpan(text, pattern, invert, emit);
    return;
  }
  const starts: number[] = [];
  const matches: boolean[] = [];
  eachSpan(text, pattern, invert, (start, _, match) => {
    starts.push(start);
    matches.push(match);
  });
  // 1 for each span that is joined with the span before it; of several matches in a row, only one is merged.
  const joined = new Uint8Array(starts.length + 1);
  if (behavior === 'Contiguous') {
    for (let i = 1; i < starts.length; i++) if (matches[i] === matches[i - 1]) joined[i] = 1;
  } else if (behavior === 'MergedWithPrevious') {
    for (let i = 1; i < starts.length; i++) if (matches[i] && !matches[i - 1]) joined[i] = 1;
  } else {
    for (let i = starts.length - 2; i >= 0; i--) if (matches[i] && !matches[i + 1]) joined[i + 1] = 1;
  }
  for (let i = 0; i < starts.length; ) {
    const start = starts[i++];
    while (joined[i]) i++;
    piece(start, starts[i] ?? text.length);
  }
}

/** Calls `span` for each match and for what lies between matches; together the spans are the text. */
function eachSpan(
  text: string,
  pattern: RegExp,
  invert: boolean,
  span: (start: number, end: number, match: boolean) => void,
): void {
  let at = 0;
  eachMatch(pattern, text, (start, end) => {
    if (start > at) span(at, start, invert);
    span(start, end, !invert);
    at = end;
  });
  if (at < text.length) span(at, text.length, invert);
}
