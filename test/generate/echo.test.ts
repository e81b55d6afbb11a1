/** Prompts that are told with their log-probabilities: those of the whole sequence, whatever is shared and batched. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NativeBackend } from '../../src/backend/native/native.js';
import { scoreBatch } from '../../src/evaluate/evaluation.js';
import { Decoder } from '../../src/generate/decoder.js';
import { Engine } from '../../src/generate/engine.js';
import type { GeneratedToken, GenerationRequest } from '../../src/generate/request.js';
import { nodeClock } from '../../src/node/store.js';
import { hashWords } from '../../src/random.js';
import { BytesTokenizer } from '../../src/tokenizer/bytes.js';
import { onEngine } from '../engines.js';
import { answer, CountingDecoder, randomModel } from './helpers.js';

const tokenizer = new BytesTokenizer();
const PASSAGE = 60;

const systems: Record<string, Record<string, unknown>> = {
  gpt2: { depth: 'gpt2', nLayer: 2 },
  loop: { depth: 'loop', nLayer: 3, nLoop: 3, nPrelude: 1, nCoda: 1 },
  'loop, confidence, separate heads': {
    depth: 'loop',
    nLoop: 3,
    halting: 'confidence',
    exitHead: 'separate',
  },
  'universal, ACT': { depth: 'universal', nLoop: 3, halting: 'act' },
  'adaptive, sequence': { depth: 'adaptive', nLayer: 3, halting: 'sequence' },
  'loop, last-loop keys': { depth: 'loop', nLayer: 2, nLoop: 3, kvSharing: 'last-loop' },
};

const ids = (seed: number, length: number) => Array.from({ length }, (_, i) => hashWords(seed, i) % 257);

/** What each token of a prompt costs, computed over the whole sequence. */
async function lossesOf(model: ReturnType<typeof randomModel>, prompt: readonly number[]) {
  const tokens = Int32Array.from(prompt.slice(0, -1));
  const targets = Int32Array.from(prompt.slice(1));
  const { losses, wrong } = await scoreBatch(model, { tokens, targets, B: 1 }, { findWrong: true });
  return { losses: Array.from(losses), wrong: Array.from(wrong!) };
}

for (const [name, config] of Object.entries(systems)) {
  test(`${name}: answers to several passages, together, score as each whole sequence does`, async () => {
    const model = randomModel({ ...config, blockSize: 128 }, onEngine(new NativeBackend('f32')));
    const decoder = new CountingDecoder(model);
    const engine = new Engine(decoder, tokenizer, nodeClock, { maxSequences: 8, prefillChunk: 30 });
    const prompts = [0, 1, 2].flatMap((passage) =>
      [0, 1, 2, 3].map((choice) => [...ids(passage, PASSAGE), choice, ...ids(100 + 4 * passage + choice, 6)]),
    );
    const ask = (prompt: readonly number[], more: Partial<GenerationRequest>) =>
      answer(engine, { prompt, maxTokens: 0, topLogprobs: 1, echo: PASSAGE, ...more });
    const scored = await Promise.all(prompts.map((prompt) => ask(prompt, {})));
    const read = decoder.stepSizes.flat().reduce((sum, n) => sum + n, 0);
    const apart = prompts.length * (PASSAGE + 6);
    const shared = 3 * (PASSAGE - 1) + prompts.length * 7;
    assert.equal(read, decoder.divisible ? shared : apart, 'tokens read');
    for (const [p, { tokens, end }] of scored.entries()) {
      const { losses, wrong } = await lossesOf(model, prompts[p]);
      assert.deepEqual(
        tokens.map(({ id }) => id),
        prompts[p].slice(PASSAGE),
      );
      assert.deepEqual(
        tokens.map(({ logprob }) => logprob),
        losses.slice(PASSAGE - 1).map((loss) => -loss),
      );
      assert.deepEqual(
        tokens.map(({ id, top }) => Number(top![0].id !== id)),
        wrong.slice(PASSAGE - 1),
      );
      assert.ok(tokens.every(({ echoed, steps }) => echoed && steps === 0));
      assert.deepEqual([end.reason, end.tokens, end.promptTokens], ['tokens', 0, prompts[p].length]);
    }
    // The whole prompt, and what follows it: as the answer without echo, and alone as in company.
    const whole = await Promise.all(
      prompts.slice(0, 4).map((prompt) => ask(prompt, { echo: 0, maxTokens: 3, seed: 1 })),
    );
    for (const [p, { tokens }] of whole.entries()) {
      const { losses } = await lossesOf(model, prompts[p]);
      assert.deepEqual(
        tokens.slice(0, prompts[p].length).map(({ logprob }) => logprob),
        [null, ...losses.map((loss) => -loss)],
      );
      const alone = new Engine(new Decoder(model), tokenizer, nodeClock);
      const plain = await answer(alone, { prompt: prompts[p], maxTokens: 3, seed: 1, topLogprobs: 1 });
      // A prompt of random bytes may end within a character.
      const untold = (token: GeneratedToken) => ({ ...token, text: '' });
      assert.deepEqual(tokens.slice(prompts[p].length).map(untold), plain.tokens.map(untold));
    }
    assert.equal(decoder.cache.used, 0);
    assert.equal(model.runtime.pool.live, 0);
  });
}

