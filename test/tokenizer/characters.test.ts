/** One id for each character. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CharacterTokenizer } from '../../src/tokenizer/characters.js';
import { tokenizerFromJSON } from '../../src/tokenizer/load.js';

test('characters have the ids of their places, and nothing else has any', async () => {
  const made = new CharacterTokenizer(['\n', 'a', 'é', '😀'], 'vocabulary');
  for (const tokenizer of [made, await tokenizerFromJSON(made.toJSON())]) {
    assert.equal(tokenizer.name, 'characters-4');
    assert.equal(tokenizer.vocabSize, 4);
    assert.equal(tokenizer.eot, null);
    assert.deepEqual([...tokenizer.encode('aé😀\n')], [1, 2, 3, 0]);
    assert.equal(tokenizer.decode([3, 1, 2]), '😀aé');
    const decoder = tokenizer.decoder();
    assert.deepEqual([decoder.push(3), decoder.push(0), decoder.end()], ['😀', '\n', '']);
    assert.throws(() => tokenizer.encode('ab'), {
      name: 'ConfigError',
      message: "text: must be written with the 4 characters of tokenizer characters-4, got 'b'",
    });
    assert.throws(() => tokenizer.bytesOf(4), /must be a whole number from 0 to 3/);
  }
});

test('a list of characters that is none is refused', async () => {
  for (const characters of [[], ['ab'], ['a', 'a'], ['', 'a'], [1]]) {
    const json = { type: 'characters', characters };
    await assert.rejects(tokenizerFromJSON(json), /characters: must list single characters, each once/);
  }
});
