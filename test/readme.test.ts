/** The README shows what the program prints, says what its numbers are, and leads to pages that exist. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { renderTables } from '../src/cli/compare.js';
import type { RunResult } from '../src/experiments/result.js';
import { parseSuite } from '../src/experiments/suite-file.js';
import { findSuite } from '../src/operations/suites.js';
import { parseRunConfig } from '../src/train/config.js';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const read = (...path: string[]): string => readFileSync(join(ROOT, ...path), 'utf8');

const README = read('README.md');
const MAIN = join(ROOT, 'dist', 'src', 'cli', 'main.js');
const PAGES = [
  'README.md',
  ...readdirSync(join(ROOT, 'docs'))
    .filter((name) => name.endsWith('.md'))
    .map((name) => `docs/${name}`),
];

/** What a code block of the README holds that begins with a line. */
function blockOf(first: string): string {
  const start = README.indexOf(`\`\`\`\n${first}`);
  assert.notEqual(start, -1, `a code block that begins with ${first}`);
  return README.slice(start + 4, README.indexOf('\n```', start));
}

const demo = () => {
  const { suite, timings, missing, ...written } = JSON.parse(read('docs', 'results', 'demo', 'results.json'));
  const results: RunResult[] = written.results.map((result: RunResult) => ({
    ...result,
    config: parseRunConfig(result.config, result.name),
  }));
  return {
    results,
    context: { suite: findSuite(suite, 'mini'), timings, missing, facts: [], tokenText: String },
  };
};

test('the README’s output of the demo is what its committed results print', () => {
  const { results, context } = demo();
  assert.equal(results.length, 3);
  assert.equal(blockOf('Equal parameters'), renderTables(results, context, 100).join('\n'));
});

test('what the README says of the demo is what its table shows', () => {
  const lines = blockOf('Equal parameters').split('\n');
  const row = (label: string) => {
    const cells = lines
      .find((line) => line.startsWith(label))!
      .slice(label.length)
      .trim()
      .split(/\s{2,}/);
    return { loss: Number(cells[0]), parameters: Number(cells.at(-2)!.replaceAll(',', '')) };
  };
  const [one, looped, two] = ['1 layer  ', '1 layer × 2 loops', '2 layers'].map(row);
  const prose = README.replaceAll(/\s+/g, ' ');
  const more = (100 * (two.parameters / one.parameters - 1)).toFixed(0);
  const [second, block] = [one.loss - looped.loss, one.loss - two.loss].map((nats) => nats.toFixed(2));
  const said = `lowers the loss by ${second}, a second block of its own by ${block}, for ${more} % more parameters`;
  assert.ok(prose.includes(said), said);
});

test('the README’s pictures of comparisons are their results’', () => {
  const plots = [...README.matchAll(/docs\/results\/(\w+)\/plots\/[\w-]+\.svg/g)].map(([path]) => path);
  assert.deepEqual(plots, [
    'docs/results/loops/plots/sharpening.svg',
    'docs/results/demo/plots/loss-tokens.svg',
  ]);
  assert.match(read(plots[0]), /1 × 6, always 6 loops: 1\.\d{3}/);
  assert.match(read(plots[1]), /1 layer × 2 loops: 1\.\d{3}/);
});

test('the README’s inspection is what the command prints of the shipped model', () => {
  const [command, ...shown] = blockOf('$ npx loopnn inspect').split('\n');
  const args = [...command.matchAll(/"([^"]*)"|(\S+)/g)].map(([, quoted, word]) => quoted ?? word).slice(3);
  const printed = execFileSync(process.execPath, [MAIN, ...args, '--precision', 'f32'], {
    cwd: ROOT,
    encoding: 'utf8',
  });
  const lines = printed.split('\n').map((line) => line.trimEnd());
  const rows = shown.filter((line) => line !== '…');
  const start = lines.findIndex((line) => line.startsWith('␣for'));
  assert.deepEqual(rows.slice(0, 2), lines.slice(0, 2));
  // Another instruction set may round a last digit otherwise.
  const near = (line: string) =>
    line.replaceAll(/\d\.?\d*(?= |$)/g, (number) => `${Math.round(10 * Number(number))}`);
  assert.deepEqual(rows.slice(2).map(near), lines.slice(start, start + rows.length - 2).map(near));
  assert.equal(lines[start + rows.length - 2], '');
});

