/** docs/tutorial.md: its commands run as they stand, one after the other, with fewer steps and tokens. */
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { spawn } from 'node:child_process';
import { MAIN, outcome, temporaryFolder, writeCorpus } from './helpers.js';

const text = readFileSync(fileURLToPath(new URL('../../../docs/tutorial.md', import.meta.url)), 'utf8');
const folder = temporaryFolder();

/** What follows a mark in the page: a file's content, or commands. */
function after(mark: string): string[] {
  const blocks = new RegExp(`<!-- ${mark} -->\\n\\n\`\`\`\\w*\\n([\\s\\S]*?)\`\`\``, 'g');
  return [...text.matchAll(blocks)].map(([, content]) => content);
}

/** Runs a command of the page where it has no terminal; small sizes take the place of what makes it long. */
async function run(command: string) {
  const words = [...command.matchAll(/"([^"]*)"|(\S+)/g)].map(([, quoted, word]) => quoted ?? word);
  assert.deepEqual(words.slice(0, 2), ['npx', 'loopnn'], command);
  const args = words.slice(2).map((word, i) => {
    if (word === 'sotu') return 'texts';
    return words[i + 1] === '--max-steps' ? '4' : word;
  });
  const small = args[0] === 'train' ? ['--eval-batches', '1', '--batch-size', '2'] : [];
  const child = spawn(process.execPath, [MAIN, ...args, ...small], {
    cwd: folder,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const { code, stdout, stderr } = await outcome(child);
  assert.equal(code, 0, `${command}: ${stderr}`);
  return stdout;
}

test('the tutorial’s commands run, from text to report', async () => {
  const [suite] = after('file: my-suite.json');
  const small = { ...JSON.parse(suite), budget: { steps: 3 }, seeds: 1, grid: { lr: [0.003] } };
  small.train = { batchSize: 2, evalInterval: 3, evalBatches: 1 };
  writeFileSync(join(folder, 'my-suite.json'), JSON.stringify(small));
  mkdirSync(join(folder, 'texts'));
  writeCorpus(join(folder, 'texts'));
  const outputs: string[] = [];
  for (const command of after('run').flatMap((block) => block.trim().split('\n')))
    outputs.push(await run(command));
  const [, trained, , plan, compared, reported] = outputs;
  assert.match(trained, /report: runs\/first\/report\.html/);
  assert.match(plan, /total: 3 runs and 3 pilots, .*FLOPs, about [\d.]+ hours/);
  assert.match(compared, /Smaller gates against a gate of 1\nmodel +val loss/);
  assert.match(compared, /gate 1\/n: [+−]\d\.\d{3} nats against gate 1; one seed/);
  assert.match(reported, /gate 1\/n/);
  for (const page of ['runs/first/report.html', 'runs/gates/report.html', 'all.html']) {
    assert.ok(existsSync(join(folder, page)), page);
  }
});

test('the tutorial’s suite is the one that its fields describe, and its mistake reads as the page says', async () => {
  const [suite] = after('file: my-suite.json');
  writeFileSync(join(folder, 'my-suite.json'), suite.replace('"gateInit": 0.5', '"gateInti": 0.5'));
  const child = spawn(process.execPath, [MAIN, 'compare', 'my-suite.json', '--out', 'o'], {
    cwd: folder,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const { code, stderr } = await outcome(child);
  assert.equal(code, 1);
  assert.ok(text.includes(stderr.trim()), stderr);
  for (const field of Object.keys(JSON.parse(suite))) {
    if (!['description', 'prompt'].includes(field)) assert.match(text, new RegExp(`^\\|.*\`${field}\``, 'm'));
  }
});
