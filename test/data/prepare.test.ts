import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { openDataset } from '../../src/data/dataset.js';
import { type PrepareOptions, type PrepareProgress, prepareCorpus } from '../../src/data/prepare.js';
import type { TokenShard } from '../../src/data/shard.js';
import type { Peers } from '../../src/train/peers.js';
import { hashWords } from '../../src/random.js';
import { trainBpe } from '../../src/tokenizer/bpe-train.js';
import type { Tokenizer } from '../../src/tokenizer/tokenizer.js';
import { oddText } from '../tokenizer/samples.js';
import { memoryPeers } from '../train/memory-peers.js';

let folder: string;
let text: string;
let out: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'loopnn-prepare-'));
  text = join(folder, 'text');
  out = join(folder, 'out');
  await mkdir(text);
});
afterEach(() => rm(folder, { recursive: true }));

async function writeDocuments(count: number, length = 40): Promise<string[]> {
  const texts = Array.from({ length: count }, (_, i) => `document ${i}: ${oddText(i, length)}`);
  for (const [i, content] of texts.entries()) {
    await writeFile(join(text, `${String(i).padStart(4, '0')}.txt`), content);
  }
  return texts;
}

const prepare = (options: Partial<PrepareOptions> = {}): ReturnType<typeof prepareCorpus> =>
  prepareCorpus({ sources: [text], out, tokenizer: 'bytes', seed: 1, ...options });

/** The documents of a shard, each of which has to end with the end-of-text id. */
async function documentsOf(shard: TokenShard, tokenizer: Tokenizer): Promise<string[]> {
  const ids = [...(await shard.read(0, shard.length))];
  assert.equal(ids.at(-1), tokenizer.eot);
  const documents: string[] = [];
  for (let start = 0; start < ids.length; ) {
    const end = ids.indexOf(tokenizer.eot!, start);
    documents.push(tokenizer.decode(ids.slice(start, end)));
    start = end + 1;
  }
  return documents;
}

test('whole documents are held out, in order, and meta.json tells what there is', async () => {
  const texts = await writeDocuments(60);
  const { meta, warnings } = await prepare();
  assert.deepEqual(warnings, []);
  const data = await openDataset(out);
  const val = await documentsOf(data.val, data.tokenizer!);
  const train = await documentsOf(data.train, data.tokenizer!);
  assert.ok(val.length >= 1 && val.length < 20);
  assert.deepEqual(
    texts.filter((document) => val.includes(document)),
    val,
  );
  assert.deepEqual(
    texts.filter((document) => !val.includes(document)),
    train,
  );
  const size = (documents: string[]): unknown => {
    const bytes = documents.reduce((sum, document) => sum + Buffer.byteLength(document), 0);
    return { documents: documents.length, bytes, tokens: bytes + documents.length };
  };
  assert.deepEqual(meta, {
    format: 'loopnn-data-1',
    tokenizer: { name: 'bytes', vocabSize: 257, eot: 256 },
    largestId: 256,
    seed: 1,
    heldOut: {
      unit: 'documents',
      fraction: 0.25,
      share: data.val.length / (data.train.length + data.val.length),
    },
    sources: ['text'],
    train: size(train),
    val: size(val),
  });
  assert.deepEqual(data.meta, meta);
  await data.close();
  assert.deepEqual((await readdir(folder)).sort(), ['out', 'text']);
  assert.deepEqual((await readdir(out)).sort(), ['meta.json', 'tokenizer.json', 'train.bin', 'val.bin']);
  assert.equal(await readFile(join(out, 'tokenizer.json'), 'utf8'), '{"type":"bytes"}\n');
});

test('the same seed gives the same bytes, another seed other documents', async () => {
  await writeDocuments(40);
  const files = async (options: Partial<PrepareOptions>): Promise<string[]> => {
    await prepare({ tokenizer: 'bpe:300', force: true, ...options });
    const names = (await readdir(out)).sort();
    return Promise.all(names.map((name) => readFile(join(out, name), 'latin1')));
  };
  const first = await files({});
  assert.deepEqual(await files({}), first);
  assert.notDeepEqual(await files({ seed: 2 }), first);
});