test('the README’s suite is one, of ten lines, whose models differ by their gates', () => {
  const [, json] = /```json\n([\s\S]*?)\n```/.exec(README)!;
  assert.ok(json.split('\n').length <= 10 + 1);
  const preset = () => assert.fail('it names no preset');
  const suite = parseSuite(
    { name: 'my-suite', where: 'README.md', content: JSON.parse(json), preset },
    'mini',
  );
  assert.equal(suite.models.length, 2);
});

test('the README’s chart of speed is that of its table, and so is what the README says of it', () => {
  const script = join(ROOT, 'scripts', 'speed-chart.mjs');
  const picture = execFileSync(process.execPath, [script, '--print'], { encoding: 'utf8' });
  assert.equal(read('docs', 'pictures', 'speed.svg'), picture);
  const [, table] = read('docs', 'performance.md').split('<!-- chart -->');
  const mean = (cell: string) => {
    const rates = cell.split(', ').map((rate) => Number(rate.replaceAll(',', '')));
    return rates.reduce((sum, rate) => sum + rate, 0) / rates.length;
  };
  const faster = (products: string) =>
    [...table.split('\n\n')[1].matchAll(/^\|.*$/gm)]
      .map(([line]) => line.split('|').map((cell) => cell.trim()))
      .filter(([, , of, , , compiled]) => of === products && compiled !== '')
      .map(([, , , ours, , compiled]) => 100 * (mean(ours) / mean(compiled) - 1))
      .sort((a, b) => a - b)
      .map((percent) => percent.toFixed(0))
      .join(' and ');
  const said = `loopnn is ${faster('float32')} % faster in float32, and ${faster('bf16')} % faster where`;
  assert.ok(README.replaceAll(/\s+/g, ' ').includes(said), said);
});

test('docs/api.md is what the docstrings give', () => {
  const script = join(ROOT, 'scripts', 'api-page.mjs');
  const page = execFileSync(process.execPath, [script, '--print'], { encoding: 'utf8' });
  assert.ok(page === read('docs', 'api.md'), 'node scripts/api-page.mjs, and commit what it writes');
});

test('the README has fewer than 200 lines', () => {
  assert.ok(README.split('\n').length <= 200);
});

test('links of the README and of docs/ lead to files and headings that exist', () => {
  const anchors = (path: string) =>
    [...read(path).matchAll(/^#+ (.*)$/gm)].map(([, heading]) =>
      heading
        .toLowerCase()
        .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
        .replaceAll(' ', '-'),
    );
  for (const page of PAGES) {
    const text = read(page).replaceAll(/```[\s\S]*?```|`[^`\n]*`/g, '');
    for (const [, link] of text.matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^https?:/.test(link)) continue;
      const [file, anchor] = link.split('#');
      const path = file === '' ? page : join(dirname(page), file);
      assert.ok(existsSync(join(ROOT, path)), `${page}: ${link}`);
      if (anchor !== undefined) assert.ok(anchors(path).includes(anchor), `${page}: ${link}`);
    }
  }
});

test('what the README links to is in the package, but for pictures of pages, which are large', () => {
  const { files } = JSON.parse(read('package.json')) as { files: string[] };
  const shipped = (path: string) =>
    files.some((own) => {
      if (own.endsWith('/*.md')) return dirname(path) === dirname(own) && path.endsWith('.md');
      return path === own || path.startsWith(`${own}/`);
    });
  const links = [...README.matchAll(/\]\(([^)\s#]+)[^)]*\)|src="([^"]+)"/g)].map(
    ([, link, image]) => link ?? image,
  );
  const own = links.filter((link) => !/^https?:/.test(link));
  assert.ok(own.length > 20);
  assert.deepEqual(
    own.filter((link) => !shipped(link) && !/^docs\/pictures\/\w+\.png$/.test(link)),
    [],
  );
});
