/**
 * Finds keys that come twice in one object of a JSON text: `JSON.parse` keeps the last and says nothing, and two
 * readers that keep different ones would see different files. Knows no format.
 */

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

/** The place after the closing quote of the string that begins at `start`. */
function stringEnd(json: string, start: number): number {
  let i = start + 1;
  while (json[i] !== '"') i += json[i] === '\\' ? 2 : 1;
  return i + 1;
}

/** Whether the string that ends at `end` is followed by a colon. */
function isKey(json: string, end: number): boolean {
  let i = end;
  while (json[i] === ' ' || json[i] === '\n' || json[i] === '\r' || json[i] === '\t') i++;
  return json[i] === ':';
}
