/** Folders and files of tokens on the command line: ours, nanoGPT's, llm.c's, and those that are no such thing. */
import assert from 'node:assert/strict';
import { cpSync, mkdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fixture, idBytes } from '../data/helpers.js';
import { loopnn, printed, refused, SMALL, temporaryFolder, trainSmall } from './helpers.js';

const folder = temporaryFolder();
const { data, run } = await trainSmall(folder, 'run', '--max-steps', '30');

test('missing, empty and truncated shards are named', async () => {
  const bad = join(folder, 'bad');
  cpSync(data, bad, { recursive: true });
  const train = ['train', ...SMALL, '--data', bad, '--out', join(folder, 'unused')];
  truncateSync(join(bad, 'train.bin'), 1001);
  await refused(train, /train\.bin: .*truncated/);
  truncateSync(join(bad, 'train.bin'), 0);
  await refused(train, /train\.bin: .*empty/);
  rmSync(join(bad, 'train.bin'));
  await refused(train, /train\.bin: must be a token shard/);
  const book = join(folder, 'book.txt');
  writeFileSync(book, 'It was the best of times.\n'.repeat(100));
  for (const dtype of [[], ['--dtype', 'uint16']]) {
    await refused(
      ['train', ...SMALL, '--data', book, ...dtype, '--out', join(folder, 'unused')],
      /book\.txt: must hold token ids, got 'text'; prepare it: loopnn prepare .*book\.txt --out data\/book/,
    );
  }
  await refused(
    ['train', ...SMALL, '--data', join(folder, 'nowhere'), '--out', join(folder, 'unused')],
    /nowhere/,
  );
});

test('a nanoGPT folder without meta.json trains, and an id beyond the vocabulary is named', async () => {
  const bare = join(folder, 'bare');
  mkdirSync(bare);
  for (const file of ['train.bin', 'val.bin']) cpSync(join(data, file), join(bare, file));
  const out = join(folder, 'from-bare');
  const train = (vocab: string, to: string) => [
    'train',
    ...SMALL,
    '--vocab-size',
    vocab,
    '--data',
    bare,
    '--out',
    to,
    '--max-steps',
    '2',
  ];
  const result = await loopnn(train('257', out));
  assert.equal(result.code, 0, result.stderr);
  assert.doesNotMatch(result.stderr, /vocab-size/);
  const large = await loopnn(train('1000', join(folder, 'from-bare-1000')));
  assert.match(
    large.stderr,
    /no id that was looked at is above 256, and the model has 1000: .*give --vocab-size 257/,
  );
  await refused(
    ['generate', '--model', out, '--prompt', 'x'],
    /must hold a tokenizer\.json.*copy the tokenizer\.json/,
  );
  const failed = await loopnn(train('60', join(folder, 'from-bare-60')));
  assert.equal(failed.code, 1);
  assert.match(failed.stderr, /token \d+: must be below the model's vocabSize = 60, got \d+/);
});

test('data with another tokenizer than the run’s is refused', async () => {
  const other = join(folder, 'other-data');
  const prepared = await loopnn([
    'prepare',
    join(folder, 'corpus'),
    '--out',
    other,
    '--tokenizer',
    'bpe:257',
  ]);
  assert.equal(prepared.code, 0, prepared.stderr);
  const before = readFileSync(join(run, 'tokenizer.json'), 'utf8');
  await refused(['eval', '--model', run, '--data', other], /must work on data with the run's own tokenizer/);
  await refused(
    ['train', '--data', other, '--out', run, '--resume', '--max-steps', '40'],
    /must work on data with the run's own tokenizer/,
  );
  assert.equal(readFileSync(join(run, 'tokenizer.json'), 'utf8'), before);
});

test('nanoGPT’s characters train with the ids of meta.pkl, and generate', async () => {
  const from = join(folder, 'characters');
  mkdirSync(from);
  const pickles = JSON.parse(readFileSync(fixture('pickles.json'), 'utf8'));
  writeFileSync(join(from, 'meta.pkl'), Buffer.from(pickles.meta[4], 'base64'));
  const ids = (count: number) => idBytes(Array.from({ length: count }, (_, i) => (i * i + 3) % 27));
  writeFileSync(join(from, 'train.bin'), ids(2000));
  writeFileSync(join(from, 'val.bin'), ids(400));
  const out = join(folder, 'from-characters');
  const trained = await loopnn(['train', ...SMALL, '--max-steps', '2', '--data', from, '--out', out]);
  assert.equal(trained.code, 0, trained.stderr);
  assert.equal(JSON.parse(readFileSync(join(out, 'config.json'), 'utf8')).model.vocabSize, 27);
  const generate = ['generate', '--model', out, '--tokens', '5', '--prompt'];
  const { text, ids: made } = await printed(...generate, 'ab é');
  assert.equal(text, made.map((id: number) => pickles.characters[id]).join(''));
  assert.equal(made.length, 5);
  await refused([...generate, 'aB'], /text: must be written with the 27 characters of .*, got 'B'/);
  await refused([...generate, ''], /prompt: must not be empty; no token of this model begins a text/);
  const again = ['prepare', join(folder, 'corpus'), '--out', join(folder, 'again'), '--tokenizer'];
  await refused([...again, join(out, 'tokenizer.json')], /tokenizer: must have a token that ends a text/);
  const small = ['train', ...SMALL, '--data', from, '--vocab-size', '20', '--out', join(folder, 'small')];
  await refused(small, /largest token id: must be below the model's vocabSize = 20, got 26/);
});

test('llm.c’s shards, nanoGPT’s and a single file are trained on and evaluated as they are', async () => {
  const llmc = join(folder, 'llmc');
  mkdirSync(llmc);
  for (const split of ['train', 'val']) {
    const ids = readFileSync(join(data, `${split}.bin`));
    const header = new Int32Array(256);
    header.set([20240520, 1, ids.length / 2]);
    const name = split === 'train' ? 'lines_train_000001.bin' : 'lines_val.bin';
    writeFileSync(join(llmc, name), Buffer.concat([Buffer.from(header.buffer), ids]));
  }
  const evaluate = async (...args: string[]) => {
    const result = await loopnn(['eval', '--model', run, '--json', ...args]);
    assert.equal(result.code, 0, result.stderr);
    const { split, results } = JSON.parse(result.stdout);
    return { split, tokens: results[0].tokens, loss: results[0].loss };
  };
  const expected = await evaluate('--data', data);
  assert.equal(expected.split, 'val');
  assert.deepEqual(await evaluate('--data', llmc), expected);
  const whole = { ...expected, split: 'all' };
  assert.deepEqual(await evaluate('--data', join(llmc, 'lines_val.bin')), whole);
  assert.deepEqual(await evaluate('--data', join(data, 'val.bin')), whole);
  const bare = join(folder, 'ids.bin');
  cpSync(join(data, 'val.bin'), bare);
  assert.deepEqual(await evaluate('--data', bare, '--dtype', 'uint16'), whole);
  const tail = await evaluate('--data', join(data, 'train.bin'), '--split', 'val');
  assert.ok(tail.tokens > 0 && tail.tokens < expected.tokens * 2);
  for (const source of [llmc, join(llmc, 'lines_train_000001.bin')]) {
    const out = join(folder, 'llmc-run');
    rmSync(out, { recursive: true, force: true });
    const small = [...SMALL, '--vocab-size', '257', '--max-steps', '2'];
    const trained = await loopnn(['train', ...small, '--data', source, '--out', out]);
    assert.equal(trained.code, 0, trained.stderr);
  }
});
