/** `loopnn prepare` as a user runs it: its sources, what it refuses, and what stays when it is stopped. */
import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { test } from 'node:test';
import { fixture } from '../data/helpers.js';
import { HubServer } from '../data/hub-server.js';
import { loopnn, loopnnWithin, outcome, refused, start, temporaryFolder } from './helpers.js';

const contents = (folder: string) =>
  readdirSync(folder).map((name) => [name, readFileSync(join(folder, name), 'hex')]);

async function prepared(folder: string): Promise<string> {
  const out = join(folder, 'out');
  const text = join(folder, 'good.txt');
  writeFileSync(text, 'good text '.repeat(50));
  const { code, stdout, stderr } = await loopnn(['prepare', text, '--out', out, '--tokenizer', 'bytes']);
  assert.equal(code, 0, stderr);
  assert.match(stdout, /\nval +1 +125 +126 +25\.1 % +0\.992\n/);
  assert.match(stdout, /\nheld out: the end of one document, 25 % requested\n/);
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
    [file('cut.parquet', parquet.subarray(0, -50)), /cut\.parquet: must be a parquet file/],
    [file('broken.jsonl', '{"text": "a\n'.repeat(200)), /must have at most 100 broken records in all files/],
    [file('few.jsonl', '{"text": "a\n[1]\n'), /got 'none'; skipped 2 broken records: .*line 1 \(not JSON\)/],
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

test('a file that may grow no more is told, and leaves nothing half-written', {
  skip: process.platform === 'win32' && 'no limit on the size of files',
}, async () => {
  const folder = temporaryFolder();
  const out = await prepared(folder);
  const text = join(folder, 'long.txt');
  writeFileSync(text, 'long text '.repeat(100_000));
  const before = [contents(out), readdirSync(folder)];
  for (const workers of ['1', '2']) {
    const args = ['prepare', text, '--out', out, '--force', '--tokenizer', 'bytes', '--workers', workers];
    const { code, stderr } = await loopnnWithin(200, args);
    assert.equal(code, 1);
    assert.equal(
      stderr,
      `loopnn: ${out}/train.bin: could not be written, files may not become so large here; raise the limit (ulimit -f), or choose another disk\n`,
    );
    assert.deepEqual([contents(out), readdirSync(folder)], before);
  }
});

test('prepare reads JSONL by field, tells its broken lines, and stops where they are many', async () => {
  const folder = temporaryFolder();
  const path = join(folder, 'posts.jsonl');
  const line = (i: number) => JSON.stringify({ id: i, body: `Post number ${i}.` });
  writeFileSync(path, [line(0), line(1), '{"body": "cut', line(3)].join('\n'));
  const out = join(folder, 'posts');
  const args = ['prepare', path, '--out', out, '--tokenizer', 'bytes', '--field', 'body', '--json'];
  await refused(
    [...args, '--max-broken', '0'],
    /must have at most 0 broken records in all files, got .*line 3 \(not JSON\)/,
  );
  await refused(
    args.slice(0, -3),
    /line 1: must have the field 'text', got 'the text fields body'; loopnn prepare reads another field with --field/,
  );
  const prepared = await loopnn(args);
  assert.equal(prepared.code, 0, prepared.stderr);
  assert.match(prepared.stderr, /warning: skipped 1 broken record: .*posts\.jsonl, line 3 \(not JSON\)/);
  const { meta } = JSON.parse(prepared.stdout);
  assert.equal(meta.train.documents + meta.val.documents, 3);
});

test('prepare reads records whatever their name, and takes them as text where it is told to', async () => {
  const folder = temporaryFolder();
  const path = join(folder, 'part-00000');
  const records = Array.from({ length: 20 }, (_, i) => ({ body: `Document ${i}.`, url: `http://x/${i}` }));
  writeFileSync(path, JSON.stringify(records));
  const out = join(folder, 'data');
  const args = ['prepare', path, '--out', out, '--tokenizer', 'bytes', '--json'];
  await refused(
    args,
    /part-00000, record 1: must have the field 'text', got 'the text fields body, url'; loopnn prepare reads another field with --field, and files as plain text with --as text/,
  );
  const read = await loopnn([...args, '--field', 'body']);
  assert.equal(read.code, 0, read.stderr);
  assert.match(
    read.stderr,
    /warning: read 1 file as records, by content and not by name: .*part-00000 \(records in JSON\)/,
  );
  const { meta } = JSON.parse(read.stdout);
  assert.equal(meta.train.documents + meta.val.documents, 20);
  assert.doesNotMatch(readFileSync(join(out, 'train.bin'), 'utf16le'), /http|url|"/);
  const whole = await loopnn([...args, '--force', '--as', 'text']);
  assert.equal(whole.code, 0, whole.stderr);
  const { heldOut, train, val } = JSON.parse(whole.stdout).meta;
  assert.deepEqual([heldOut.unit, train.bytes + val.bytes], ['tail', JSON.stringify(records).length]);
  await refused(
    [...args, '--force', '--as', 'jsonl'],
    /must be JSON Lines, as --as jsonl says, got 'records in JSON'/,
  );
  await refused([...args, '--as', 'xml'], /--as <kind>.*Allowed choices are text, jsonl, csv/, 2);
  await refused(
    ['prepare', 'sotu', '--out', out, '--force', '--as', 'text'],
    /--as: is for files and folders, got 'sotu'/,
  );
});

test('prepare refuses a link out of its folder, or follows it, and warns of a file that unpacks to much', async () => {
  const folder = temporaryFolder();
  const inputs = join(folder, 'inputs');
  mkdirSync(inputs);
  const packed = gzipSync('again '.repeat(100_000));
  writeFileSync(join(folder, 'much\n\x9b2J.txt.gz'), packed);
  symlinkSync('../much\n\x9b2J.txt.gz', join(inputs, 'link'));
  const args = ['prepare', inputs, '--out', join(folder, 'out'), '--tokenizer', 'bytes'];
  await refused(
    args,
    /inputs\/link: is a link that must not .*much\\n\\u009b2J\.txt\.gz'; .*--follow-links\n$/,
  );
  const followed = await loopnn([...args, '--follow-links']);
  assert.equal(followed.code, 0, followed.stderr);
  const times = Math.floor(600_000 / packed.length);
  const shown = `${join(inputs, 'link')} (${times} times)`;
  assert.equal(followed.stderr, `warning: unpacked 1 file to 200 times the packed size or more: ${shown}\n`);
});

test('prepare takes a dataset from the hub that the environment names, and announces the disk it needs', async () => {
  const folder = temporaryFolder();
  const file = { path: 'data/train-0.parquet', bytes: readFileSync(fixture('snappy.parquet')) };
  const server = await new HubServer('owner/set', [file]).start();
  const cache = join(folder, 'hub-cache');
  const env = { HF_ENDPOINT: server.url, HF_TOKEN: 'hf_test', HF_HUB_CACHE: '', HF_HOME: cache };
  const out = join(folder, 'hub-data');
  const args = ['prepare', 'hf:owner/set', '--split', 'train', '--column', 'text', '--out', out, '--json'];
  const prepared = await loopnn(args, env);
  await server.stop();
  assert.equal(prepared.code, 0, prepared.stderr);
  assert.match(
    prepared.stderr,
    /^1 parquet file, 6\.47 KiB: 6\.47 KiB to download to .*hub-cache\/hub \(.* free\); the token shards will take about/,
  );
  const { meta } = JSON.parse(prepared.stdout);
  assert.equal(meta.tokenizer.eot, 50256);
  assert.equal(meta.train.documents + meta.val.documents, 60);
  assert.deepEqual([...server.tokens], ['hf_test']);
});

test('Ctrl-C in prepare ends with 130 and leaves nothing half-made', async () => {
  const folder = temporaryFolder();
  const big = join(folder, 'big');
  mkdirSync(big);
  writeFileSync(join(big, 'a.txt'), 'Some words, again and again. '.repeat(2_000_000));
  writeFileSync(join(big, 'b.txt'), 'More words.');
  const out = join(folder, 'big-data');
  const child = start(['prepare', big, '--out', out, '--tokenizer', 'bpe:1000']);
  const poll = setInterval(() => {
    if (!readdirSync(folder).includes('big-data.partial')) return;
    child.kill('SIGINT');
    clearInterval(poll);
  }, 5);
  const result = await outcome(child);
  assert.equal(result.code, 130, result.stderr);
  assert.doesNotMatch(result.stderr, /unexpected|AbortError/);
  assert.ok(!readdirSync(folder).some((name) => name.startsWith('big-data')));
});

test('a held-out text that is too small to say anything is said to be', async () => {
  const folder = temporaryFolder();
  const [text, val] = ['short-text.txt', 'short-val.txt'].map((name) => join(folder, name));
  writeFileSync(text, 'Line after line.\n'.repeat(100));
  for (const [bytes, said] of [
    [5000, true],
    [6000, false],
  ] as const) {
    writeFileSync(val, 'x'.repeat(bytes));
    const out = join(folder, `short-${bytes}`);
    const { code, stderr } = await loopnn([
      'prepare',
      text,
      '--val',
      val,
      '--out',
      out,
      '--tokenizer',
      'bytes',
    ]);
    assert.equal(code, 0, stderr);
    assert.equal(/warning: only 5,000 bytes are held out, and a loss on them says little/.test(stderr), said);
  }
});
