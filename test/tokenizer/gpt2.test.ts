import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { createTokenizer } from '../../src/tokenizer/load.js';

interface Case {
  readonly text: string;
  readonly ids: number[];
}

const cases = JSON.parse(
  readFileSync(new URL('../../../test/tokenizer/gpt2-fixture.json', import.meta.url), 'utf8'),
) as Case[];

test('GPT-2 gives the ids of tiktoken', async () => {
  const gpt2 = await createTokenizer('gpt2');
  assert.equal(gpt2.vocabSize, 50257);
  assert.equal(gpt2.eot, 50256);
  for (const { text, ids } of cases) assert.deepEqual([...gpt2.encode(text)], ids, JSON.stringify(text));
});

test('GPT-2 decodes what it encoded, whole and one id at a time', async () => {
  const gpt2 = await createTokenizer('gpt2');
  for (const { text, ids } of cases) {
    assert.equal(gpt2.decode(ids), text);
    const decoder = gpt2.decoder();
    const parts = ids.map((id) => decoder.push(id));
    assert.equal(parts.join('') + decoder.end(), text);
    assert.ok(!parts.join('').includes('\ufffd'), 'no character is split');
  }
});

test('<|endoftext|> in a text is ordinary text', async () => {
  const gpt2 = await createTokenizer('gpt2');
  const ids = gpt2.encode('a<|endoftext|>b');
  assert.ok(!ids.includes(gpt2.eot!));
  assert.equal(gpt2.decode(ids), 'a<|endoftext|>b');
});

test('an id outside the vocabulary is named', async () => {
  const gpt2 = await createTokenizer('gpt2');
  assert.throws(() => gpt2.decode([50257]), {
    name: 'DataError',
    message:
      'tokenizer gpt2: a token id must be a whole number from 0 to 50256 with a token of its own, got 50257; ' +
      'the model or shard was made with another tokenizer',
  });
});

test('a word of a million letters is encoded in time', async () => {
  const gpt2 = await createTokenizer('gpt2');
  const word = 'ab'.repeat(500_000);
  const start = performance.now();
  const ids = gpt2.encode(word);
  assert.ok(performance.now() - start < 10_000);
  assert.equal(gpt2.decode(ids), word);
});
