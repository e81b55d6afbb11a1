/** The README shows what the program prints. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { renderTables } from '../src/cli/compare.js';
import { findSuite } from '../src/operations/suites.js';
import type { RunResult } from '../src/experiments/result.js';
import { parseRunConfig } from '../src/train/config.js';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const read = (...path: string[]): string => readFileSync(join(ROOT, ...path), 'utf8');

test('the README’s output of the demo is what its committed results print', () => {
  const { suite, timings, missing, ...written } = JSON.parse(read('docs', 'results', 'demo', 'results.json'));
  const results = written.results.map((result: RunResult) => ({
    ...result,
    config: parseRunConfig(result.config, result.name),
  }));
  const context = { suite: findSuite(suite, 'mini'), timings, missing, facts: [], tokenText: String };
  assert.equal(results.length, 3);
  assert.ok(read('README.md').includes(`\`\`\`\n${renderTables(results, context, 100).join('\n')}\n\`\`\``));
});

test('the README’s picture of the demo is its results’', () => {
  const picture = /!\[Learning curves of the demo\]\((.*)\)/.exec(read('README.md'))![1];
  assert.equal(picture, 'docs/results/demo/plots/loss-tokens.svg');
  assert.match(read(picture), /1 layer × 2 loops: 1\.\d{3}/);
});
