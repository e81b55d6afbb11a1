/** Errors of the file system name the file, say what is wrong in words, and what helps. */
import assert from 'node:assert/strict';
import { mkdirSync, openSync, readFileSync, renameSync, writeFileSync, writeSync } from 'node:fs';
import { createServer } from 'node:net';
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
