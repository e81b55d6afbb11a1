/** Datasets from the hub: a server on loopback (`hub-server.ts`) with files that pyarrow wrote. */
import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import type { HubFile } from '../../../src/data/hub/hub.js';
import { chooseFiles } from '../../../src/data/hub/hub-source.js';
import { type PrepareOptions, type PrepareProgress, prepareCorpus } from '../../../src/data/prepare.js';
import { fixture } from '../helpers.js';
import { type Failure, HubServer, type HubServerFile } from '../hub-server.js';
import { memoryPeers } from '../../train/memory-peers.js';

const NAMES = [0, 1, 2].map((i) => `train-0000${i}-of-00003.parquet`);
const FILES: HubServerFile[] = [
  { path: 'README.md', bytes: Buffer.from('# a dataset'), small: true },
  ...NAMES.map((name, i) => ({ path: `data/${name}`, bytes: readFileSync(fixture(name)), small: i === 2 })),
  { path: 'data/test-00000-of-00001.parquet', bytes: readFileSync(fixture('required.parquet')) },
];

let folder: string;
let out: string;
let server: HubServer;
/** What a folder of the same files gives. */
let expected: string[];

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'loopnn-hub-'));
  out = join(folder, 'out');
  server = await new HubServer('owner/set', FILES).start();
  const local = join(folder, 'local');
  mkdirSync(local);
  for (const name of NAMES) copyFileSync(fixture(name), join(local, name));
  await prepareCorpus({ sources: [local], out: join(folder, 'expected'), tokenizer: 'bytes', seed: 2357 });
  expected = shards(join(folder, 'expected'));
});
afterEach(async () => {
  await server.stop();
  rmSync(folder, { recursive: true });
});

function shards(from: string): string[] {
  return ['train.bin', 'val.bin'].map((name) => readFileSync(join(from, name), 'latin1'));
}

/** Prepares with so many others, which help as long as the first works. */
function prepareWith(helpers: number, options: Partial<PrepareOptions>): ReturnType<typeof prepareCorpus> {
  const [first, ...others] = memoryPeers(1 + helpers);
  for (const peers of others) void prepare({ workers: 1, peers });
  return prepare({ ...options, peers: first });
}

function prepare(options: Partial<PrepareOptions> = {}): ReturnType<typeof prepareCorpus> {
  const hub = {
    endpoint: server.url,
    cache: join(folder, 'cache'),
    retryMs: 1,
    token: 'hf_test',
    ...options.hub,
  };
  return prepareCorpus({ sources: ['hf:owner/set'], out, tokenizer: 'bytes', seed: 2357, ...options, hub });
}

const bytesAsked = (): string[] => server.requests.filter((request) => request.startsWith('bytes '));

test('a split is downloaded shard by shard and gives what its files give locally', async () => {
  const phases = new Map<string, PrepareProgress>();
  const plans: unknown[] = [];
  const { meta } = await prepare({
    onProgress: (progress) => phases.set(progress.phase, progress),
    hub: { onPlan: (plan) => plans.push(plan) },
  });
  assert.deepEqual(shards(out), expected);
  assert.deepEqual(readdirSync(out).sort(), ['meta.json', 'tokenizer.json', 'train.bin', 'val.bin']);
  assert.deepEqual(meta.sources, ['owner/set']);
  assert.equal(meta.train.documents + meta.val.documents, 60);
  assert.deepEqual([...phases.keys()], ['download', 'count', 'encode']);
  const totalBytes = FILES.slice(1, 4).reduce((sum, { bytes }) => sum + bytes.length, 0);
  assert.equal(phases.get('download')!.bytes, totalBytes);
  assert.equal(phases.get('encode')!.documents, 60);
  const [plan] = plans as [{ freeBytes: number }];
  const { freeBytes, ...rest } = plan;
  assert.ok(freeBytes > 0);
  assert.deepEqual(rest, { files: 3, totalBytes, missingBytes: totalBytes, cache: join(folder, 'cache') });
  assert.deepEqual([...server.tokens], ['hf_test']);
});

