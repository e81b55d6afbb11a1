/** Sampling against a slow and plain reading of its definition, its statistics, and its edges. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CheckpointError, ConfigError } from '../../src/errors.js';
import { Candidates } from '../../src/generate/candidates.js';
import { logprobsOf } from '../../src/generate/logprobs.js';
import { Sampler, type SamplingOptions } from '../../src/generate/sampler.js';
import { hashWords, normal, uniform } from '../../src/random.js';

interface Candidate {
  readonly id: number;
  readonly score: number;
  readonly weight: number;
}

/** The candidates that are left, in order of their ids, by sorting everything. */
function plainly(
  logits: Float32Array,
  options: SamplingOptions,
  prompt: readonly number[],
  made: readonly number[],
): Candidate[] {
  const { temperature = 1, topK, topP, minP = 0, logitBias = {} } = options;
  const { repetitionPenalty = 1, frequencyPenalty = 0, presencePenalty = 0 } = options;
  const scores = Array.from(logits, (logit, id) => {
    const biased = Math.fround(logit + (logitBias[id] ?? 0));
    const seen = prompt.includes(id) || made.includes(id);
    const repeated = !seen ? biased : biased > 0 ? biased / repetitionPenalty : biased * repetitionPenalty;
    const count = made.filter((other) => other === id).length;
    return Math.fround(repeated - count * frequencyPenalty - (count > 0 ? presencePenalty : 0));
  });
  const max = scores.reduce((a, b) => Math.max(a, b));
  let left = scores.map((score, id) => ({ id, score, weight: Math.exp((score - max) / temperature) }));
  left.sort((a, b) => b.score - a.score || a.id - b.id);
  if (topK !== undefined) left = left.slice(0, topK);
  if (topP !== undefined && topP < 1) {
    const total = left.reduce((sum, { weight }) => sum + weight, 0);
    let reached = 0;
    left = left.filter(({ weight }) => {
      const taken = reached < topP * total;
      reached += weight;
      return taken;
    });
  }
  return left.filter(({ weight }) => weight >= minP).sort((a, b) => a.id - b.id);
}

/** The candidate that arrives first, each after an exponential time of its weight's rate. */
function arrivesFirst(left: readonly Candidate[], seed: number, position: number): number {
  const [a, b] = [hashWords(seed, position, 0), hashWords(seed, position, 1)];
  const times = left.map(({ id, weight }) => ({ id, time: -Math.log(uniform(a, b, id)) / weight }));
  return times.reduce((first, other) => (other.time < first.time ? other : first)).id;
}

const logitsOf = (seed: number, V: number, std: number) =>
  Float32Array.from(normal(seed, 'logits', V, std).subarray(0, V));

const settings: readonly SamplingOptions[] = [
  {},
  { temperature: 0.3 },
  { temperature: 2.5, topK: 7 },
  { topK: 1 },
  { topP: 0.9 },
  { topP: 0.05, temperature: 0.8 },
  { minP: 0.1 },
  { minP: 1 },
  { topK: 20, topP: 0.7, minP: 0.2, temperature: 1.4 },
  { repetitionPenalty: 1.8 },
  { repetitionPenalty: 0.5, topK: 5 },
  { frequencyPenalty: 0.7, presencePenalty: -0.4 },
  { logitBias: { 0: 3, 1: Number.NEGATIVE_INFINITY, 2: -1.5 } },
  {
    ...{ temperature: 0.7, topK: 30, topP: 0.95, minP: 0.02, repetitionPenalty: 1.3 },
    ...{ frequencyPenalty: 0.2, presencePenalty: 0.1, logitBias: { 3: 2 } },
  },
];

