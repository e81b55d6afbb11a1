/**
 * Parses JSON from untrusted files. A text nested deeper than any format needs would overflow the stack of code that
 * walks its value. If a key comes twice in one object, `JSON.parse` silently keeps the last; a reader that keeps the
 * first would see a different file.
 */

/** Most levels of nested objects and lists: a tokenizer.json, the deepest file read here, has about 10. */
const MOST_LEVELS = 64;

/** Parses JSON that is nested at most 64 levels deep. Throws SyntaxError if it is deeper, or not JSON. */
export function parseJSON(json: string): unknown {
  let level = 0;
  for (let i = 0; i < json.length; i++) {
    const character = json.charCodeAt(i);
    if (character === 0x22) i = stringEnd(json, i) - 1;
    else if (character === 0x7b || character === 0x5b) {
      if (++level > MOST_LEVELS) throw new SyntaxError(`nested more than ${MOST_LEVELS} levels deep`);
    } else if (character === 0x7d || character === 0x5d) level--;
  }
  return JSON.parse(json);
}

/** The first key that comes twice in its object, or undefined; `json` must be valid JSON. */
export function duplicateKey(json: string): string | undefined {
  /** The keys seen in each open object; undefined for an open list. */
  const open: (Set<string> | undefined)[] = [];
  for (let i = 0; i < json.length; i++) {
    const character = json[i];
    if (character === '{') open.push(new Set());
    else if (character === '[') open.push(undefined);
    else if (character === '}' || character === ']') open.pop();
    else if (character === '"') {
      const end = stringEnd(json, i);
      const keys = open[open.length - 1];
      if (keys !== undefined && isKey(json, end)) {
        const key = JSON.parse(json.slice(i, end)) as string;
        if (keys.has(key)) return key;
        keys.add(key);
      }
      i = end - 1;
    }
  }
  return undefined;
}

/** The index after the closing quote of the string that begins at `start`; beyond the end if there is none. */
function stringEnd(json: string, start: number): number {
  let i = start + 1;
  while (i < json.length && json[i] !== '"') i += json[i] === '\\' ? 2 : 1;
  return i + 1;
}

/** Whether the string that ends at `end` is followed by a colon. */
function isKey(json: string, end: number): boolean {
  let i = end;
  while (json[i] === ' ' || json[i] === '\n' || json[i] === '\r' || json[i] === '\t') i++;
  return json[i] === ':';
}
