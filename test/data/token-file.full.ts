/** Thousands of damaged data folders: each is opened and read, or refused. Belongs to the long run. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { openDataset } from '../../src/data/dataset.js';
import { openTokenFile } from '../../src/data/token-file.js';
import { Fuzz, fuzz } from '../fuzz.js';
import { fixture } from './helpers.js';

const folder = mkdtempSync(join(tmpdir(), 'loopnn-test-'));
after(() => rmSync(folder, { recursive: true, force: true }));

const split = (tokens: number) => ({ documents: 1, bytes: tokens - 1, tokens });
const meta = {
  format: 'loopnn-data-1',
  tokenizer: { name: 'bytes', vocabSize: 257, eot: 256 },
  largestId: 256,
  seed: 1,
  heldOut: { unit: 'documents', fraction: 0.1 },
  sources: ['a'],
  train: split(200),
  val: split(50),
};
const ids = (length: number) => new Uint8Array(Uint16Array.from({ length }, (_, i) => i % 257).buffer);
const FILES: Record<string, Uint8Array> = {
  'meta.json': Buffer.from(JSON.stringify(meta)),
  'tokenizer.json': Buffer.from('{"type":"bytes"}'),
  'train.bin': ids(200),
  'val.bin': ids(50),
};

test('3,000 folders with a damaged file', async () => {
  const random = new Fuzz(30);
  await fuzz(3000, ['DataError'], async () => {
    const damaged = random.pick(Object.keys(FILES));
    for (const [name, content] of Object.entries(FILES)) {
      const lies = name === 'meta.json' && random.below(2) === 0;
      const other = () => (lies ? Buffer.from(JSON.stringify(random.json(meta))) : random.bytes(content));
      writeFileSync(join(folder, name), name === damaged ? other() : content);
    }
    await using data = await openDataset(folder);
    for (const shard of [data.train, data.val]) {
      const offset = random.pick([0, random.below(shard.length), -1, shard.length, 2 ** 53, 0.5]);
      const count = random.pick([1, random.below(shard.length), shard.length, 2 ** 40, -1]);
      assert.equal((await shard.read(offset, count)).length, count);
    }
  });
});

test('3,000 damaged token files of llm.c, alone and in a folder', async () => {
  const random = new Fuzz(31);
  const llmc = (tokens: number) => {
    const header = new Int32Array(256);
    header.set([20240520, 1, tokens]);
    return new Uint8Array(Buffer.concat([new Uint8Array(header.buffer), ids(tokens)]));
  };
  const parts = mkdtempSync(join(folder, 'llmc-'));
  const names = ['a_train_000001.bin', 'a_train_000002.bin', 'a_val_000000.bin'];
  await fuzz(3000, ['DataError'], async () => {
    const damaged = random.pick(names);
    for (const name of names) {
      const bytes = llmc(100 + random.below(100));
      // The first three numbers are what a header says.
      if (name === damaged && random.below(2) === 0) bytes[random.below(12)] ^= 1 << random.below(8);
      else if (name === damaged) bytes.set([0, 0xff, 0x7f, 0x80], random.below(20));
      writeFileSync(
        join(parts, name),
        name === damaged && random.below(3) === 0 ? random.bytes(bytes) : bytes,
      );
    }
    const alone = await openTokenFile(join(parts, damaged));
    try {
      assert.equal((await alone.read(alone.length - 1, 1)).length, 1);
    } finally {
      await alone.close();
    }
    await using data = await openDataset(parts);
    assert.equal((await data.train.read(0, data.train.length)).length, data.train.length);
  });
});

test('3,000 damaged .npy files', async () => {
  const random = new Fuzz(32);
  const names = ['little-u2', 'big-i8', 'version-2', 'version-3', 'records', 'matrix'];
  const files = names.map((name) => new Uint8Array(readFileSync(fixture(`npy/${name}.npy`))));
  const path = join(folder, 'ids.npy');
  await fuzz(3000, ['DataError'], async () => {
    const bytes = Uint8Array.from(random.pick(files));
    // The header, whose length and dictionary say everything.
    for (let i = random.below(3); i >= 0; i--)
      bytes[6 + random.below(80)] = random.pick([0, 40, 41, 44, 57, 255]);
    writeFileSync(path, random.below(3) === 0 ? random.bytes(bytes) : bytes);
    const shard = await openTokenFile(path);
    try {
      assert.equal((await shard.read(0, shard.length)).length, shard.length);
    } finally {
      await shard.close();
    }
  });
});
