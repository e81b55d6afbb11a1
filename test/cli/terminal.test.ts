/** What the terminal shows fits it: tables, progress; colour only where there is one. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { duration, paragraph, progressLine, table } from '../../src/cli/output.js';
import { Speed } from '../../src/cli/training.js';
import { loopnn, MAIN, temporaryFolder, trainSmall } from './helpers.js';

const folder = temporaryFolder();
const { run, data } = await trainSmall(folder, 'run', '--max-steps', '3');
const wider = (text: string, columns: number) =>
  text.split('\n').filter((line) => [...line].length > columns);

/** Commands that print tables or figures, small. */
const SHOWN: readonly (readonly string[])[] = [
  ['params'],
  ['params', 'gpt2-67m-loop'],
  ['eval', '--model', run, '--data', data, '--loops', '1,2'],
  ['inspect', '--model', run, '--prompt', 'Line 1'],
  ['exits', '--model', run, '--data', data, '--max-tokens', '128', '--points', '2'],
  ['compare', 'demo', '--dry-run', '--max-steps', '1'],
  ['report', run, '--out', join(folder, 'page.html')],
  [
    'bench',
    'mini-1x2',
    '--only',
    'steps',
    '--steps',
    '1',
    '--n-embd',
    '32',
    '--batch-size',
    '1',
    '--block-size',
    '16',
  ],
];

test('what every command prints fits 100 columns', async () => {
  for (const args of SHOWN) {
    const { stdout, stderr, code } = await loopnn(args);
    assert.equal(code, 0, stderr);
    assert.ok(stdout.length > 100, args.join(' '));
    assert.deepEqual(wider(stdout, 100), [], args.join(' '));
  }
});

test('columns that do not fit follow in a second table under the same names', () => {
  const header = ['model', 'loss', 'parameters', 'tokens/s'];
  const rows = [
    ['first', '1.5', '1,000,000', '12'],
    ['second', '1.25', '2', '3,456'],
  ];
  assert.deepEqual(table(header, rows, 30), [
    'model   loss  parameters',
    '──────  ────  ──────────',
    'first    1.5   1,000,000',
    'second  1.25           2',
    '',
    'model   tokens/s',
    '──────  ────────',
    'first         12',
    'second     3,456',
  ]);
  assert.equal(table(header, rows, 34)[0], 'model   loss  parameters  tokens/s');
  const long = table(['name', 'what'], [['x'.repeat(90), 'y'.repeat(90)]], 40);
  assert.deepEqual(wider(long.join('\n'), 40), []);
  assert.match(long[2], /x… {2}y+…$/);
});

test('a long sentence is parted between words, indented as it was', () => {
  assert.deepEqual(paragraph('  one two three four', 11), ['  one two', '  three', '  four']);
  assert.deepEqual(paragraph('a'.repeat(20), 11), ['a'.repeat(20)]);
});

test('where a terminal is narrow the bar goes, then details, then the label’s end; the time left stays', () => {
  const details = [' 42%', 'step 420/1000', 'loss 1.234', '319,000 tokens/s'];
  const seen = [120, 80, 60, 44, 24, 12].map((columns) => {
    const line = progressLine('1 layer × 2 loops, seed 1337', details, '1h20m left', columns);
    const text = [line.label, '█'.repeat(line.bar), [...line.details, line.left].join('  ')];
    const length = text.filter((part) => part !== '').join(' ').length;
    assert.ok(length <= columns, `${length} of ${columns}`);
    assert.equal(line.left, '1h20m left');
    return [line.bar > 0, line.details.length];
  });
  assert.deepEqual(seen, [
    [true, 4],
    [true, 3],
    [false, 2],
    [false, 1],
    [false, 1],
    [false, 0],
  ]);
});

test('one speed is told: that of the last seconds', () => {
  const speed = new Speed();
  assert.equal(speed.tokensPerSecond, null);
  const step = (stepMs: number, tokensPerSecond: number) =>
    speed.add({ kind: 'step', step: 1, loss: 1, lr: 1, gradNorm: 1, stepMs, tokensPerSecond, tokensSeen: 1 });
  step(4000, 100);
  assert.equal(speed.tokensPerSecond, 100);
  for (let i = 0; i < 50; i++) step(100, 300);
  assert.ok(Math.abs(speed.tokensPerSecond! - 300) < 1e-9, `${speed.tokensPerSecond}`);
  step(5000, 200);
  assert.equal(duration(4800), '1h20m');
  assert.ok(Math.abs(speed.tokensPerSecond! - 200) < 1e-9);
});

/** A command on a terminal of 80 columns, which `script` makes; null where there is no `script`. */
function onTerminal(args: readonly string[], env: Record<string, string>): string | null {
  const quoted = [process.execPath, MAIN, ...args].map((word) => `'${word}'`).join(' ');
  const { status, stdout } = spawnSync('script', ['-qec', `stty cols 80; ${quoted}`, '/dev/null'], {
    env: { ...process.env, TERM: 'xterm', ...env },
    encoding: 'utf8',
  });
  return status === 0 ? stdout : null;
}

test('tables are in colour on a terminal, and not where NO_COLOR is set, or elsewhere', async (t) => {
  const args = ['report', run, '--out', join(folder, 'page.html')];
  assert.ok(!(await loopnn(args)).stdout.includes('\x1b'));
  const coloured = onTerminal(args, {});
  if (coloured === null) return t.skip('this system has no `script`, which gives a command a terminal');
  assert.ok(coloured.includes('\x1b[1mmodel'), coloured);
  const plain = onTerminal(args, { NO_COLOR: '1' })!;
  assert.ok(!plain.includes('\x1b[1m'));
  assert.deepEqual(wider(plain.replaceAll('\r', ''), 80), []);
});

test('npm knows every setting of the project', () => {
  const root = fileURLToPath(new URL('../../../', import.meta.url));
  const { stderr, status } = spawnSync('npm', ['config', 'list'], { cwd: root, encoding: 'utf8' });
  assert.equal(status, 0, stderr);
  assert.doesNotMatch(stderr, /project config/i);
});
