/** Changes the texts that a template writes, in the tree into which @huggingface/jinja parses templates. */

/** A node of the tree, with the fields that are used here. */
interface Node {
  readonly type: string;
  value?: unknown;
  readonly [field: string]: unknown;
}

/** Operators that read texts and write none. */
const COMPARISONS = new Set(['==', '!=', '<', '>', '<=', '>=', 'in', 'not in']);
/**
 * Functions and filters that look for their arguments in a text, or in a list of messages; of `replace` only the first
 * is looked for.
 */
const SEARCHES = new Set([
  'startswith',
  'endswith',
  'split',
  'strip',
  'lstrip',
  'rstrip',
  'replace',
  'selectattr',
  'rejectattr',
]);

/**
 * Replaces every text of a parsed template, except names of fields, by `change(text)`.
 *
 * @param spare skips the texts that the template compares with, or looks for
 */
export function markTexts(tree: unknown, change: (text: string) => string, spare: boolean): void {
  const visit = (value: unknown, sought: boolean): void => {
    if (Array.isArray(value)) for (const one of value) visit(one, sought);
    // Keys of an object are names of fields too.
    else if (value instanceof Map) for (const one of value.values()) visit(one, sought);
    else if (isNode(value)) visitNode(value, sought);
  };
  const visitNode = (node: Node, sought: boolean): void => {
    switch (node.type) {
      case 'StringLiteral':
        if (!sought) node.value = change(node.value as string);
        break;
      case 'MemberExpression':
        visit(node.object, sought);
        break;
      case 'BinaryExpression': {
        const compares = spare && COMPARISONS.has((node.operator as { value: string }).value);
        visit([node.left, node.right], sought || compares);
        break;
      }
      case 'CallExpression': {
        const name = calleeOf(node);
        visit(node.callee, sought);
        (node.args as unknown[]).forEach((argument, i) => {
          visit(argument, sought || (spare && SEARCHES.has(name) && (name !== 'replace' || i === 0)));
        });
        break;
      }
      default:
        for (const field of Object.values(node)) visit(field, sought);
    }
  };
  visit(tree, false);
}

/** The name of a call's function, filter or method. */
function calleeOf({ callee }: Node): string {
  const { type, value, property } = callee as Node;
  return String(type === 'MemberExpression' ? (property as Node).value : value);
}

function isNode(value: unknown): value is Node {
  return typeof value === 'object' && value !== null && typeof (value as Node).type === 'string';
}
