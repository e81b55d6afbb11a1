import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkValFraction, defaultValFraction, heldOut } from '../../src/data/holdout.js';

const indices = (n: number): number[] => Array.from({ length: n }, (_, i) => i);

test('the held-out documents are a function of seed and index, near the share asked for', () => {
  const first = indices(5000).filter(heldOut(1, 5000, 0.1));
  assert.deepEqual(indices(5000).filter(heldOut(1, 5000, 0.1)), first);
  assert.notDeepEqual(indices(5000).filter(heldOut(2, 5000, 0.1)), first);
  assert.ok(Math.abs(first.length - 500) < 100, String(first.length));
  const more = new Set(indices(5000).filter(heldOut(1, 5000, 0.2)));
  assert.ok(
    first.every((i) => more.has(i)),
    'a larger share only adds',
  );
});

test('both splits have a document, however small the corpus or extreme the share', () => {
  for (let n = 2; n < 30; n++) {
    for (const fraction of [1e-9, 0.1, 0.5, 1 - 1e-9]) {
      for (let seed = 0; seed < 20; seed++) {
        const held = indices(n).filter(heldOut(seed, n, fraction)).length;
        assert.ok(held >= 1 && held < n);
        if (fraction === 1e-9) assert.equal(held, 1);
        if (fraction === 1 - 1e-9) assert.equal(held, n - 1);
      }
    }
  }
});

test('small corpora hold out a tenth, large ones 0.05 %', () => {
  assert.equal(defaultValFraction(233), 0.1);
  assert.equal(defaultValFraction(9_999), 0.1);
  assert.equal(defaultValFraction(10_000), 0.0005);
});

test('an impossible share is refused', () => {
  for (const share of [0, 1, -0.1, Number.NaN]) {
    assert.throws(() => checkValFraction(share), {
      name: 'ConfigError',
      message: `valFraction: the share held out must lie between 0 and 1, got ${share}`,
    });
  }
});
