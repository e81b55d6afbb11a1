import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openSource } from '../../src/data/corpus/corpora.js';
import {
  checkValFraction,
  defaultValFraction,
  Drawing,
  HoldOut,
  SizeCensus,
  type Split,
} from '../../src/data/holdout.js';
import { noWarnings } from '../../src/data/corpus/source.js';
import { hashWords, uniform } from '../../src/random.js';

const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);

function measure(sizes: readonly number[], seed: number, fraction: number): HoldOut {
  const census = new SizeCensus(seed);
  for (const bytes of sizes) census.add(bytes);
  return HoldOut.measured(census, fraction);
}

/** Where each document goes; a cut one to neither split. */
function draw(rule: HoldOut, sizes: readonly number[]): (Split | 'cut')[] {
  const drawing = new Drawing(rule);
  return sizes.map((bytes, index) => (index === rule.cut?.index ? 'cut' : drawing.next(index, bytes)));
}

/** Bytes in each split. */
function bytesOf(rule: HoldOut, sizes: readonly number[]): Record<Split, number> {
  const bytes = { train: 0, val: 0 };
  for (const [i, split] of draw(rule, sizes).entries()) {
    if (split !== 'cut') bytes[split] += sizes[i];
    else {
      bytes.train += rule.cut!.bytes;
      bytes.val += sizes[i] - rule.cut!.bytes;
    }
  }
  return bytes;
}

/** Sizes of documents as corpora have them, and as they should not. */
const CORPORA: Record<string, (n: number, i: number) => number> = {
  equal: () => 1000,
  'all short': (_, i) => 5 + (i % 7),
  'of all sizes': (_, i) => Math.ceil(100 * Math.exp(2.5 * (uniform(1, 2, i) + uniform(1, 3, i) - 1))),
  'with a long tail': (_, i) => Math.ceil(50 / uniform(4, 5, i)),
  'one huge, first': (n, i) => (i === 0 ? 1000 * n : 1000),
  'one huge, last': (n, i) => (i === n - 1 ? 100 * n : 10),
  'half of it one': (n, i) => (i === 1 ? 20 * n : 20),
  'two large': (n, i) => (i < 2 ? 500 * n : 100),
  'long at the end': (n, i) => (i < 0.9 * n ? 10 : 1000),
  'mostly empty': (_, i) => (i % 3 === 1 ? 5000 : 0),
};

test('between 0.7 and 1.45 of the share is held out, whatever the seed and the sizes', () => {
  for (const [name, size] of Object.entries(CORPORA)) {
    for (const n of [2, 3, 7, 20, 100, 1500]) {
      const sizes = Array.from({ length: n }, (_, i) => size(n, i));
      for (const fraction of [0.001, 0.03, 0.1, 0.25, 0.5, 0.6, 0.61, 0.8, 0.97]) {
        for (let seed = 0; seed < 15; seed++) {
          const rule = measure(sizes, seed, fraction);
          const { train, val } = bytesOf(rule, sizes);
          const share = val / (train + val);
          const where = `${name}, ${n} documents, seed ${seed}: ${share} for ${fraction}`;
          // A cut is between bytes.
          const byte = 1 / (train + val);
          assert.ok(share >= 0.7 * fraction - byte && share <= 1.45 * fraction + byte, where);
          assert.ok(train > 0 && val > 0, where);
          if (name === 'equal' && Math.min(fraction, 1 - fraction) * n >= 1)
            assert.equal(rule.unit, 'documents', where);
        }
      }
    }
  }
});

test('of a small and a large file, the large one is cut, near its end', () => {
  for (let seed = 0; seed < 10; seed++) {
    const rule = measure([1000, 1_000_000], seed, 0.1);
    assert.deepEqual(rule.cut, { index: 1, bytes: 1_000_000 - 100_100 });
    assert.equal(rule.unit, 'tail');
  }
  assert.deepEqual(measure([10_000], 1, 0.3).cut, { index: 0, bytes: 7000 });
  assert.deepEqual(measure([10_000], 1, 1e-9).cut, { index: 0, bytes: 9999 });
  assert.deepEqual(measure([10_000], 1, 1 - 1e-9).cut, { index: 0, bytes: 1 });
});

test('of documents too short to be cut, one is held out whole', () => {
  for (let seed = 0; seed < 10; seed++) {
    const splits = draw(measure([1, 4, 0, 4], seed, 0.1), [1, 4, 0, 4]);
    assert.deepEqual(splits.toSorted(), ['train', 'train', 'train', 'val']);
  }
});