test('one document holds out its tail at a character boundary', async () => {
  const content = '😀 words and words, '.repeat(50);
  await writeFile(join(text, 'one.txt'), content);
  for (const valFraction of [undefined, 0.3, 1e-9, 1 - 1e-9]) {
    const { meta } = await prepare({ force: true, valFraction });
    assert.equal(meta.heldOut.unit, 'tail');
    const data = await openDataset(out);
    const [head] = await documentsOf(data.train, data.tokenizer!);
    const [tail] = await documentsOf(data.val, data.tokenizer!);
    await data.close();
    assert.equal(head + tail, content);
    assert.ok(Math.abs(tail.length - Math.max(1, content.length * (valFraction ?? 0.25))) <= 2);
  }
});

test('a small file beside a large one: the large one is cut, whatever the seed, packed or not', async () => {
  const large = Array.from({ length: 5000 }, (_, i) => `Line ${i} of a long text, é and 日本.\n`).join('');
  await writeFile(join(text, 'a.txt'), 'short, '.repeat(30));
  await writeFile(join(text, 'b.txt'), `\ufeff${large}`);
  for (const seed of [1, 7, 8, 9]) {
    const { meta } = await prepare({ force: true, seed });
    assert.equal(meta.heldOut.unit, 'tail');
    assert.deepEqual([meta.train.documents, meta.val.documents], [2, 1]);
    assert.ok(Math.abs(meta.heldOut.share! - 0.1) < 0.001, `${meta.heldOut.share}`);
  }
  const bytes = await readFile(join(out, 'val.bin'));
  await rm(join(text, 'b.txt'));
  await writeFile(join(text, 'b.txt.gz'), gzipSync(large));
  await prepare({ force: true });
  assert.deepEqual(await readFile(join(out, 'val.bin')), bytes);
  await using data = await openDataset(out);
  const [, head] = await documentsOf(data.train, data.tokenizer!);
  const [tail] = await documentsOf(data.val, data.tokenizer!);
  assert.equal(head + tail, large);
});

test('the share does not jump with the number of documents', async () => {
  const shares: number[] = [];
  for (const count of [9_999, 10_000]) {
    const lines = Array.from({ length: count }, (_, i) => JSON.stringify({ text: `a short document, ${i}` }));
    await writeFile(join(text, 'a.jsonl'), lines.join('\n'));
    const { meta } = await prepare({ force: true });
    shares.push(meta.heldOut.share!);
    assert.equal(meta.heldOut.unit, 'documents');
  }
  for (const share of shares) assert.ok(Math.abs(share - 0.1) < 0.01, `${share}`);
});

test('bpe:N is trained on the training split alone', async () => {
  const texts = await writeDocuments(30, 80);
  const { meta } = await prepare({ tokenizer: 'bpe:280' });
  assert.equal(meta.tokenizer.name, 'bpe-280');
  assert.equal(meta.tokenizer.eot, 279);
  const data = await openDataset(out);
  const val = await documentsOf(data.val, data.tokenizer!);
  const train = texts.filter((document) => !val.includes(document));
  assert.deepEqual(data.tokenizer!.toJSON(), trainBpe(train, 280).toJSON());
  assert.notDeepEqual(data.tokenizer!.toJSON(), trainBpe(texts, 280).toJSON());
  assert.deepEqual(await documentsOf(data.train, data.tokenizer!), train);
  await data.close();
});

for (const tokenizer of ['bytes', 'gpt2', 'bpe:300']) {
  test(`processes encode ${tokenizer} together, and the files are those of one`, async () => {
    await writeDocuments(60);
    const alone = await prepare({ tokenizer });
    const files = async (of: string) =>
      Promise.all((await readdir(of)).sort().map(async (name) => [name, await readFile(join(of, name))]));
    const expected = await files(out);
    const sent = [0, 0, 0];
    // A batch of each document or two; only the first process has the text and the folder.
    const told = await Promise.all(
      memoryPeers(3).map(({ rank, size, exchange }) => {
        const counted: Peers['exchange'] = (sends, receives) => {
          sent[rank] += sends.length;
          return exchange(sends, receives);
        };
        const peers = { rank, size, exchange: counted };
        const sources = rank === 0 ? [text] : ['elsewhere'];
        const shared = rank === 0 ? join(folder, 'shared') : join(folder, 'none');
        return prepare({ tokenizer, sources, out: shared, recordBytes: 100, workers: 1, peers });
      }),
    );
    assert.deepEqual(await files(join(folder, 'shared')), expected);
    assert.ok(!(await readdir(folder)).includes('none'));
    for (const result of told) assert.deepEqual(result, alone);
    assert.ok(Math.min(sent[1], sent[2]) > 30, `both others encode: ${sent}`);
  });
}

