/** Cuts a text where an expression matches, as Python's tokenizers does. */

/**
 * What becomes of the matches: gone, pieces of their own, or joined with what lies before them, behind them or beside.
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
 * Calls `match` with the start and end of each match of a global expression, but for an empty one right after another.
 * An empty text has none.
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
      // V8 looks there too.
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
 * Cuts a text into pieces, some of which may be empty. With `invert`, what lies between the matches counts as matches.
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
  // A span is joined with the one before it, or the one behind it; of several matches in a row one only.
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

/** Calls `span` for each match and for what lies between them; together they are the text. */
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