test('the cache has the layout of the hub’s other clients, and is used again', async () => {
  await prepare();
  const cache = join(folder, 'cache/datasets--owner--set');
  assert.deepEqual(readdirSync(join(cache, 'blobs')).length, 3);
  for (const name of NAMES) {
    const linked = readFileSync(join(cache, 'snapshots', server.sha, 'data', name));
    assert.deepEqual(linked, readFileSync(fixture(name)));
  }
  assert.equal(readFileSync(join(cache, 'refs/main'), 'utf8'), server.sha);
  const before = bytesAsked().length;
  await prepare({ force: true });
  assert.equal(bytesAsked().length, before, 'nothing is downloaded again');

  const [blob] = readdirSync(join(cache, 'blobs'));
  const path = join(cache, 'blobs', blob);
  const damaged = readFileSync(path);
  damaged[100] ^= 1;
  writeFileSync(path, damaged);
  await prepare({ force: true });
  assert.equal(bytesAsked().length, before + 1, 'a damaged file is');
  assert.deepEqual(shards(out), expected);
});

const FAILURES: Record<string, Failure[]> = {
  'dropped connections': [{ dropAfter: 0 }, { dropAfter: 1000 }, { dropAfter: 1 }, { dropAfter: 500 }],
  'too many requests': [{ status: 429, retryAfter: 0.001 }, { status: 429 }],
  'server errors': [{ status: 500 }, { status: 502 }, { status: 503 }],
  'a truncated body': [{ endAfter: 700 }, { endAfter: 1 }, { endAfter: 0 }],
  'too long a body': [{ surplus: 1 }, { surplus: 100_000 }],
  'wrong bytes': [{ wrongByte: 10 }, { wrongByte: 3000 }],
  'ranges ignored after a break': [{ dropAfter: 1000 }, { ignoreRange: true }],
  'all at once': [{ dropAfter: 2000 }, { status: 500 }, { wrongByte: 5 }, { endAfter: 10 }, { surplus: 3 }],
};
for (const [name, failures] of Object.entries(FAILURES)) {
  test(`${name}: nothing lost, nothing doubled`, async () => {
    server.fail('bytes', ...failures);
    await prepare();
    assert.equal(server.unusedFailures, 0);
    assert.deepEqual(shards(out), expected);
  });
}

test('a broken-off file is resumed from its last byte, also in another run', async () => {
  server.fail('bytes', { dropAfter: 1500 });
  await prepare();
  const [first, second] = bytesAsked();
  assert.match(first, /train-00000-of-00003\.parquet all$/);
  const size = FILES[1].bytes.length;
  assert.match(second, new RegExp(`train-00000-of-00003\\.parquet bytes=1500-${size - 1}$`));

  rmSync(join(folder, 'cache'), { recursive: true });
  server.requests.length = 0;
  server.fail('bytes', { dropAfter: 1200 }, ...Array(60).fill({ status: 500 }));
  await assert.rejects(prepare({ force: true }), {
    name: 'DataError',
    message:
      /^hf:owner\/set\/data\/train-00000.*: must be available from the hub, got .*; run the same command again/,
  });
  server.mend();
  await prepare({ force: true });
  assert.match(bytesAsked().at(-3)!, new RegExp(`train-00000.*bytes=1200-${size - 1}$`));
  assert.deepEqual(shards(out), expected);
});

test('failures of the lists are waited out', async () => {
  server.fail('info', { status: 500 }, { status: 429 }, { dropAfter: 1 });
  server.fail('tree', { status: 503 }, { dropAfter: 1 });
  server.fail('size', { status: 500 });
  await prepare();
  assert.equal(server.unusedFailures, 0);
  assert.deepEqual(shards(out), expected);
});

test('a file that never has its hash, or another size than listed, is an error and leaves no output', async () => {
  server.fail('bytes', ...Array(3).fill({ wrongByte: 7 }));
  await assert.rejects(prepare(), {
    name: 'DataError',
    message:
      /train-00000.*: must be available from the hub, got 'bytes that do not have the hash which the hub names'/,
  });
  server.fail('size', ...Array(6).fill({ size: 5 }));
  await assert.rejects(prepare(), /train-00000.*got '5 bytes where \d+ were listed'/);
  assert.ok(!readdirSync(folder).includes('out'));
  assert.ok(
    !readdirSync(join(folder, 'cache/datasets--owner--set/blobs')).some((name) => !/incomplete/.test(name)),
  );
});

test('a large dataset is not gone through to measure it', async () => {
  const phases = new Set<string>();
  const { meta } = await prepare({ large: 1, onProgress: ({ phase }) => phases.add(phase) });
  assert.deepEqual([...phases], ['download', 'encode']);
  assert.equal(meta.train.documents + meta.val.documents, 60);
  const share = meta.val.bytes / (meta.train.bytes + meta.val.bytes);
  assert.ok(share > 0.7 * meta.heldOut.fraction && share < 1.45 * meta.heldOut.fraction, `${share}`);
});

