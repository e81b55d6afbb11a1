/**
 * Writes docs/api.md, the reference of each entry of the package, from the declarations and docstrings that
 * `npm run build` leaves in dist/src:
 *
 *   node scripts/api-page.mjs [--print]
 *
 * The page has functions and classes with their docstrings, and the fields of the options that an entry exports.
 * `--print` prints the page and writes no file.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const DECLARATIONS = join(ROOT, 'dist', 'src');
const LONGEST = 100;

const ENTRIES = Object.entries(JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')).exports);

/** Names that a module exports: where each is declared, and under which name there. */
function exportsOf(path) {
  const text = readFileSync(path, 'utf8');
  const found = new Map();
  const at = (specifier) => join(dirname(path), specifier.replace(/\.js$/, '.d.ts'));
  for (const [, names, from] of text.matchAll(/^export (?:type )?\{([^}]*)\} from '(\.[^']*)';/gm)) {
    for (const name of names.split(',').map((part) => part.trim().replace(/^type /, ''))) {
      if (name === '') continue;
      const [own, as = own] = name.split(' as ');
      found.set(as, declarationOf(at(from), own));
    }
  }
  for (const [, from] of text.matchAll(/^export \* from '(\.[^']*)';/gm)) {
    for (const [name, declared] of exportsOf(at(from))) found.set(name, declared);
  }
  for (const [, name] of text.matchAll(
    /^export (?:declare )?(?:abstract )?(?:class|function|const) (\w+)/gm,
  )) {
    found.set(name, declarationOf(path, name));
  }
  return found;
}

/** A declaration's kind, docstring and text; what a module re-exports is looked up in the module that declares it. */
function declarationOf(path, name) {
  const text = readFileSync(path, 'utf8');
  const declared = new RegExp(
    `^export (?:declare )?(?:abstract )?(class|function|const|interface|type) ${name}\\b`,
    'm',
  ).exec(text);
  if (!declared) return exportsOf(path).get(name);
  const rest = text.slice(declared.index);
  const [, kind] = declared;
  const end = kind === 'class' || kind === 'interface' ? /^\}/m.exec(rest).index + 1 : endOfStatement(rest);
  return { kind, doc: docBefore(text.slice(0, declared.index)), text: rest.slice(0, end), path };
}

function endOfStatement(text) {
  let open = 0;
  for (let i = 0; i < text.length; i++) {
    if ('({['.includes(text[i])) open++;
    if (')}]'.includes(text[i])) open--;
    if (text[i] === ';' && open === 0) return i + 1;
  }
  return text.length;
}

/** The docstring at the end of a text, without its marks; '' if there is none. */
function docBefore(text) {
  const start = text.lastIndexOf('/**');
  const [, body] = start < 0 ? [] : (/^\/\*\*([\s\S]*?)\*\/\s*$/.exec(text.slice(start)) ?? []);
  return (body ?? '')
    .split('\n')
    .map((line) => line.replace(/^\s*\* ?/, '').trimEnd())
    .join('\n')
    .trim();
}

/** A docstring as Markdown: paragraphs filled, lists and formulas kept, `@example` as code. */
function markdown(doc) {
  const [prose, ...examples] = doc.split(/^@example\b\s*/m);
  const paragraphs = prose
    .replaceAll(/^@throws /gm, '\n@throws ')
    .replaceAll(/^@param (\w+)/gm, '\n- `$1`:')
    .trim()
    .split(/\n\s*\n/)
    .map((paragraph) => {
      if (paragraph.startsWith('@throws')) return fill(`${paragraph.replace('@throws', 'Throws')}.`);
      return /^(?: {2,}|[-*\d])/m.test(paragraph) ? paragraph : fill(paragraph);
    });
  const code = examples.map((example) =>
    example.includes('```') ? example.trim() : `\`\`\`ts\n${example.trim()}\n\`\`\``,
  );
  return [...paragraphs, ...code].filter((part) => part !== '');
}

function fill(paragraph) {
  const lines = [''];
  for (const word of paragraph.replaceAll('\n', ' ').match(/(?:`[^`]*`|[^\s`])+/g) ?? []) {
    const line = lines.at(-1);
    if (line === '') lines[lines.length - 1] = word;
    else if (line.length + 1 + word.length > LONGEST) lines.push(word);
    else lines[lines.length - 1] = `${line} ${word}`;
  }
  return lines.join('\n');
}