test('training a tokenizer listens to the signal, whatever its words', async () => {
  // One word of 300,000 letters, in which each merge looks at every place.
  const letters = Array.from({ length: 300_000 }, (_, i) => 'ACGT'[hashWords(1, i) & 3]).join('');
  await writeFile(join(text, 'a.txt'), letters);
  const controller = new AbortController();
  let stopped = 0;
  const onProgress = ({ phase }: PrepareProgress): void => {
    if (phase !== 'train tokenizer' || stopped > 0) return;
    stopped = performance.now() + 500;
    setTimeout(() => controller.abort(), 500);
  };
  await assert.rejects(prepare({ tokenizer: 'bpe:65000', onProgress, signal: controller.signal }), {
    name: 'AbortError',
  });
  assert.ok(performance.now() - stopped < 5000);
});

test('a tokenizer.json prepares other text with the same ids', async () => {
  await writeDocuments(10);
  const tokenizer = trainBpe(['some other text, some other text'], 270);
  const path = join(folder, 'mine.json');
  await writeFile(path, JSON.stringify(tokenizer));
  await prepare({ tokenizer: path });
  const data = await openDataset(out);
  assert.deepEqual(data.tokenizer!.toJSON(), JSON.parse(JSON.stringify(tokenizer)));
  assert.match((await documentsOf(data.train, data.tokenizer!))[0], /^document \d/);
  await data.close();
});

test('a text that spells the end-of-text token does not end there', async () => {
  await writeFile(join(text, 'a.txt'), 'one <|endoftext|> two');
  await writeFile(join(text, 'b.txt'), 'three <|endoftext|> four');
  const { meta } = await prepare({ tokenizer: 'bpe:258', valFraction: 0.5 });
  assert.equal(meta.train.documents + meta.val.documents, 2);
  const data = await openDataset(out);
  assert.equal((await documentsOf(data.train, data.tokenizer!)).length, 1);
  await data.close();
});

test('a long document streams in pieces, with the ids of the whole', async () => {
  const word = 'The whale, the white whale; ';
  const content = Array.from({ length: 60_000 }, (_, i) => `${word}${i}\n`).join('');
  await writeFile(join(text, 'a.txt'), content);
  await writeFile(join(text, 'b.txt'), 'short');
  await writeFile(join(text, 'c.txt'), content);
  let longest = 0;
  let before = 0;
  const onProgress = ({ phase, bytes }: PrepareProgress): void => {
    if (phase !== 'encode') return;
    longest = Math.max(longest, bytes - before);
    before = bytes;
  };
  await prepare({ tokenizer: 'gpt2', valFraction: 0.5, onProgress });
  const data = await openDataset(out);
  const ids = data.tokenizer!.encode(content);
  assert.deepEqual((await data.val.read(0, data.val.length)).subarray(0, -1), ids);
  await data.close();
  assert.ok(longest < content.length / 4, `a piece of ${longest} bytes of ${content.length}`);
});

test('progress tells phases, documents, bytes and tokens', async () => {
  await writeDocuments(5);
  const seen: PrepareProgress[] = [];
  const { meta } = await prepare({ tokenizer: 'bpe:260', onProgress: (progress) => seen.push(progress) });
  const phases = [...new Set(seen.map(({ phase }) => phase))];
  assert.deepEqual(phases, ['count', 'train tokenizer', 'encode']);
  const last = seen.at(-1)!;
  assert.equal(last.documents, 5);
  assert.equal(last.bytes, meta.train.bytes + meta.val.bytes);
  assert.equal(last.totalBytes, last.bytes);
});