test('every draw is the one of the plain definition, whatever the options, ties included', () => {
  for (const [n, options] of settings.entries()) {
    for (const V of [5, 37, 600]) {
      const prompt = [1, 4, 4, 2];
      const made: number[] = [];
      const sampler = new Sampler({ ...options, seed: n }, prompt, new Candidates(V));
      for (let position = 0; position < 40; position++) {
        const logits = logitsOf(100 * n + position, V, 3);
        // Every third time scores coincide, and 0 comes with both signs.
        if (position % 3 === 0) for (let i = 0; i < V; i++) logits[i] = Math.round(logits[i]);
        const id = sampler.draw(logits, position);
        const left = plainly(logits, options, prompt, made);
        assert.equal(id, arrivesFirst(left, n, position), `${JSON.stringify(options)}, V ${V}`);
        // A token that is taken back has never been there.
        const back = [id, 3].map((other) => sampler.take(other));
        for (const undo of back.reverse()) undo();
        sampler.take(id);
        made.push(id);
      }
    }
  }
});

test('a vocabulary of GPT-2’s size, on one set of candidates in turns', () => {
  const V = 50_257;
  const candidates = new Candidates(V);
  const options = settings.map((setting, n) => ({ ...setting, seed: n }));
  const samplers = options.map((option) => new Sampler(option, [9], candidates));
  const made: number[][] = options.map(() => []);
  for (let position = 1; position < 4; position++) {
    const logits = logitsOf(position, V, 4).map((x) => x - 60);
    for (const [n, sampler] of samplers.entries()) {
      const left = plainly(logits, options[n], [9], made[n]);
      const id = sampler.draw(logits, position);
      assert.equal(id, arrivesFirst(left, n, position), JSON.stringify(options[n]));
      sampler.take(id);
      made[n].push(id);
    }
  }
});

test('temperature 0 takes the highest score after bias and penalties, the lower id of two', () => {
  const draw = (options: SamplingOptions, prompt: number[] = []) =>
    new Sampler({ temperature: 0, ...options }, prompt, new Candidates(4)).draw(
      Float32Array.of(1, 3, 3, 2),
      0,
    );
  assert.equal(draw({}), 1);
  assert.equal(draw({ logitBias: { 3: 1.5 } }), 3);
  assert.equal(draw({ repetitionPenalty: 2 }, [1, 2]), 3);
  const sampler = new Sampler({ temperature: 0, presencePenalty: 2 }, [1], new Candidates(4));
  const drawn = [0, 1, 2, 3].map((position) => {
    const id = sampler.draw(Float32Array.of(1, 3, 3, 2), position);
    sampler.take(id);
    return id;
  });
  assert.deepEqual(drawn, [1, 2, 3, 0], 'each once, the prompt not counting');
});

/** Pearson's χ² of counts against probabilities. */
function chiSquare(counts: readonly number[], probabilities: readonly number[]): number {
  const n = counts.reduce((a, b) => a + b);
  return probabilities.reduce((sum, p, i) => {
    if (p === 0) {
      assert.equal(counts[i], 0, `${i} must not come`);
      return sum;
    }
    return sum + (counts[i] - n * p) ** 2 / (n * p);
  }, 0);
}

test('tokens come as often as their probabilities say', () => {
  const logits = Float32Array.of(0.5, -1, 2, 1.2, -0.3, 0, -2.5, 1);
  for (const [n, options] of settings.entries()) {
    const { repetitionPenalty = 1, frequencyPenalty = 0 } = options;
    if (repetitionPenalty !== 1 || frequencyPenalty !== 0) continue;
    const counts = new Array<number>(logits.length).fill(0);
    const sampler = new Sampler({ ...options, seed: 11 + n }, [], new Candidates(logits.length));
    for (let position = 0; position < 20_000; position++) counts[sampler.draw(logits, position)]++;
    const probabilities = new Array<number>(logits.length).fill(0);
    const left = plainly(logits, options, [], []);
    const total = left.reduce((sum, { weight }) => sum + weight, 0);
    for (const { id, weight } of left) probabilities[id] = weight / total;
    // One in a thousand is beyond 24.3 with 7 degrees of freedom, fewer with fewer.
    const found = chiSquare(counts, probabilities);
    assert.ok(found < 24.3, `${JSON.stringify(options)}: χ² ${found}`);
  }
});

