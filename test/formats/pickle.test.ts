/** What is read of Python's pickles, and what is refused. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { readPickledDict } from '../../src/formats/pickle.js';
import { fixture } from '../data/helpers.js';

/** By Python, in protocols 0 to 5. */
const pickles = JSON.parse(readFileSync(fixture('pickles.json'), 'utf8')) as {
  characters: string[];
  meta: string[];
  big: string[];
  refused: Record<string, string[]>;
};
const bytesOf = (base64: string) => new Uint8Array(Buffer.from(base64, 'base64'));

test('dicts of texts and whole numbers are read in every protocol', () => {
  const { characters, meta, big } = pickles;
  for (const [protocol, base64] of meta.entries()) {
    const dict = readPickledDict(bytesOf(base64), 'meta.pkl');
    assert.deepEqual([...dict.keys()], ['vocab_size', 'itos', 'stoi'], `protocol ${protocol}`);
    assert.equal(dict.get('vocab_size'), 27);
    assert.deepEqual(dict.get('itos'), new Map(characters.entries()));
    assert.deepEqual(dict.get('stoi'), new Map(characters.map((character, id) => [character, id])));
  }
  for (const base64 of big) {
    const dict = readPickledDict(bytesOf(base64), 'meta.pkl');
    assert.equal(dict.get('vocab_size'), 70_000);
    assert.deepEqual(dict.get('itos'), new Map(Array.from({ length: 300 }, (_, i) => [i, String(i - 1000)])));
    assert.deepEqual(dict.get('stoi'), new Map([['x'.repeat(300), -5]]));
  }
});

test('whatever else a pickle does is refused by name, in every protocol', () => {
  const names: Record<string, RegExp> = {
    call: /an import \(GLOBAL\)/,
    object: /an import/,
    list: /a list/,
    tuple: /a tuple/,
    float: /a float/,
    bytes: /bytes|an import/,
    none: /None/,
    boolean: /a boolean|the number 01/,
    set: /a set|an import/,
    large: /a large number/,
  };
  for (const [name, protocols] of Object.entries(pickles.refused)) {
    assert.equal(protocols.length, 6);
    for (const base64 of protocols) {
      assert.throws(() => readPickledDict(bytesOf(base64), 'meta.pkl', 'remove it'), {
        name: 'DataError',
        message: new RegExp(
          `^meta\\.pkl: must be a pickle of dicts, .*(${names[name].source}).* at byte .*remove it`,
        ),
      });
    }
  }
});

test('a damaged pickle is one readable error wherever it is cut or changed', () => {
  const readable = (bytes: Uint8Array) => {
    try {
      readPickledDict(bytes, 'meta.pkl');
    } catch (error) {
      assert.equal((error as Error).name, 'DataError', String(error));
    }
  };
  for (const base64 of pickles.meta) {
    const bytes = bytesOf(base64);
    for (let i = 0; i < bytes.length; i++) {
      assert.throws(() => readPickledDict(bytes.subarray(0, i), 'meta.pkl'), { name: 'DataError' });
      for (const bit of [0, 3, 6, 7]) readable(bytes.with(i, bytes[i] ^ (1 << bit)));
    }
  }
});