test('an abort in any phase leaves nothing, and what stood there stays', async () => {
  await writeDocuments(8);
  for (const phase of ['count', 'train tokenizer', 'encode'] as const) {
    const controller = new AbortController();
    const onProgress = (progress: PrepareProgress): void => {
      if (progress.phase === phase && progress.documents === 3) controller.abort(new Error('stopped'));
    };
    const options = { tokenizer: 'bpe:260', onProgress, signal: controller.signal };
    await assert.rejects(prepare(options), /stopped/);
    assert.deepEqual(await readdir(folder), ['text']);
  }
  await prepare();
  const before = await readFile(join(out, 'meta.json'), 'utf8');
  const controller = new AbortController();
  const onProgress = (): void => controller.abort(new Error('stopped'));
  await assert.rejects(prepare({ force: true, seed: 9, signal: controller.signal, onProgress }), /stopped/);
  assert.equal(await readFile(join(out, 'meta.json'), 'utf8'), before);
  assert.deepEqual((await readdir(folder)).sort(), ['out', 'text']);
});

test('a folder with other content is never replaced, a prepared one only with force', async () => {
  await writeDocuments(3);
  await mkdir(out);
  await writeFile(join(out, 'thesis.txt'), 'years of work');
  for (const force of [false, true]) {
    await assert.rejects(prepare({ force }), {
      name: 'DataError',
      message: /out: must be a new folder or a prepared one, got 'thesis\.txt'; choose another folder$/,
    });
  }
  await rm(join(out, 'thesis.txt'));
  await prepare();
  await assert.rejects(
    prepare(),
    /out: must be a new folder, got 'a prepared one'; use --force to replace it$/,
  );
  await prepare({ force: true, seed: 3 });
  assert.match(await readFile(join(out, 'meta.json'), 'utf8'), /"seed": 3/);
  await writeFile(join(out, 'notes.txt'), 'mine');
  await assert.rejects(prepare({ force: true }), /got 'notes\.txt'/);
  await assert.rejects(
    prepare({ out: join(text, '0000.txt') }),
    /: could not be opened, it, or what it should lie in, is no folder; check its path$/,
  );
});

test('impossible wishes are refused before any work', async () => {
  await writeDocuments(3);
  const refused = (options: Partial<PrepareOptions>, name: string, message: RegExp): Promise<void> =>
    assert.rejects(prepare({ ...options, onProgress: () => assert.fail('no work') }), { name, message });
  await refused({ tokenizer: 'bpe:256' }, 'ConfigError', /vocabSize: .*, got 256$/);
  await refused({ tokenizer: 'bpe:65537' }, 'ConfigError', /vocabSize: .*, got 65537$/);
  await refused({ tokenizer: 'bpe:many' }, 'ConfigError', /vocabSize: .*, got NaN$/);
  await refused(
    { tokenizer: 'gpt3' },
    'ConfigError',
    /tokenizer: must be bytes, gpt2, bpe:N or a tokenizer\.json's path, got 'gpt3'/,
  );
  await refused(
    { tokenizer: join(folder, 'no.json') },
    'DataError',
    /no\.json: must be a tokenizer\.json, got 'no such file'/,
  );
  await refused({ valFraction: 1 }, 'ConfigError', /valFraction: /);
  await refused({ sources: [] }, 'ConfigError', /sources: must name at least one, got 0/);
  await refused({ sources: [text, 'nowhere'] }, 'DataError', /source: must be a file, a folder or a corpus/);
});

test('sources without text are refused', async () => {
  await assert.rejects(prepare(), { name: 'DataError', message: /text: must hold text, got 'none'$/ });
  await writeFile(join(text, 'mark.txt'), '\ufeff');
  await assert.rejects(prepare(), /text: must hold text, got 'none'$/);
  await writeFile(join(text, 'mark.txt'), 'x');
  await assert.rejects(prepare(), /a single document must have at least 5 bytes, for two splits, got 1$/);
  assert.deepEqual(await readdir(folder), ['text']);
});

test('what was left out or mended is told', async () => {
  await writeDocuments(3);
  await writeFile(join(text, 'z.bin'), Uint8Array.of(0));
  await writeFile(join(text, 'latin1.txt'), Uint8Array.of(0x61, 0xe9));
  const { warnings } = await prepare();
  assert.deepEqual(warnings, [
    'skipped 1 file: not text',
    'replaced bytes that are not UTF-8 with U+FFFD in 1 document',
  ]);
});

