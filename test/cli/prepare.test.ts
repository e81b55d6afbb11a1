/** `loopnn prepare` on what cannot be prepared: one line, and what stood there before stays. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { loopnn, MAIN, outcome, temporaryFolder } from './helpers.js';

const fixture = (name: string) =>
  fileURLToPath(new URL(`../../../test/data/fixtures/${name}`, import.meta.url));

const contents = (folder: string) =>
  readdirSync(folder).map((name) => [name, readFileSync(join(folder, name), 'hex')]);

async function prepared(folder: string): Promise<string> {
  const out = join(folder, 'out');
  const text = join(folder, 'good.txt');
  writeFileSync(text, 'good text '.repeat(50));
  const { code, stderr } = await loopnn(['prepare', text, '--out', out, '--tokenizer', 'bytes']);
  assert.equal(code, 0, stderr);
  return out;
}

test('bad input is named on one line, and a prepared folder stays as it was', async () => {
  const folder = temporaryFolder();
  const out = await prepared(folder);
  const before = [contents(out), readdirSync(folder)];
  const inputs = join(temporaryFolder(), 'inputs');
  mkdirSync(join(inputs, 'folder.jsonl'), { recursive: true });
  const file = (name: string, content: string | Uint8Array) => {
    writeFileSync(join(inputs, name), content);
    return join(inputs, name);
  };
  const parquet = readFileSync(fixture('none.parquet'));
  const cases: [string, RegExp][] = [
    [fixture('nulls.parquet'), /column 'text': must hold text, got '\d+ nulls? in rows/],
    [fixture('nulls-uncounted.parquet'), /row \d+: column 'text' must hold text, got 'a null'/],
    [file('cut.parquet', parquet.subarray(0, -50)), /cut\.parquet: must be a parquet file/],
    [file('broken.jsonl', '{"text": "a\n'.repeat(200)), /must have at most 100 broken lines in all files/],
    [file('few.jsonl', '{"text": "a\n[1]\n'), /got 'none'; left out 2 broken lines: .*line 1 \(no JSON\)/],
    [join(inputs, 'folder.jsonl'), /folder\.jsonl: must hold text, got 'none'/],
    [join(inputs, 'missing'), /missing: must be a file or a folder, got 'ENOENT/],
  ];
  for (const [source, message] of cases) {
    const { code, stdout, stderr } = await loopnn([
      ...['prepare', source, '--out', out, '--force', '--tokenizer', 'bytes'],
    ]);
    assert.equal(code, 1, source);
    assert.equal(stdout, '');
    assert.match(stderr, message);
    assert.match(stderr, /^loopnn: [^\n]*\n$/);
    assert.deepEqual([contents(out), readdirSync(folder)], before);
  }
});

test('a full disk is told, and leaves nothing half-written', {
  skip: process.platform === 'win32' && 'no limit on the size of files',
}, async () => {
  const folder = temporaryFolder();
  const out = await prepared(folder);
  const text = join(folder, 'long.txt');
  writeFileSync(text, 'long text '.repeat(100_000));
  const before = [contents(out), readdirSync(folder)];
  for (const workers of ['1', '2']) {
    // A limit on the size of files is met like a full disk.
    const limited = 'trap "" XFSZ; ulimit -f 200; exec "$0" "$@"';
    const args = [
      MAIN,
      'prepare',
      text,
      '--out',
      out,
      '--force',
      '--tokenizer',
      'bytes',
      '--workers',
      workers,
    ];
    const run = spawn('sh', ['-c', limited, process.execPath, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const { code, stderr } = await outcome(run);
    assert.equal(code, 1);
    assert.equal(
      stderr,
      `loopnn: ${out}: could not be written, the disk is full; free some space and try again\n`,
    );
    assert.deepEqual([contents(out), readdirSync(folder)], before);
  }
});
