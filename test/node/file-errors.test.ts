/** Errors of the file system name the file, say what is wrong in words, and what helps. */
import assert from 'node:assert/strict';
import {
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fileError, writeError, writing } from '../../src/node/file-errors.js';
import { DataError, FileError } from '../../src/errors.js';

const folder = mkdtempSync(join(tmpdir(), 'loopnn-errors-'));
after(() => rmSync(folder, { recursive: true, force: true }));

function thrown(work: () => unknown): unknown {
  try {
    work();
  } catch (error) {
    return error;
  }
  assert.fail('nothing was thrown');
}

/** The message of an error in words; undefined where it has none. */
function told(error: unknown): string | undefined {
  return error instanceof FileError ? error.message : undefined;
}

test('what the system refuses is said in words', () => {
  const file = join(folder, 'file');
  writeFileSync(file, '');
  const long = join(folder, 'x'.repeat(300));
  for (const [work, text] of [
    [
      () => readFileSync(join(folder, 'none')),
      `${folder}/none: could not be opened, there is no such file or folder; check its path`,
    ],
    [
      () => mkdirSync(join(file, 'x')),
      `${file}/x: could not be made, it, or what it should lie in, is no folder; check its path`,
    ],
    [
      () => renameSync(join(folder, 'a'), file),
      `${folder}/a: could not be renamed, there is no such file or folder; check its path`,
    ],
    [() => mkdirSync(long), `${long}: could not be made, its name is too long; choose a shorter one`],
    [() => readFileSync(folder), 'a file: could not be read, a folder is there; choose another name'],
  ] as const) {
    assert.equal(told(fileError(thrown(work))), text);
  }
});

test('a writer says which file, and what is true of it', async () => {
  const work = async () => writeFileSync(folder, '');
  const text = 'f.bin: could not be written, a folder is there; choose another name';
  await assert.rejects(writing('f.bin', work), { name: 'FileError', message: text });
  await assert.rejects(writing('f.bin', work, 'F names it'), { message: `${text}: F names it` });
  for (const [code, reason] of [
    ['ENOSPC', 'the disk is full; free some space and try again'],
    ['EDQUOT', 'the quota of the disk is used up; free some space and try again'],
    ['EFBIG', 'files may not become so large here; raise the limit (ulimit -f), or choose another disk'],
    ['EROFS', 'its file system is read-only; choose a folder on another'],
    ['EACCES', 'permission is denied; choose a folder that is yours, or change its owner or mode'],
    ['EOTHER', 'EOTHER: of another kind'],
  ]) {
    const error = Object.assign(new Error(`${code}: of another kind`), { code });
    assert.equal(told(writeError(error, 'f.bin')), `f.bin: could not be written, ${reason}`);
  }
  const ours = new DataError('text', 'must not be empty');
  assert.equal(writeError(ours, 'f.bin'), ours);
  assert.equal(writeError('other', 'f.bin'), 'other');
});

test('a full disk is told where a file has no name, too', {
  skip: process.platform !== 'linux' && 'no /dev/full',
}, () => {
  const error = thrown(() => writeSync(openSync('/dev/full', 'w'), 'x'));
  const text = 'a file: could not be written, the disk is full; free some space and try again';
  assert.equal(told(fileError(error)), text);
});

test('errors of sockets and of programs are none of files', async () => {
  for (const other of [new Error('other'), 'other']) assert.equal(fileError(other), other);
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as { port: number };
  const second = createServer().listen(port, '127.0.0.1');
  const error = await new Promise((resolve) => second.once('error', resolve));
  server.close();
  assert.equal(fileError(error), error);
});