/** Public members of a class or an interface, each with its docstring. */
function membersOf(text) {
  const members = [];
  let rest = text.slice(text.indexOf('{\n') + 2, text.lastIndexOf('}'));
  while (rest.trim() !== '') {
    const [comment = ''] = /^\s*\/\*\*[\s\S]*?\*\/\s*\n/.exec(rest) ?? [];
    const end = endOfStatement(rest.slice(comment.length));
    const member = rest
      .slice(comment.length, comment.length + end)
      .replaceAll(/\s+/g, ' ')
      .trim();
    rest = rest.slice(comment.length + end);
    if (/^(?:private|protected|#|\[Symbol)/.test(member)) continue;
    members.push({ doc: docBefore(comment), text: member });
  }
  return members;
}

const plain = (text) =>
  text
    .replace(/^export declare /, '')
    .replaceAll(/(\?: [^;]*?) \| undefined;/g, '$1;')
    .replaceAll(/\n {4}/g, '\n  ');
const cell = (text) => text.replaceAll(/\s+/g, ' ').replaceAll('|', '\\|');
const code = (text) => `\`\`\`ts\n${text}\n\`\`\``;

/** The first sentence of a docstring, up to its tags. */
const firstSentence = (doc) =>
  doc
    .split(/^@/m)[0]
    .split(/(?<=\.)\s/)[0]
    .replaceAll(/\s+/g, ' ')
    .trim();

function describe(name, { kind, doc, text, path }) {
  const parts = [`### ${name}`, ...markdown(doc)];
  if (kind === 'interface') {
    const rows = membersOf(text).map((member) => {
      const [, field, type] =
        /^(?:readonly )?([\w$]+\??)(?:: |(?=\())([\s\S]*);$/.exec(plain(member.text)) ?? [];
      return field === undefined ? '' : `| \`${field}\` | \`${cell(type)}\` | ${cell(member.doc)} |`;
    });
    const extended = /extends ([^{]*) \{/.exec(text)?.[1];
    if (extended) parts.push(`Extends \`${extended}\`.`);
    const lines = rows.filter((row) => row !== '');
    if (lines.length > 0)
      parts.push(['| field | type | meaning |', '| --- | --- | --- |', ...lines].join('\n'));
  } else if (kind === 'class') {
    const heading = plain(text).slice(0, plain(text).indexOf('{')).trim();
    const lines = membersOf(text).flatMap((member) => [
      ...(firstSentence(member.doc) === '' ? [] : [`  // ${firstSentence(member.doc)}`]),
      `  ${plain(member.text)}`,
    ]);
    parts.push(code(lines.length === 0 ? heading : [`${heading} {`, ...lines, '}'].join('\n')));
  } else parts.push(code(plain(text)));
  const source = relative(DECLARATIONS, path).replace(/\.d\.ts$/, '.ts');
  parts.push(`In [src/${source}](../src/${source}).`);
  return parts.join('\n\n');
}

if (!existsSync(DECLARATIONS)) throw new Error('api-page: dist/src must be built: npm run build');
const parts = [
  '# API',
  fill(
    'What each entry of the package gives, made from the docstrings by `node scripts/api-page.mjs`. ' +
      '[library.md](library.md) is the introduction. The entries also export the types that these functions ' +
      'take and return. Errors are the same classes everywhere, and listed once.',
  ),
];
const listed = new Set();
for (const [entry, { types }] of ENTRIES) {
  const path = join(ROOT, types);
  const name = `loopnn${entry.slice(1)}`;
  parts.push(
    `## ${name}`,
    ...markdown(docBefore(`${/^\/\*\*[\s\S]*?\*\//.exec(readFileSync(path, 'utf8'))[0]}\n`)),
  );
  const kinds = ['function', 'class', 'const', 'interface'];
  const own = [...exportsOf(path)]
    .filter(([, declared]) => declared && kinds.includes(declared.kind))
    .filter(([name, { kind }]) => kind !== 'interface' || /Options$/.test(name))
    .filter(([name, { path }]) => !listed.has(`${path} ${name}`))
    .sort(([a, x], [b, y]) => kinds.indexOf(x.kind) - kinds.indexOf(y.kind) || (a < b ? -1 : 1));
  for (const [exported, declared] of own) {
    listed.add(`${declared.path} ${exported}`);
    parts.push(describe(exported, declared));
  }
}
const page = `${parts.join('\n\n')}\n`;
if (process.argv.includes('--print')) process.stdout.write(page);
else writeFileSync(join(ROOT, 'docs', 'api.md'), page);