for (const [name, large] of [
  ['measured', undefined],
  ['large', 1],
] as const) {
  test(`work on a ${name} dataset goes on where it stopped while it downloaded or encoded`, async () => {
    await prepare({ large });
    const whole = shards(out);
    for (const name of [out, join(folder, 'cache')]) rmSync(name, { recursive: true });
    assert.ok((await stopOften({ large })) > 5);
    assert.deepEqual(shards(out), whole);
    assert.ok(!readdirSync(folder).includes('out.partial'));
  });
}

/** Prepares by many runs, each of which is stopped after a while; returns how many it took. */
async function stopOften(options: Partial<PrepareOptions>): Promise<number> {
  for (let round = 0; ; round++) {
    const controller = new AbortController();
    const seen = { download: 0, encode: 0 };
    const onProgress = ({ phase }: PrepareProgress): void => {
      if (phase !== 'download' && phase !== 'encode') return;
      const limit = phase === 'download' ? 2 + round : 13;
      if (++seen[phase] > limit) controller.abort(new Error('stopped'));
    };
    try {
      // Another number of processes each time.
      await prepareWith(round % 3, {
        ...options,
        onProgress,
        signal: controller.signal,
        recordBytes: 1,
        workers: 1,
      });
      return round;
    } catch (error) {
      assert.match(String(error), /stopped/);
      assert.ok(round < 40);
      assert.ok(!readdirSync(folder).includes('out'));
    }
  }
}

test('other settings do not go on with what was written under the first', async () => {
  const controller = new AbortController();
  const onProgress = ({ documents }: PrepareProgress): void => {
    if (documents === 40) controller.abort(new Error('stopped'));
  };
  await assert.rejects(
    prepare({ tokenizer: 'gpt2', recordBytes: 1, onProgress, signal: controller.signal }),
    /stopped/,
  );
  await prepare();
  assert.deepEqual(shards(out), expected);
});

test('what the hub refuses is told in one line', async () => {
  const closed = await new HubServer('owner/set', []).start();
  await closed.stop();
  const refused = (options: Partial<PrepareOptions>, name: string, message: RegExp): Promise<void> =>
    assert.rejects(prepare(options), { name, message });
  await refused(
    { sources: ['hf:owner/none'] },
    'DataError',
    /^hf:owner\/none: must be a dataset on the hub, got 'status 404'$/,
  );
  await refused(
    { sources: ['hf:owner/'] },
    'DataError',
    /^source: must be hf:owner\/name, with @revision if you like, got 'hf:owner\/'$/,
  );
  await refused(
    { hub: { split: 'dev' } },
    'DataError',
    /^hf:owner\/set: must have the split 'dev', got 'train, test'; choose with --split$/,
  );
  await refused(
    { hub: { subset: 'en' } },
    'DataError',
    /must have parquet files in the folder 'en', got 'data'$/,
  );
  await refused(
    { fields: { column: 'body' } },
    'DataError',
    /^hf:owner\/set\/data\/train-00000.*must have the column 'body', got 'id, text'/,
  );
  await refused(
    { hub: { token: 'two words' } },
    'ConfigError',
    /^HF_TOKEN: must be a token of printable ASCII characters without spaces$/,
  );
  await refused(
    { hub: { endpoint: closed.url, cache: join(folder, 'fresh') } },
    'DataError',
    /^hf:owner\/set: must be available from the hub, got 'fetch failed/,
  );
  server.secret = 'hf_other';
  await refused(
    {},
    'DataError',
    /^hf:owner\/set: must be open to you, got 'status 401'; if the dataset is private/,
  );
  await prepare({ hub: { token: 'hf_other' } });
  assert.deepEqual(shards(out), expected);
});

