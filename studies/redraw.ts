/**
 * Renders committed comparisons again, in the reports' present form. Every number comes from `results.json`, and the
 * conditions of the measurement from `report.md`. Nothing is trained.
 *
 *     node dist/studies/redraw.js FOLDER [FOLDER …]
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ComparisonDocument } from '../src/experiments/comparison-folder.js';
import { chartFiles, renderHtml, renderMarkdown } from '../src/experiments/document.js';
import { reportSections } from '../src/experiments/report.js';
import type { Scale } from '../src/experiments/suites.js';
import { NodeStore } from '../src/node/store.js';
import { findSuite } from '../src/operations/suites.js';
import { BytesTokenizer } from '../src/tokenizer/bytes.js';
import { textOf } from '../src/tokenizer/tokenizer.js';
import { parseRunConfig } from '../src/train/config.js';

/** Lists of a section in Markdown, without their marks. */
function listOf(markdown: string, section: string): string[] {
  const [, rest = ''] = markdown.split(`\n## ${section}\n`);
  return rest
    .split('\n## ')[0]
    .split('\n')
    .flatMap((line) => (line.startsWith('- ') ? [line.slice(2)] : []));
}

for (const folder of process.argv.slice(2)) {
  const document = JSON.parse(await readFile(join(folder, 'results.json'), 'utf8')) as ComparisonDocument;
  const markdown = await readFile(join(folder, 'report.md'), 'utf8');
  // Results of earlier versions lack the fields that were added since.
  const results = document.results.map((result) => {
    const given = Object.entries(result.config.model).filter(([, value]) => value !== null);
    const config = parseRunConfig({ ...result.config, model: Object.fromEntries(given) }, folder);
    return { ...result, config };
  });
  const suite = findSuite(document.suite, document.scale as Scale);
  const facts = listOf(markdown, 'How it was measured').map((fact): [string, string] => {
    const at = fact.indexOf(': ');
    return [fact.slice(0, at), fact.slice(at + 2)];
  });
  const tokenizer = facts.find(([name]) => name === 'tokenizer')?.[1];
  if (tokenizer !== 'bytes') throw new Error(`${folder}: its tokens must be bytes, not of ${tokenizer}`);
  const bytes = new BytesTokenizer();
  const sections = reportSections(results, {
    suite,
    facts,
    timings: document.timings,
    missing: listOf(markdown, 'Notes'),
    tokenText: (id) => textOf(bytes, id, id),
  });
  const home = new NodeStore(folder);
  await home.replace('report.html', renderHtml(suite.title, sections));
  await home.replace('report.md', renderMarkdown(suite.title, sections));
  for (const [name, svg] of chartFiles(sections)) await home.replace(`plots/${name}`, svg);
  console.log(folder);
}