test('seeds and positions draw independently of each other', () => {
  const flat = new Float32Array(4);
  const pairs = new Array<number>(16).fill(0);
  for (let seed = 0; seed < 4000; seed++) {
    const sampler = new Sampler({ seed }, [], new Candidates(4));
    pairs[4 * sampler.draw(flat, 7) + sampler.draw(flat, 8)]++;
  }
  const found = chiSquare(pairs, new Array<number>(16).fill(1 / 16));
  assert.ok(found < 37.7, `χ² ${found} with 15 degrees of freedom`);
  const again = (options: SamplingOptions) => new Sampler(options, [], new Candidates(4)).draw(flat, 3);
  assert.equal(again({}), again({ seed: 1337 }));
});

test('every bit of a seed and its sign count, and seeds of 32 bits draw what they always drew', () => {
  const seeds = [0, 1].flatMap((low) => [0, 1, 2 ** 10, -1, -(2 ** 20)].map((high) => low + high * 2 ** 32));
  assert.equal(new Set(seeds.map((seed) => hashWords(seed, 5, 1))).size, seeds.length);
  assert.notEqual(hashWords(-1, 5), hashWords(2 ** 32 - 1, 5));
  assert.deepEqual([hashWords(1337, 5, 1), hashWords(2 ** 32 - 1, 7)], [3585999706, 2987799031]);
});

test('edges: a tiny temperature, k beyond the vocabulary, p = 1, one token, tokens out of reach', () => {
  const logits = logitsOf(5, 50, 2);
  const best = logits.indexOf(Math.max(...logits));
  const draws = (options: SamplingOptions, from = logits) =>
    Array.from({ length: 200 }, (_, i) =>
      new Sampler(options, [], new Candidates(from.length)).draw(from, i),
    );
  assert.deepEqual(new Set(draws({ temperature: 1e-6 })), new Set([best]));
  assert.deepEqual(new Set(draws({ temperature: 5e-324 })), new Set([best]));
  assert.deepEqual(new Set(draws({ minP: 1 })), new Set([best]));
  assert.deepEqual(new Set(draws({ minP: 1 }, Float32Array.of(2, 1, 2))), new Set([0, 2]));
  assert.deepEqual(draws({ topK: 1000 }), draws({}));
  assert.deepEqual(draws({ topP: 1 }), draws({}));
  assert.deepEqual(draws({ minP: 0 }), draws({}));
  assert.deepEqual(new Set(draws({ topP: 1e-9 })), new Set([best]));
  assert.deepEqual(new Set(draws({}, Float32Array.of(-7))), new Set([0]));
  assert.deepEqual(
    new Set(draws({ topP: 0.5 }, new Float32Array(4))),
    new Set([0, 1]),
    'ties: the lower ids',
  );
  assert.deepEqual(new Set(draws({ topK: 3 }, new Float32Array(4))), new Set([0, 1, 2]));
  assert.deepEqual(new Set(draws({ topK: 1 }, Float32Array.of(-1, -0, 0))), new Set([1]), '−0 is 0');
  const far = Float32Array.of(0, -300, -1000, Number.NEGATIVE_INFINITY, 0);
  assert.deepEqual(new Set(draws({ topK: 4 }, far)), new Set([0, 4]));
  const only = { logitBias: Object.fromEntries([0, 1, 3, 4].map((id) => [id, Number.NEGATIVE_INFINITY])) };
  assert.deepEqual(new Set(draws(only, far)), new Set([2]), 'a bias of −∞ leaves the one that is not banned');
});

test('logits that are not finite, and a bias that bans everything, are refused', () => {
  const draw = (logits: Float32Array, options: SamplingOptions = {}) =>
    new Sampler(options, [], new Candidates(logits.length)).draw(logits, 0);
  const diverged = /^logits: must be finite, got NaN; the model has diverged$/;
  for (const options of [{}, { temperature: 0 }, { topK: 2 }, { logitBias: { 0: 1 } }]) {
    for (const at of [0, 1, 2]) {
      const logits = Float32Array.of(1, 2, 3);
      logits[at] = Number.NaN;
      assert.throws(() => draw(logits, options), refusal(CheckpointError, diverged));
    }
  }
  const infinite = Float32Array.of(0, Number.POSITIVE_INFINITY);
  assert.throws(() => draw(infinite), refusal(CheckpointError, /^logits: must be finite, got Infinity/));
  const none = { 0: Number.NEGATIVE_INFINITY, 1: Number.NEGATIVE_INFINITY };
  assert.throws(
    () => draw(Float32Array.of(1, 2), { logitBias: none }),
    refusal(ConfigError, /^logitBias: must leave a token that may come$/),
  );
});

