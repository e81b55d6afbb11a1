/** Names that come from files are printed such that they steer no terminal and make no line of their own. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { loopnn, temporaryFolder } from './helpers.js';

const folder = temporaryFolder();

test('names that steer a terminal are written out wherever they are printed', async () => {
  const text = join(folder, 'a\x1b[31m.txt');
  writeFileSync(text, 'some text and more of it\n'.repeat(9));
  const out = join(folder, 'out\x1b[2J');
  const result = await loopnn(['prepare', text, '--out', out, '--tokenizer', 'bytes']);
  assert.equal(result.code, 0, result.stderr);
  assert.ok(result.stdout.includes('out\\u001b[2J'), result.stdout);
  const again = await loopnn(['prepare', join(folder, 'none\x1b[2J'), '--out', join(folder, 'o2')]);
  assert.match(again.stderr, /none\\u001b\[2J: /);
  for (const { stdout, stderr } of [result, again]) assert.ok(!`${stdout}${stderr}`.includes('\x1b'));
});

test('a name with line breaks or any control character makes no line of its own', async () => {
  const odd = 'a\nval  1\r\u2028\x7f\x9b2J\u0085';
  const shown = 'a\\nval  1\\r\\u2028\\u007f\\u009b2J\\u0085';
  const path = (name: string) => join(folder, `${odd}-${name}`);
  const packed = gzipSync(
    `${JSON.stringify({ text: 'again '.repeat(100_000) })}\n{"text": 1}\n{"text": 2}\n`,
  );
  writeFileSync(path('records'), packed);
  const run = async (code: number, ...args: string[]) => {
    const { stdout, stderr, ...result } = await loopnn(args);
    assert.equal(result.code, code, stderr);
    for (const text of [stdout, stderr]) {
      assert.doesNotMatch(text, /[^\P{Cc}\n]|[\u2028\u2029]/u);
      assert.doesNotMatch(text, /^val {2}1$/m);
    }
    return { stdout, lines: stderr.trimEnd().split('\n') };
  };
  const args = ['prepare', path('records'), '--tokenizer', 'bytes', '--out'];
  const { stdout, lines } = await run(0, ...args, path('data'));
  assert.ok(stdout.endsWith(`written to ${join(folder, shown)}-data\n`), stdout);
  assert.equal(lines.length, 3);
  for (const [i, rule] of [/broken records: /, /as records, by content/, /times the packed size/].entries()) {
    assert.match(lines[i], rule);
    assert.ok(lines[i].startsWith('warning: ') && lines[i].includes(`${shown}-records`), lines[i]);
  }
  const json = await run(0, ...args, path('data'), '--force', '--json');
  assert.equal(JSON.parse(json.stdout).out, path('data'));
  for (const command of [
    [...args, path('data')],
    ['prepare', path('none'), '--out', path('out')],
    ['prepare', path('records'), '--field', odd, '--out', path('out')],
    ['import', path('none'), '--out', path('run')],
    ['import', path('data'), '--out', path('run')],
    ['eval', '--model', path('none'), '--data', path('data')],
    ['train', '--data', path('none'), '--out', path('run')],
    ['export', '--model', path('none'), '--out', path('run')],
  ]) {
    const refused = await run(1, ...command);
    assert.equal(refused.lines.length, 1, refused.lines.join('\n'));
    assert.ok(refused.lines[0].includes(shown), refused.lines[0]);
  }
  await run(2, 'prepare', `--${odd}\x1b[2J`);
});