test('a single whole document is held out where it has the size, and another seed may choose another', () => {
  const sizes = Array<number>(8).fill(50_000);
  const chosen = Array.from({ length: 30 }, (_, seed) => {
    const splits = draw(measure(sizes, seed, 0.1), sizes);
    assert.equal(splits.filter((split) => split === 'val').length, 1);
    return splits.indexOf('val');
  });
  assert.ok(new Set(chosen).size > 3);
});

test('chance decides, unless it strays', () => {
  const sizes = Array.from({ length: 20_000 }, (_, i) => CORPORA['of all sizes'](20_000, i));
  for (const seed of [1, 2357]) {
    const splits = draw(measure(sizes, seed, 0.1), sizes);
    const expected = sizes.map((_, i) => (hashWords(seed, i) / 2 ** 32 < 0.1 ? 'val' : 'train'));
    assert.deepEqual(splits, expected);
  }
  const few = sizes.slice(0, 60);
  const shares = Array.from({ length: 200 }, (_, seed) => {
    const { train, val } = bytesOf(measure(few, seed, 0.1), few);
    return val / (train + val);
  });
  assert.ok(Math.abs(sum(shares) / shares.length - 0.1) < 0.01, 'no document is preferred for its size');
});

test("the demo's speeches keep the split that the README's losses were measured on", async () => {
  const sizes: number[] = [];
  for await (const { pieces } of (await openSource('sotu')).documents(noWarnings())) {
    let bytes = 0;
    for await (const piece of pieces()) bytes += Buffer.byteLength(piece);
    sizes.push(bytes);
  }
  const fraction = defaultValFraction(sum(sizes));
  assert.equal(fraction, 0.1);
  const held = draw(measure(sizes, 2357, fraction), sizes).flatMap((split, i) =>
    split === 'val' ? [i] : [],
  );
  const expected = [
    8, 17, 66, 83, 102, 105, 111, 112, 127, 128, 133, 157, 161, 180, 199, 203, 206, 208, 228, 229,
  ];
  assert.deepEqual(held, expected);
});

test('without a first pass the share is kept too, also where the bytes were estimated wrongly', () => {
  for (const name of ['equal', 'of all sizes', 'with a long tail', 'long at the end']) {
    const n = 50_000;
    const sizes = Array.from({ length: n }, (_, i) => CORPORA[name](n, i));
    const bytes = sum(sizes);
    for (const estimate of [bytes, 0.4 * bytes, 1.5 * bytes]) {
      for (const fraction of [0.001, 0.02, 0.9]) {
        for (const seed of [1, 2, 2357]) {
          const rule = HoldOut.estimated(n, estimate, seed, fraction);
          const found = bytesOf(rule, sizes);
          const where = `${name}, ${estimate / bytes}, ${fraction}, seed ${seed}: ${found.val / bytes}`;
          assert.ok(found.val >= 0.7 * fraction * bytes && found.val <= 1.45 * fraction * bytes, where);
        }
      }
    }
  }
  for (const fraction of [1e-9, 1 - 1e-9]) {
    const { train, val } = bytesOf(HoldOut.estimated(50, 5000, 1, fraction), Array<number>(50).fill(100));
    assert.equal(Math.min(train, val), 100, 'each split has a document');
  }
});

test('a pass can be taken up anywhere', () => {
  const sizes = Array.from({ length: 3000 }, (_, i) => CORPORA['with a long tail'](3000, i));
  const rule = HoldOut.estimated(3000, sum(sizes), 5, 0.05);
  const whole = draw(rule, sizes);
  for (const start of [1, 500, 2999]) {
    const passed = { train: 0, val: 0 };
    for (const [i, split] of whole.slice(0, start).entries()) passed[split as Split] += sizes[i];
    const drawing = new Drawing(rule, passed);
    const rest = sizes.slice(start).map((bytes, i) => drawing.next(start + i, bytes));
    assert.deepEqual(rest, whole.slice(start));
  }
});

test('by default a tenth, at least what an evaluation reads, and never more than enough', () => {
  for (const [bytes, fraction] of [
    [100, 0.25],
    [40_000, 0.2048],
    [300_000, 0.1],
    [60e6, 0.1],
    [120e6, 0.05],
    [12e9, 0.0005],
    [40e9, 0.0005],
  ]) {
    assert.equal(defaultValFraction(bytes), fraction);
  }
  let before = 0;
  for (let bytes = 10; bytes < 1e12; bytes *= 1.01) {
    const held = bytes * defaultValFraction(bytes);
    assert.ok(held >= before * (1 - 1e-12) && (before === 0 || held < before * 1.011), `${bytes}`);
    before = held;
  }
});

test('an impossible share is refused', () => {
  for (const share of [0, 1, -0.1, Number.NaN]) {
    assert.throws(() => checkValFraction(share), {
      name: 'ConfigError',
      message: `valFraction: the share held out must lie between 0 and 1, got ${share}`,
    });
  }
});