/** Three stories as TinyStories has them. */
const STORIES =
  '\nOne day.\n<|endoftext|>\nTwo days, or <three>.\n<|endoftext|>\nAnd a last one.\n<|endoftext|>\n';

test('<|endoftext|> in a file is text, counted and told; --split-on parts documents there', async () => {
  await writeFile(join(text, 'stories.txt'), STORIES);
  await writeFile(join(text, 'other.txt'), 'No mark in here, <|endoftext| >.');
  const { meta, warnings } = await prepare({ valFraction: 0.3 });
  assert.equal(meta.train.documents + meta.val.documents, 2);
  assert.deepEqual(warnings, [
    "read <|endoftext|> as text, 3 times in 1 file: loopnn prepare --split-on '<|endoftext|>' splits documents there",
  ]);
  const parted = await prepare({ fields: { splitOn: '<|endoftext|>' }, valFraction: 0.3, force: true });
  assert.equal(parted.meta.train.documents + parted.meta.val.documents, 4);
  assert.equal(parted.meta.train.bytes + parted.meta.val.bytes, STORIES.length - 3 * 13 - 1 + 32);
  assert.deepEqual(parted.warnings, [
    'read 1 file as one document each: they do not contain the mark of --split-on',
  ]);
});

test("parted at its marks a text has the ids of GPT-2's tokenizer, which knows them", async () => {
  await writeFile(join(text, 'stories.txt'), STORIES);
  // The first story is held out.
  await prepare({ tokenizer: 'gpt2', fields: { splitOn: '<|endoftext|>' }, valFraction: 0.25 });
  await using data = await openDataset(out);
  const ids = [
    ...(await data.val.read(0, data.val.length)),
    ...(await data.train.read(0, data.train.length)),
  ];
  // The texts between the marks by GPT-2, with its end of text (50256) where each mark stood.
  assert.deepEqual(
    ids,
    [
      [198, 3198, 1110, 13, 198, 50256],
      [198, 7571, 1528, 11, 393, 1279, 15542, 28401, 198, 50256],
      [198, 1870, 257, 938, 530, 13, 198, 50256],
    ].flat(),
  );
});

test('--split-on is for files of text', async () => {
  const records = join(folder, 'records.jsonl');
  await writeFile(records, '{"text": "one"}\n{"text": "two"}\n');
  const splitOn = { splitOn: '---' };
  await assert.rejects(prepare({ sources: [records], fields: splitOn }), {
    name: 'ConfigError',
    message: /^--split-on: is for files of text, got '.*records\.jsonl \(JSON Lines\)'$/,
  });
  await assert.rejects(
    prepare({ sources: ['sotu'], fields: splitOn }),
    /--split-on: is for files and folders/,
  );
});

test('a tokenizer of fewer ids than were asked for is said', async () => {
  await writeFile(join(text, 'a.txt'), 'one two one two\n'.repeat(20));
  const { meta, warnings } = await prepare({ tokenizer: 'bpe:2048' });
  assert.ok(meta.tokenizer.vocabSize < 300);
  assert.deepEqual(warnings, [
    `tokenizer bpe:2048 has ${meta.tokenizer.vocabSize} ids: the text repeats no more pairs to merge`,
  ]);
});

