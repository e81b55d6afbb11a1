/** Marks between documents, wherever a text is cut. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { countMarks, splitOn } from '../../../src/data/corpus/marks.js';

async function* cut(text: string, length: number): AsyncGenerator<string> {
  for (let at = 0; at < text.length; at += length) yield text.slice(at, at + length);
}

async function collect(texts: AsyncIterable<string>): Promise<string[]> {
  const all: string[] = [];
  for await (const text of texts) all.push(text);
  return all;
}

test('texts are parted at each mark and keep all else, however they come', async () => {
  for (const [text, mark] of [
    ['one\n<|end|>\ntwo <|end<|end|><|end|>\n', '<|end|>'],
    ['<|end|>one<|end|>', '<|end|>'],
    ['none of them <|end', '<|end|>'],
    ['a\nb\n\nc', '\n'],
    ['aaaaa', 'aa'],
    ['one\r\n\r\ntwo\r\n\r\n\r\nthree', '\r\n\r\n'],
  ]) {
    for (const length of [1, 2, 3, 5, 100]) {
      const parts = await collect(splitOn(cut(text, length), mark, 'x', 1000));
      assert.deepEqual(parts, text.split(mark), `${JSON.stringify(text)} in pieces of ${length}`);
      let times = 0;
      const passed = countMarks(cut(text, length), mark, (found) => {
        times += found;
      });
      assert.equal((await collect(passed)).join(''), text);
      assert.equal(times, text.split(mark).length - 1);
    }
  }
});

test('a document that would not end is refused', async () => {
  await assert.rejects(collect(splitOn(cut('x'.repeat(100), 9), '--', 'x.txt', 50)), {
    name: 'DataError',
    message: /^x\.txt: must have at most 50 characters between two marks, got 53; leave --split-on out/,
  });
});
