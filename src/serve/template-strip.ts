/**
 * Python's `strip`, `lstrip` and `rstrip` of certain characters in templates, for which @huggingface/jinja removes all
 * white space instead. It works on the tree into which that parses templates.
 */

const METHODS = ['strip', 'lstrip', 'rstrip'] as const;
type Method = (typeof METHODS)[number];

/** The functions with which `useStrip` replaces the methods, by their names in templates. */
export const STRIP_FUNCTIONS: Readonly<Record<string, (text: string, characters: string | null) => string>> =
  Object.fromEntries(
    METHODS.map((method) => [functionName(method), (text, characters) => stripped(method, text, characters)]),
  );

/** Turns `x.strip('…')` and the like in a parsed template into the call of a function. */
export function useStrip(tree: unknown): void {
  if (typeof tree !== 'object' || tree === null) return;
  const node = tree as Record<string, unknown>;
  for (const child of tree instanceof Map ? [...tree.entries()].flat() : Object.values(node)) useStrip(child);
  const { type, callee, args } = node as {
    type?: string;
    callee?: Record<string, unknown>;
    args?: unknown[];
  };
  if (type !== 'CallExpression' || callee?.type !== 'MemberExpression' || args?.length !== 1) return;
  const method = METHODS.find((name) => name === (callee.property as { value?: unknown }).value);
  if (method === undefined || callee.computed === true) return;
  node.callee = { type: 'Identifier', value: functionName(method) };
  node.args = [callee.object, ...args];
}

function functionName(method: Method): string {
  return `loopnn_${method}`;
}

function stripped(method: Method, text: string, characters: string | null): string {
  const units = Array.from(text);
  const goes = (one: string) =>
    characters === null ? one.trim() === '' : Array.from(characters).includes(one);
  let [start, end] = [0, units.length];
  if (method !== 'rstrip') while (start < end && goes(units[start])) start++;
  if (method !== 'lstrip') while (end > start && goes(units[end - 1])) end--;
  return units.slice(start, end).join('');
}