test('options out of range are refused by name', () => {
  const wrong: [SamplingOptions, RegExp][] = [
    [{ temperature: -1 }, /^temperature: must be at least 0, got -1$/],
    [{ temperature: Number.NaN }, /^temperature: must be at least 0, got NaN$/],
    [{ topK: 0 }, /^topK: must be a whole number of at least 1, got 0$/],
    [{ topK: 1.5 }, /^topK: must be a whole number of at least 1, got 1\.5$/],
    [{ topP: 0 }, /^topP: must lie in \(0, 1\], got 0$/],
    [{ topP: 1.1 }, /^topP: must lie in \(0, 1\], got 1\.1$/],
    [{ minP: -0.1 }, /^minP: must lie in \[0, 1\], got -0\.1$/],
    [{ repetitionPenalty: 0 }, /^repetitionPenalty: must be above 0, got 0$/],
    [{ frequencyPenalty: Number.POSITIVE_INFINITY }, /^frequencyPenalty: must be finite, got Infinity$/],
    [{ presencePenalty: Number.NaN }, /^presencePenalty: must be finite, got NaN$/],
    [{ seed: 0.5 }, /^seed: must be a whole number within ±\(2⁵³ − 1\), got 0\.5$/],
    [{ seed: 2 ** 53 }, /^seed: must be a whole number within /],
    [{ logitBias: { 3: 1 } }, /^logitBias: must be for token ids from 0 to 2, got '3'$/],
    [
      { logitBias: { 1: Number.POSITIVE_INFINITY } },
      /^logitBias\[1\]: must be finite, or −Infinity for never/,
    ],
    [{ logitBias: { 1: Number.NaN } }, /^logitBias\[1\]: must be finite, or −Infinity for never, got NaN$/],
  ];
  for (const [options, message] of wrong) {
    assert.throws(() => new Sampler(options, [], new Candidates(3)), refusal(ConfigError, message));
  }
});

test('log-probabilities are log softmax, and the most probable tokens come in order', () => {
  for (const V of [3, 300, 50_257]) {
    const candidates = new Candidates(V);
    const logits = logitsOf(V, V, 5);
    logits[V - 1] = logits[0];
    const max = logits.reduce((a, b) => Math.max(a, b));
    const lse = max + Math.log(logits.reduce((sum, x) => sum + Math.exp(x - max), 0));
    const sorted = Array.from(logits.keys()).sort((a, b) => logits[b] - logits[a] || a - b);
    for (const k of [0, 1, 5, V]) {
      const id = Math.floor(uniform(1, k, V) * V);
      const { logprob, top } = logprobsOf(logits, id, k, candidates);
      assert.ok(Math.abs(logprob - (logits[id] - lse)) < 1e-10, `${logprob} against ${logits[id] - lse}`);
      assert.deepEqual(
        top.map((one) => one.id),
        sorted.slice(0, k),
      );
      for (const one of top) assert.ok(Math.abs(one.logprob - (logits[one.id] - lse)) < 1e-10);
    }
  }
  const peaked = logprobsOf(Float32Array.of(-500, 0, -800), 2, 3, new Candidates(3));
  assert.equal(peaked.logprob, -800);
  assert.deepEqual(
    peaked.top.map(({ id }) => id),
    [1, 0, 2],
    'also those that could never be drawn',
  );
});

const refusal = (type: new (...args: never[]) => Error, message: RegExp) => (error: unknown) => {
  assert.ok(error instanceof type, String(error));
  assert.match(error.message, message);
  return true;
};
