/** Errors of the file system name the file, say what is wrong in words, and what helps. */
import assert from 'node:assert/strict';
import { mkdirSync, openSync, readFileSync, renameSync, writeFileSync, writeSync } from 'node:fs';
import { createServer } from 'node:net';
import { gzipSync } from 'node:zlib';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileFault } from '../../src/cli/file-fault.js';
import { loopnn, temporaryFolder } from './helpers.js';

const folder = temporaryFolder();

function thrown(work: () => unknown): unknown {
  try {
    work();
  } catch (error) {
    return error;
  }
  assert.fail('nothing was thrown');
}

test('what the system refuses is said in words', () => {
  const file = join(folder, 'file');
  writeFileSync(file, '');
  for (const [work, told] of [
    [
      () => readFileSync(join(folder, 'none')),
      'none: could not be opened: no such file or folder (ENOENT); is',
    ],
    [
      () => mkdirSync(join(file, 'x')),
      'file/x: could not be made: a part of its path is no folder (ENOTDIR); is',
    ],
    [
      () => renameSync(join(folder, 'a'), file),
      'a: could not be renamed: no such file or folder (ENOENT); is',
    ],
    [
      () => mkdirSync(join(folder, 'x'.repeat(300))),
      'could not be made: its name is too long (ENAMETOOLONG)',
    ],
  ] as const) {
    const text = fileFault(thrown(work));
    assert.ok(text?.startsWith(folder) && text.includes(told), text);
  }
});

test('a full disk is told where a file has no name, too', {
  skip: process.platform !== 'linux' && 'no /dev/full',
}, () => {
  const text = fileFault(thrown(() => writeSync(openSync('/dev/full', 'w'), 'x')));
  assert.equal(
    text,
    'a file: could not be written: the disk is full (ENOSPC); free some space and run the command again',
  );
});

test('errors of sockets and of programs are none of files', async () => {
  assert.equal(fileFault(new Error('other')), undefined);
  assert.equal(fileFault('other'), undefined);
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as { port: number };
  const second = createServer().listen(port, '127.0.0.1');
  const error = await new Promise((resolve) => second.once('error', resolve));
  server.close();
  assert.equal(fileFault(error), undefined);
});

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
