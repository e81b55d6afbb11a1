import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hashWords } from '../../src/random.js';
import { MergeTable } from '../../src/tokenizer/merges.js';

/** The rule, word for word. */
function merged(word: readonly number[], merges: readonly (readonly [number, number, number])[]): number[] {
  const ids = [...word];
  for (;;) {
    let [best, at] = [merges.length, 0];
    for (let i = 0; i + 1 < ids.length; i++) {
      const rank = merges.findIndex(([left, right]) => left === ids[i] && right === ids[i + 1]);
      if (rank >= 0 && rank < best) [best, at] = [rank, i];
    }
    if (best === merges.length) return ids;
    ids.splice(at, 2, merges[best][2]);
  }
}

test('short and long words are merged by the rule, in place', () => {
  const below = (end: number, ...key: number[]) => hashWords(7, ...key) % end;
  for (let n = 0; n < 12; n++) {
    // Ids at both ends of 16 bits; results are ids that merge further.
    const alphabet = [
      0,
      1,
      2,
      0x7fff,
      0x8000,
      0xfffe,
      0xffff,
      ...Array.from({ length: 25 }, (_, i) => 300 + i),
    ];
    const table = new MergeTable();
    const merges: [number, number, number][] = [];
    for (let i = 0; i < 300; i++) {
      const [left, right, result] = [0, 1, 2].map((part) => alphabet[below(alphabet.length, n, i, part)]);
      if (!merges.some(([a, b]) => a === left && b === right)) merges.push([left, right, result]);
      table.add(left, right, result);
    }
    assert.equal(table.size, merges.length);
    for (const length of [1, 2, 3, 5, 30, 127, 128, 129, 200]) {
      const word = Array.from({ length }, (_, i) => alphabet[below(alphabet.length, n, length, i, 3)]);
      const ids = Uint16Array.from([5, 6, ...word, 7]);
      const end = table.apply(ids, 2, 2 + length);
      assert.deepEqual([...ids.subarray(2, end)], merged(word, merges));
      assert.deepEqual([ids[0], ids[1], ids[2 + length]], [5, 6, 7]);
    }
  }
});