test('another source is held out whole, and a split is refused where there is none', async () => {
  await writeDocuments(5);
  const val = join(folder, 'val.txt');
  await writeFile(val, 'held out');
  const { meta } = await prepare({ val });
  await using data = await openDataset(out);
  assert.deepEqual(await documentsOf(data.val, data.tokenizer!), ['held out']);
  assert.equal((await documentsOf(data.train, data.tokenizer!)).length, 5);
  assert.deepEqual(
    [meta.heldOut.unit, meta.heldOut.sources, meta.sources],
    ['sources', ['val.txt'], ['text']],
  );
  assert.equal(meta.heldOut.fraction, 8 / (8 + meta.train.bytes));
  const refused = (options: Partial<PrepareOptions>, message: RegExp) =>
    assert.rejects(prepare({ force: true, ...options }), { message });
  const folders = 'datasets on the hub, and folders whose files name their splits';
  await refused(
    { sources: [val], hub: { split: 'train' } },
    new RegExp(`^--split: is for ${folders}, got '.*val.txt'`),
  );
  await refused(
    { val, valSplit: 'validation' },
    new RegExp(`^--val-split: is for ${folders}, got '.*val.txt'`),
  );
  await refused({ sources: ['sotu'], hub: { split: 'train' } }, /^--split: is for .*, got 'sotu'/);
  await refused(
    { hub: { split: 'train' } },
    /text: must have files of the split 'train', got 'no file whose path names a split'/,
  );
  await refused({ val, valFraction: 0.1 }, /^--val-fraction: must not be given beside --val/);
  await refused(
    { hub: { subset: 'en' } },
    /^--subset: is for datasets on the hub, got '.*text'; name the folder itself/,
  );
});

test('a folder’s own validation split is held out, unless something else is asked for', async () => {
  const files: Record<string, string> = {
    'README.md': 'about the train and the test split',
    LICENSE: 'free',
    'data/train-00000-of-00002.jsonl': '{"text": "one"}\n{"text": "two"}\n',
    'data/train-00001-of-00002.jsonl': '{"text": "three"}\n',
    'valid.txt': 'held',
    'test/a.txt': 'tested',
  };
  for (const [name, content] of Object.entries(files)) {
    await mkdir(join(text, dirname(name)), { recursive: true });
    await writeFile(join(text, name), content);
  }
  const texts = async (options: Partial<PrepareOptions>) => {
    const { meta, notices } = await prepare({ force: true, ...options });
    await using data = await openDataset(out);
    const [train, val] = [
      await documentsOf(data.train, data.tokenizer!),
      await documentsOf(data.val, data.tokenizer!),
    ];
    return { train, val, notices, unit: meta.heldOut.unit, sources: meta.heldOut.sources };
  };
  assert.deepEqual(await texts({}), {
    train: ['one', 'two', 'three'],
    val: ['held'],
    notices: [
      `${text}: trained on the files of its train split (2), those of its validation split (1) held out, those of its test split (1) skipped; --val-fraction holds out a share instead`,
    ],
    unit: 'sources',
    sources: ['text (validation)'],
  });
  const tested = await texts({ valSplit: 'test' });
  assert.deepEqual([tested.train, tested.val, tested.notices], [['one', 'two', 'three'], ['tested'], []]);
  const one = await texts({ hub: { split: 'training' } });
  assert.deepEqual([...one.train, ...one.val].sort(), ['one', 'three', 'two']);
  const all = await texts({ valFraction: 0.3 });
  assert.ok(
    ['held', 'tested', 'free'].every((found) => [...all.train, ...all.val].includes(found)),
    'none is cut',
  );
  // A file that names no split, or two, is no split's: all are texts.
  await writeFile(join(text, 'more.txt'), 'more');
  const mixed = await texts({});
  assert.deepEqual(mixed.notices, []);
  assert.notEqual(mixed.unit, 'sources');
});

test('a file that links lead to as well is read once', async () => {
  await mkdir(join(text, 'a'), { recursive: true });
  await mkdir(join(text, '.hidden'));
  await writeFile(join(text, '.hidden', 'blob'), 'hidden');
  await writeFile(join(text, 'b.txt'), 'seen');
  await symlink('../b.txt', join(text, 'a', 'link.txt'));
  await symlink('b.txt', join(text, 'c.txt'));
  await symlink('.hidden/blob', join(text, 'd.txt'));
  await symlink('.hidden/blob', join(text, 'e.txt'));
  const outside = join(folder, 'outside.txt');
  await writeFile(outside, 'outside');
  for (const name of ['f.txt', 'g.txt']) await symlink(outside, join(text, name));
  await prepare({ fields: { followLinks: true } });
  await using data = await openDataset(out);
  const found = [
    ...(await documentsOf(data.train, data.tokenizer!)),
    ...(await documentsOf(data.val, data.tokenizer!)),
  ];
  assert.deepEqual(found.sort(), ['hidden', 'outside', 'seen']);
});
