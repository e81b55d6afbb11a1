import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cutBeforeSpace, ownString, preTokenize } from '../../src/tokenizer/pretokenize.js';
import { oddText, SAMPLES } from './samples.js';

/** GPT-2's expression, with Unicode's white space for \s. */
const EXPRESSION =
  /'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\p{White_Space}\p{L}\p{N}]+|\p{White_Space}+(?!\P{White_Space})|\p{White_Space}+/gu;

function words(text: string): string[] {
  const found: string[] = [];
  preTokenize(text, (start, end) => found.push(text.slice(start, end)));
  return found;
}

const texts = [...SAMPLES, ...Array.from({ length: 400 }, (_, seed) => oddText(seed, 60))];

test("the scanner finds the words of GPT-2's expression", () => {
  for (const text of texts) assert.deepEqual(words(text), text.match(EXPRESSION) ?? [], JSON.stringify(text));
});

test('lone surrogates are words like any other sign', () => {
  assert.deepEqual(words('a\ud800b \udc00'), ['a', '\ud800', 'b', ' \udc00']);
});

test('a text cut before white space has the same words', () => {
  let cuts = 0;
  for (const text of texts) {
    const cut = cutBeforeSpace(text);
    if (cut > 0) cuts++;
    assert.deepEqual([...words(text.slice(0, cut)), ...words(text.slice(cut))], words(text));
  }
  assert.ok(cuts > 300);
  assert.equal(cutBeforeSpace('word'), 0);
  assert.equal(cutBeforeSpace('   '), 0);
  assert.equal(cutBeforeSpace('one two three'), 7);
});

test('a word kept for later is a copy', () => {
  assert.equal(ownString(' naïve😀'), ' naïve😀');
});
