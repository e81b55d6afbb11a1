import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { describeBroken, readJSONLines } from '../../src/data/json-lines.js';

const folder = mkdtempSync(join(tmpdir(), 'loopnn-test-'));
after(() => rmSync(folder, { recursive: true, force: true }));

function write(content: string): string {
  const path = join(folder, 'texts.jsonl');
  writeFileSync(path, content);
  return path;
}

test('texts come with their line numbers; broken lines are counted and named', async () => {
  const lines = ['{"text":"one"}', '', '{"text":', '[1]', '{"text":3}', '{"other":"x"}', '{"text":" "}'];
  const path = write(`\ufeff${lines.join('\r\n')}\n{"id":1,"text":"two\\nlines"}`);
  const { texts, broken } = await readJSONLines(path, 'text');
  assert.deepEqual(texts, [
    { line: 1, text: 'one' },
    { line: 8, text: 'two\nlines' },
  ]);
  assert.deepEqual(broken, [
    { line: 3, reason: 'must be JSON' },
    { line: 4, reason: 'must be a JSON object' },
    { line: 5, reason: "must have a text in the field 'text'" },
    { line: 6, reason: "must have a text in the field 'text'" },
    { line: 7, reason: "must have a text in the field 'text' that is not empty" },
  ]);
  assert.equal(
    describeBroken(broken, 2),
    '5 broken lines: line 3 must be JSON, line 4 must be a JSON object, …',
  );
});

test('lines longer than a piece of the file come whole', async () => {
  const text = 'word '.repeat(200_000).trim();
  const { texts } = await readJSONLines(write(`{"text":"${text}"}\n{"text":"b"}\n`), 'text');
  assert.deepEqual(texts, [
    { line: 1, text },
    { line: 2, text: 'b' },
  ]);
});

test('files that are something else are refused', async () => {
  const rejects = (content: string, message: RegExp): Promise<void> =>
    assert.rejects(readJSONLines(write(content), 'text'), { name: 'DataError', message });
  await rejects('x\n'.repeat(101), /at most 100 broken lines; 101 broken lines: line 1 must be JSON, line 2/);
  await rejects(
    '{"text":1}',
    /must have lines of JSON with a text in the field 'text'; 1 broken line: line 1/,
  );
  await rejects('a '.repeat(9_000_000), /jsonl, line 1: its lines must have at most 16777216 characters/);
  await assert.rejects(readJSONLines(folder, 'text'), /must be a file, got 'a folder'/);
  await assert.rejects(readJSONLines(join(folder, 'none'), 'text'), /must be a file or a folder, got/);
});