test('the files of a split are found in every way that datasets name them', () => {
  const file = (path: string): HubFile => ({ path, size: 1, hash: { kind: 'git', hex: '' } });
  const choose = (paths: string[], wanted: { split?: string; subset?: string } = {}): string[] =>
    chooseFiles('x', paths.map(file), wanted).map(({ path }) => path);
  assert.deepEqual(choose(['data/train-1.parquet', 'data/train-0.parquet', 'data/test-0.parquet']), [
    'data/train-0.parquet',
    'data/train-1.parquet',
  ]);
  assert.deepEqual(
    choose(['plain_text/train/0000.parquet', 'plain_text/test/0000.parquet'], { split: 'test' }),
    ['plain_text/test/0000.parquet'],
  );
  assert.deepEqual(choose(['part-0.parquet', 'part-1.parquet']).length, 2, 'no split is named');
  const two = ['a/train-0.parquet', 'b/train/0.parquet'];
  assert.throws(() => choose(two), /x: must have the split in one folder, got 'a, b'; choose with --subset$/);
  assert.deepEqual(choose(two, { subset: 'b' }), ['b/train/0.parquet']);
});

test('a list of files that does not end is given up, with nothing left at the signal', async () => {
  const warnings: Error[] = [];
  const warned = (warning: Error) => warnings.push(warning);
  process.on('warning', warned);
  const { signal } = new AbortController();
  try {
    for (const [endless, message] of [
      ['empty pages', /^hf:owner\/set: must have a list of files of at most 1000 pages, got 'more'$/],
      ['pages', /at most 1000 pages/],
      ['page', /must be available from the hub, got 'an answer of more than 67108864 bytes'/],
    ] as const) {
      server.endless = endless;
      server.requests.length = 0;
      await assert.rejects(prepare({ signal }), { message });
      assert.ok(server.requests.length <= 1001, String(server.requests.length));
    }
  } finally {
    process.off('warning', warned);
  }
  assert.deepEqual(warnings, []);
  assert.ok(getEventListeners(signal, 'abort').length < 10);
});

test('a file that comes byte by byte is given up', async () => {
  const drop = { dropAfter: 1 };
  server.fail('bytes', ...Array(30).fill(drop));
  await assert.rejects(prepare(), /must be available from the hub/);
  assert.ok(server.unusedFailures > 20);
});

test('a dataset’s former name, without owner, gives its documents', async () => {
  server.former = 'set';
  const { meta } = await prepare({ sources: ['hf:set'] });
  assert.deepEqual(shards(out), expected);
  assert.deepEqual(meta.sources, ['set']);
  assert.deepEqual(readdirSync(join(folder, 'cache')), ['datasets--owner--set']);
});

test('a dataset’s own validation split is held out, and said to be', async () => {
  const bytes = readFileSync(fixture('required.parquet'));
  const other = await new HubServer('owner/set', [...FILES, { path: 'data/valid-0.parquet', bytes }]).start();
  try {
    const hub = { endpoint: other.url };
    const { meta, notices } = await prepare({ hub });
    const count = { train: meta.train.documents, val: meta.val.documents };
    assert.deepEqual([meta.heldOut.unit, count], ['sources', { train: 60, val: 2 }]);
    assert.match(
      notices.join(),
      /^hf:owner\/set: trained on the files of its train split \(3\), those of its validation split \(1\) held out, those of its test split \(1\) skipped; --val-fraction holds out a share instead$/,
    );
    const named = await prepare({ hub, valSplit: 'val', force: true });
    assert.deepEqual([named.meta.val, named.notices], [meta.val, []]);
    const share = await prepare({ hub, valFraction: 0.2, force: true });
    assert.equal(share.meta.train.documents + share.meta.val.documents, 60);
  } finally {
    await other.stop();
  }
});

test('a split of its own is held out whole', async () => {
  const { meta } = await prepare({ valSplit: 'test' });
  assert.deepEqual([meta.heldOut.unit, meta.heldOut.sources], ['sources', ['owner/set']]);
  const local = async (paths: string[], to: string) => {
    const made = { out: join(folder, to), tokenizer: 'bytes', seed: 1 };
    return (await prepareCorpus({ sources: paths, ...made })).meta;
  };
  const train = await local([join(folder, 'local')], 'train');
  const test = await local([fixture('required.parquet')], 'test');
  assert.equal(meta.train.documents, train.train.documents + train.val.documents);
  assert.equal(meta.train.tokens, train.train.tokens + train.val.tokens);
  assert.equal(meta.val.bytes, test.train.bytes + test.val.bytes);
  // Without a first pass, too.
  const large = await prepare({ valSplit: 'test', large: 1, force: true });
  assert.deepEqual(large.meta.val, meta.val);
  assert.deepEqual(large.meta.train, meta.train);
});
