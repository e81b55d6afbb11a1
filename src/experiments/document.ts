/** A report as sections of text, tables, charts and quotations, and its two forms: one HTML page, and Markdown with SVG files. */
import { onOneLine } from '../printable.js';
import { escapeText } from './plot.js';

export type Block =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'list'; readonly items: readonly string[] }
  | {
      readonly kind: 'table';
      readonly header: readonly string[];
      readonly rows: readonly (readonly string[])[];
    }
  | { readonly kind: 'chart'; readonly name: string; readonly title: string; readonly svg: string }
  | { readonly kind: 'quote'; readonly title: string; readonly lead: string; readonly text: string }
  | { readonly kind: 'facts'; readonly facts: readonly (readonly [name: string, value: string])[] };

export interface Section {
  readonly title: string;
  readonly blocks: readonly Block[];
}

const STYLE = `
:root { color-scheme: light dark; }
body { font: 15px/1.55 system-ui, sans-serif; max-width: 84rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.2rem; margin-top: 2.2rem; } h3 { font-size: 1rem; }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; margin: 0.6rem 0; }
th, td { padding: 0.3rem 0.45rem; text-align: right; border-bottom: 1px solid #8884; }
td, th:first-child { white-space: nowrap; } th:first-child, td:first-child { text-align: left; }
th { font-weight: 600; vertical-align: bottom; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0.1rem 1rem; } dt { color: #888; } dd { margin: 0; }
blockquote { margin: 0.4rem 0 1rem; padding: 0.5rem 1rem; border-left: 3px solid #8886; white-space: pre-wrap; }
.scroll { overflow-x: auto; } svg { max-width: 100%; min-width: 36rem; height: auto; }
`;

/** One page that needs nothing else. */
export function renderHtml(title: string, sections: readonly Section[]): string {
  const body = sections.map(
    (section) => `<h2>${escapeText(section.title)}</h2>\n${section.blocks.map(htmlBlock).join('\n')}`,
  );
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeText(title)}</title>
<style>${STYLE}</style>
</head>
<body>
<h1>${escapeText(title)}</h1>
${body.join('\n')}
</body>
</html>
`;
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
      return `<div class="scroll"><table>\n${head}\n<tbody>\n${rows}\n</tbody>\n</table></div>`;
    }
    case 'chart':
      return `<div class="scroll">${block.svg}</div>`;
    case 'quote':
      return `<h3>${escapeText(block.title)}</h3><blockquote><b>${escapeText(block.lead)}</b>${escapeText(block.text)}</blockquote>`;
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
      return `![${block.title}](plots/${block.name}.svg)`;
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
      block.kind === 'chart'
        ? [[`${block.name}.svg`, block.svg.replace('<svg ', '<svg style="background:#fff;color:#222" ')]]
        : [],
    ),
  );
}
