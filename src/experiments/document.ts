/**
 * A report as sections of text, tables, charts and quotations, and its two forms: one HTML page, and Markdown with SVG
 * files.
 */
import { onOneLine } from '../printable.js';
import { escapeText } from './plot-text.js';
import { STYLE, withoutVariables } from './style.js';

export type Block =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'list'; readonly items: readonly string[] }
  | {
      readonly kind: 'table';
      readonly header: readonly string[];
      readonly rows: readonly (readonly string[])[];
    }
  | {
      readonly kind: 'chart';
      readonly name: string;
      readonly title: string;
      /** One sentence: what there is to see. */
      readonly says: string;
      readonly svg: string;
    }
  | { readonly kind: 'quote'; readonly title: string; readonly lead: string; readonly text: string }
  | { readonly kind: 'facts'; readonly facts: readonly (readonly [name: string, value: string])[] };

export interface Section {
  readonly title: string;
  readonly blocks: readonly Block[];
}

/** Around a chart that is a file, in its own units. */
const MARGIN = 10;

/** Parts that only reports have. */
const OWN_STYLE = `
main { padding-block: 1.5rem 3rem; }
td, th:first-child { white-space: nowrap; }
dl { display: grid; grid-template-columns: minmax(6rem, max-content) minmax(0, 1fr); gap: 0.1rem 1rem; font-size: 0.875rem; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; } li { overflow-wrap: break-word; max-width: 60rem; }
ul { padding-left: 1.2rem; }
blockquote { margin: 0.4rem 0 1rem; padding: 0.5rem 1rem; border-left: 3px solid var(--rule); white-space: pre-wrap; overflow-wrap: anywhere; }
`;

/** One page that needs nothing else. */
export function renderHtml(title: string, sections: readonly Section[]): string {
  const body = sections.map(
    ({ title: name, blocks }) => `<h2>${escapeText(name)}</h2>\n${side(blocks).join('\n')}`,
  );
  return htmlPage(title, OWN_STYLE, body.join('\n'));
}

/** A page in the house's style; its body is HTML. */
export function htmlPage(title: string, style: string, body: string): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeText(title)}</title>
<link rel="icon" href="data:,">
<style>${STYLE}${style}</style>
</head>
<body>
<main>
<h1>${escapeText(title)}</h1>
${body}
</main>
</body>
</html>
`;
}

/** Blocks as HTML; charts, and quotations, that follow each other stand side by side where there is room. */
function side(blocks: readonly Block[]): string[] {
  const parts: string[] = [];
  for (let i = 0; i < blocks.length; ) {
    const { kind } = blocks[i];
    const from = i++;
    if (kind !== 'chart' && kind !== 'quote') {
      parts.push(htmlBlock(blocks[from]));
      continue;
    }
    while (blocks[i]?.kind === kind) i++;
    parts.push(`<div class="columns">${blocks.slice(from, i).map(htmlBlock).join('\n')}</div>`);
  }
  return parts;
}

function htmlBlock(block: Block): string {
  switch (block.kind) {
    case 'text':
      return `<p>${escapeText(block.text)}</p>`;
    case 'list':
      return `<ul>${block.items.map((item) => `<li>${escapeText(item)}</li>`).join('\n')}</ul>`;
    case 'table': {
      const cells = (tag: string, row: readonly string[]) =>
        row.map((cell) => `<${tag}>${escapeText(cell)}</${tag}>`).join('');
      const rows = block.rows.map((row) => `<tr>${cells('td', row)}</tr>`).join('\n');
      const head = `<thead><tr>${cells('th', block.header)}</tr></thead>`;
      const table = `<table>\n${head}\n<tbody>\n${rows}\n</tbody>\n</table>`;
      return `<div class="scroll" role="region" aria-label="${escapeText(`table: ${block.header.join(', ')}`)}" tabindex="0">${table}</div>`;
    }
    case 'chart':
      return `<figure class="plot">${block.svg}<p>${escapeText(block.says)}</p></figure>`;
    case 'quote':
      return `<div><h3>${escapeText(block.title)}</h3><blockquote><b>${escapeText(block.lead)}</b>${escapeText(block.text)}</blockquote></div>`;
    case 'facts': {
      const entries = block.facts.map(
        ([name, value]) => `<dt>${escapeText(name)}</dt><dd>${escapeText(onOneLine(value))}</dd>`,
      );
      return `<dl>\n${entries.join('\n')}\n</dl>`;
    }
  }
}

/** Markdown; its charts are the files of `chartFiles`, in the folder `plots` beside it. */
export function renderMarkdown(title: string, sections: readonly Section[]): string {
  const parts = sections.map(
    (section) => `## ${section.title}\n\n${section.blocks.map(markdownBlock).join('\n\n')}`,
  );
  return `# ${title}\n\n${parts.join('\n\n')}\n`;
}

function markdownBlock(block: Block): string {
  switch (block.kind) {
    case 'text':
      return block.text;
    case 'list':
      return block.items.map((item) => `- ${item}`).join('\n');
    case 'table': {
      const line = (cells: readonly string[]) => `| ${cells.map(markdownCell).join(' | ')} |`;
      const rule = `|${block.header.map((_, i) => (i === 0 ? ' --- ' : ' ---: ')).join('|')}|`;
      return [line(block.header), rule, ...block.rows.map(line)].join('\n');
    }
    case 'chart':
      return `![${block.title}](plots/${block.name}.svg)\n\n${block.says}`;
    case 'quote': {
      const text = `${block.lead}${block.text}`.replace(/\s*\n\s*/g, ' ');
      return `**${block.title}**\n\n> ${markdownCell(text)}`;
    }
    case 'facts':
      return block.facts.map(([name, value]) => `- ${name}: ${onOneLine(value)}`).join('\n');
  }
}

function markdownCell(text: string): string {
  return text.replace(/[|`*_<>[\]\\]/g, (c) => `\\${c}`);
}

/** The charts as files of their own, dark on white. */
export function chartFiles(sections: readonly Section[]): [name: string, svg: string][] {
  return sections.flatMap(({ blocks }) =>
    blocks.flatMap((block): [string, string][] =>
      block.kind === 'chart' ? [[`${block.name}.svg`, standalone(block.svg)]] : [],
    ),
  );
}

/** A picture of its own size, with a margin around it. */
function standalone(svg: string): string {
  const [found, width, height] = /viewBox="0 0 (\S+) (\S+)"/.exec(svg)!;
  const [outerWidth, outerHeight] = [Number(width) + 2 * MARGIN, Number(height) + 2 * MARGIN];
  const size = `width="${1.4 * outerWidth}" height="${1.4 * outerHeight}"`;
  const box = `viewBox="${-MARGIN} ${-MARGIN} ${outerWidth} ${outerHeight}"`;
  return withoutVariables(svg)
    .replace(found, box)
    .replace('<svg ', `<svg ${size} style="background:#fff;color:#222" `);
}