test('several of the most probable tokens are told, in falling order, the best being the one told alone', async () => {
  const model = randomModel({ blockSize: 64 });
  const engine = new Engine(new Decoder(model), tokenizer, nodeClock);
  const ask = (topLogprobs: number) =>
    answer(engine, { prompt: ids(5, 20), maxTokens: 0, topLogprobs, echo: 0 });
  const [one, five] = [await ask(1), await ask(5)];
  assert.equal(five.tokens[0].top, null);
  for (const [i, { top, logprob }] of five.tokens.slice(1).entries()) {
    const told = top!.map((best) => best.logprob);
    assert.deepEqual(
      told,
      told.toSorted((a, b) => b - a),
    );
    assert.equal(told.length, 5);
    const other = one.tokens[i + 1];
    assert.equal(top![0].id, other.top![0].id);
    assert.ok(Math.abs(told[0] - other.top![0].logprob) < 1e-5);
    assert.ok(Math.abs(logprob! - other.logprob!) < 1e-5);
  }
});

test('text that is told goes on into what is made; nothing is read where nothing is asked', async () => {
  const model = randomModel({ blockSize: 64 });
  const decoder = new CountingDecoder(model);
  const engine = new Engine(decoder, tokenizer, nodeClock);
  const prompt = [...Buffer.from('né')];
  const nothing = await answer(engine, { prompt, maxTokens: 0, echo: 0 });
  assert.deepEqual([nothing.text, nothing.end.reason, decoder.stepSizes.length], ['né', 'tokens', 0]);
  assert.ok(nothing.tokens.every(({ logprob, top }) => logprob === null && top === null));
  const single = await answer(engine, { prompt: [65], maxTokens: 0, echo: 0, topLogprobs: 1 });
  assert.deepEqual([single.text, single.tokens[0].logprob, decoder.stepSizes.length], ['A', null, 0]);
  assert.deepEqual((await answer(engine, { prompt, maxTokens: 0 })).tokens, []);
  // The prompt ends within a character, which the answer completes.
  const bias = { [prompt[2]]: 100 };
  const cut = await answer(engine, { prompt: prompt.slice(0, 2), maxTokens: 1, echo: 0, logitBias: bias });
  assert.equal(cut.text, 'né');
  // A stop text that the prompt has does not end the answer.
  const stopped = await answer(engine, {
    prompt,
    maxTokens: 2,
    echo: 0,
    stop: ['n'],
    logitBias: { 65: 100 },
  });
  assert.deepEqual([stopped.text, stopped.end.tokens], ['néAA', 2]);
});
