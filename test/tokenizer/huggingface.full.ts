/**
 * Normalizers, pre-tokenizers and sets of characters on every code point, against Python's. Belongs to the long run.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hashEverywhere, hashMembers, nameOf, readFixture } from './huggingface-fixture.js';

const { everywhere, sets, unassigned } = readFixture();

for (const { settings, hash } of everywhere) {
  test(`every code point: ${nameOf(settings)}`, () => {
    assert.equal(hashEverywhere(settings), hash);
  });
}

// Categories other than those of the table are the engine's, and some characters have changed theirs.
const old = Number.parseInt(process.versions.unicode ?? '0', 10) < 16;
const skip = old && "this Node's Unicode is older than Oniguruma's";
test('the sets that expressions name have the characters that they have in Oniguruma', { skip }, () => {
  for (const { expression, hash } of sets) {
    assert.equal(hashMembers(expression, unassigned), hash, expression);
  }
});
