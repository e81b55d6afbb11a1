/** The engine: answers in a batch are the answers alone, sequences are freed, readers and failures hurt nobody else. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import type { Backend } from '../../src/backend/backend.js';
import { NativeBackend } from '../../src/backend/native/native.js';
import { onEngine, webgpu } from '../engines.js';
import { ReferenceBackend } from '../../src/backend/reference/reference.js';
import { CheckpointError, ConfigError } from '../../src/errors.js';
import { Decoder, type Extension, type Next } from '../../src/generate/decoder.js';
import { Engine } from '../../src/generate/engine.js';
import type { GenerationRequest } from '../../src/generate/request.js';
import { hashWords } from '../../src/random.js';
import { trainBpe } from '../../src/tokenizer/bpe-train.js';
import { BytesTokenizer } from '../../src/tokenizer/bytes.js';
import { tokenizerFromJSON } from '../../src/tokenizer/load.js';
import { SPACED } from '../tokenizer/samples.js';
import { answer, CountingDecoder, randomModel, ScriptedDecoder } from './helpers.js';
import { lastLogits } from '../models/last-logits.js';
import { nodeClock } from '../../src/node/store.js';

const tokenizer = new BytesTokenizer();
const backends: [string, () => Backend][] = [
  ['native', () => onEngine(new NativeBackend('f32'))],
  ['reference', () => onEngine(new ReferenceBackend('f32'))],
];

const systems: Record<string, readonly [config: Record<string, unknown>, loops: readonly number[]]> = {
  gpt2: [{ depth: 'gpt2', nLayer: 2 }, []],
  loop: [{ depth: 'loop', nLayer: 2, nLoop: 3, nPrelude: 1 }, [1, 2, 5]],
  'loop, confidence': [{ depth: 'loop', nLoop: 3, halting: 'confidence' }, [2]],
  'universal, ACT': [{ depth: 'universal', nLoop: 3, halting: 'act' }, [2, 4]],
  'adaptive, geometric': [{ depth: 'adaptive', nLayer: 3, halting: 'geometric' }, [1, 2]],
  sharing: [{ depth: 'sharing', nLayer: 2, nApplication: 4, sharing: 'cycle-rev' }, []],
};

/** A request that differs from the others in whatever it can. */
function requestOf(n: number, loops: readonly number[]): GenerationRequest {
  const random = (end: number, use: number) => hashWords(n, use) % end;
  const styles = [
    { temperature: 0 },
    { temperature: 0.8, topK: 40 },
    { topP: 0.9, repetitionPenalty: 1.3 },
    { minP: 0.02, presencePenalty: 0.5, logitBias: { 65: 2 } },
  ];
  const chosen = random(2, 1) === 0 ? undefined : loops[random(loops.length, 2)];
  return {
    prompt: Array.from({ length: 1 + random(12, 3) }, (_, i) => random(257, 10 + i)),
    maxTokens: 1 + random(10, 4),
    seed: n,
    ...styles[random(styles.length, 5)],
    ...(chosen === undefined ? {} : { loops: chosen }),
    ...(random(2, 6) === 0 ? {} : { topLogprobs: random(4, 7) }),
    ...(random(3, 8) === 0 ? { stop: ['A', 'e', ' '] } : {}),
  };
}

for (const [backendName, backend] of backends) {
  for (const [name, [config, loops]] of Object.entries(systems)) {
    test(`${name} on ${backendName}: with random joins and aborts every answer is the one computed alone`, async () => {
      const model = randomModel(config, backend());
      const decoder = new CountingDecoder(model);
      const engine = new Engine(decoder, tokenizer, nodeClock, { maxSequences: 8, prefillChunk: 5 });
      const requests = Array.from({ length: 24 }, (_, n) => requestOf(n, loops));
      const together = await Promise.all(
        requests.map(async (request, n) => {
          for (let i = hashWords(n, 100) % 12; i > 0; i--) await turn();
          const controller = new AbortController();
          const last = hashWords(n, 101) % 3 === 0 ? hashWords(n, 102) % 4 : Number.POSITIVE_INFINITY;
          if (last === 0) setImmediate(() => controller.abort());
          return answer(engine, request, controller.signal, (made) => made === last && controller.abort());
        }),
      );
      assert.deepEqual(engine.load, { running: 0, waiting: 0 });
      assert.equal(decoder.opened, requests.length);
      assert.equal(decoder.living.size, 0, 'sequences left open');
      assert.ok(Math.max(...decoder.stepSizes.map((sizes) => sizes.length)) >= 6, 'they ran together');
      let aborted = 0;
      for (const [n, request] of requests.entries()) {
        const alone = await answer(new Engine(new Decoder(model), tokenizer, nodeClock), request);
        const { tokens, end } = together[n];
        if (end.reason !== 'aborted') {
          assert.deepEqual(together[n], alone, `request ${n}`);
          continue;
        }
        aborted++;
        assert.deepEqual(tokens, alone.tokens.slice(0, tokens.length), `request ${n}`);
        assert.equal(end.tokens, tokens.length);
      }
      assert.ok(aborted >= 3, `${aborted} aborted`);
      assert.equal(model.runtime.pool.live, 0, 'buffers left over');
    });
  }
}

const sharingPrompts: typeof systems = {
  ...systems,
  'adaptive, sequence': [{ depth: 'adaptive', nLayer: 3, halting: 'sequence' }, []],
  'loop, last-loop keys': [{ depth: 'loop', nLayer: 2, nLoop: 3, kvSharing: 'last-loop' }, []],
};
for (const [name, [config]] of Object.entries(sharingPrompts)) {
  test(`${name}: a prompt that several requests wait for is read once, whichever of them leaves`, async () => {
    const model = randomModel({ ...config, blockSize: 128 });
    const decoder = new CountingDecoder(model);
    const engine = new Engine(decoder, tokenizer, nodeClock, { maxSequences: 8, prefillChunk: 30 });
    const prompt = Array.from({ length: 100 }, (_, i) => hashWords(5, i) % 257);
    const requests = Array.from({ length: 6 }, (_, seed) => ({
      prompt,
      seed,
      maxTokens: seed === 1 ? 1 : 6,
      topLogprobs: 2,
    }));
    const other = { ...requests[0], prompt: [...prompt.slice(0, 99), (prompt[99] + 1) % 257] };
    const leaving = new AbortController();
    const first = answer(engine, requests[0], leaving.signal);
    const rest = Promise.all([...requests.slice(1), other].map((request) => answer(engine, request)));
    await turn();
    await turn();
    leaving.abort();
    assert.equal((await first).end.reason, 'aborted');
    const together = await rest;
    const alone = (request: GenerationRequest) =>
      answer(new Engine(new Decoder(model), tokenizer, nodeClock), request);
    for (const [n, request] of [...requests.slice(1), other].entries()) {
      assert.deepEqual(together[n], await alone(request), `request ${n}`);
    }
    const read = decoder.stepSizes.flat().reduce((sum, n) => sum + n, 0);
    const made = together.reduce((sum, { tokens }) => sum + tokens.length - 1, 0);
    // The first reader's beginning, the second one's whole prompt, and the other prompt: whole where it has no
    // beginning.
    const least = decoder.divisible ? 100 : 200;
    // On a GPU the first one leaves before it has read anything.
    const beginning = webgpu ? 0 : 1;
    assert.ok(
      read - made >= least + beginning && read - made <= 300,
      `${read - made} tokens of prompts were read`,
    );
    assert.equal(decoder.living.size, 0);
    assert.equal(decoder.cache.used, 0);
    assert.equal(model.runtime.pool.live, 0);
  });
}

test('an answer tells its tokens, steps and end', async () => {
  const model = randomModel({ depth: 'loop', nLoop: 3 });
  const engine = new Engine(new Decoder(model), tokenizer, nodeClock);
  const prompt = tokenizer.encode('ab');
  const greedy = { prompt, temperature: 0, maxTokens: 4 };
  const { tokens, end } = await answer(engine, { ...greedy, topLogprobs: 2 });
  assert.deepEqual(
    { ...end, text: '' },
    { reason: 'tokens', text: '', promptTokens: 2, tokens: 4, steps: 12, drafted: 0, accepted: 0 },
  );
  for (const { id, logprob, top, steps } of tokens) {
    assert.deepEqual([top![0], top!.length, steps], [{ id, logprob }, 2, 3]);
  }
  const { logits } = await lastLogits(model, Int32Array.from(prompt), 1);
  const max = Math.max(...logits);
  const lse = max + Math.log(logits.reduce((sum, x) => sum + Math.exp(x - max), 0));
  assert.equal(tokens[0].id, logits.indexOf(max));
  assert.ok(Math.abs(tokens[0].logprob! - (max - lse)) < 1e-10);

  const plain = await answer(engine, { ...greedy, loops: 1 });
  assert.equal(plain.end.steps, 4);
  assert.deepEqual([plain.tokens[0].logprob, plain.tokens[0].top], [null, null]);
  const full = await answer(engine, { ...greedy, maxTokens: 1000, logitBias: { [tokenizer.eot]: -100 } });
  assert.deepEqual(
    [full.end.reason, full.end.tokens],
    ['block size', 31],
    'the last token is made, not read',
  );
});

test('halting models tell the steps of each token', async () => {
  const model = randomModel({ depth: 'loop', nLoop: 4, halting: 'confidence' });
  const engine = new Engine(new Decoder(model), tokenizer, nodeClock);
  const request = { prompt: [1, 2, 3], temperature: 0, maxTokens: 6 };
  const early = await answer(engine, { ...request, exit: { threshold: 0.001 } });
  assert.deepEqual(
    early.tokens.map(({ steps }) => steps),
    early.tokens.map(() => 1),
  );
  assert.equal(early.end.steps, early.tokens.length);
  const late = await answer(engine, { ...request, exit: { threshold: 0.999 } });
  assert.equal(late.end.steps, 4 * late.tokens.length);
});

test('texts: characters whole, stop texts left out, the end of text not told', async () => {
  const model = randomModel({ blockSize: 64 });
  const say = async (text: string, stop: string[], maxTokens = 50) => {
    const script = [0, ...tokenizer.encode(text), tokenizer.eot];
    const engine = new Engine(new ScriptedDecoder(model, script), tokenizer, nodeClock);
    const request = { prompt: [65], temperature: 0, maxTokens, stop };
    const { tokens, end, text: whole } = await answer(engine, request);
    return { pieces: tokens.map((token) => token.text), reason: end.reason, whole, held: end.text, end };
  };
  const wide = await say('é你😀', []);
  assert.deepEqual(wide.pieces, ['', 'é', '', '', '你', '', '', '', '😀']);
  assert.deepEqual([wide.reason, wide.whole, wide.end.tokens], ['end of text', 'é你😀', 9]);
  const stopped = await say('one END two', ['END']);
  assert.deepEqual([stopped.reason, stopped.whole, stopped.end.tokens], ['stop text', 'one ', 7]);
  const inside = await say('ab你好 cd', ['好']);
  assert.deepEqual([inside.reason, inside.whole], ['stop text', 'ab你']);
  const never = await say('one EN', ['END']);
  assert.deepEqual([never.reason, never.whole, never.held], ['end of text', 'one EN', 'EN']);
  const cut = await say('a😀', [], 3);
  assert.deepEqual([cut.reason, cut.whole, cut.held], ['tokens', 'a\ufffd', '\ufffd']);
});

test('after a prompt the first token keeps its space; where a document begins it has none', async () => {
  const spaced = await tokenizerFromJSON(SPACED);
  const model = randomModel({ depth: 'loop', nLoop: 2 });
  const engine = new Engine(new Decoder(model), spaced, nodeClock);
  const time = 5;
  const say = async (prompt: ArrayLike<number>, more: object = {}) => {
    const request = { prompt, temperature: 0, maxTokens: 2, logitBias: { [time]: 100 }, ...more };
    const { tokens, end, text } = await answer(engine, request);
    return { text, pieces: tokens.map((token) => token.text), reason: end.reason };
  };
  const prompt = spaced.encode('Once upon a');
  assert.deepEqual(await say(prompt), { text: ' time time', pieces: [' time', ' time'], reason: 'tokens' });
  assert.equal((await say(prompt, { draft: { loops: 1, tokens: 2 } })).text, ' time time');
  assert.deepEqual(await say(prompt, { stop: [' ti'] }), { text: '', pieces: [''], reason: 'stop text' });
  assert.equal((await say(prompt, { stop: ['time time'] })).text, ' ');
  for (const empty of [[spaced.eot!], [...prompt, spaced.eot!]]) {
    assert.equal((await say(empty)).text, 'time time');
    assert.equal((await say(empty, { stop: ['me time'] })).text, 'ti');
  }
  const together = await Promise.all([say(prompt), say([spaced.eot!]), say(prompt)]);
  assert.deepEqual(
    together.map(({ text }) => text),
    [' time time', 'time time', ' time time'],
  );
});

test('a long prompt comes in pieces, beside tokens of those that run', async () => {
  const decoder = new CountingDecoder(randomModel());
  const engine = new Engine(decoder, tokenizer, nodeClock, { prefillChunk: 4 });
  const bias = { logitBias: { [tokenizer.eot]: -100 } };
  const first = answer(engine, { prompt: [1], maxTokens: 12, ...bias }, undefined, (made) => {
    if (made !== 2) return;
    for (const length of [11, 3])
      void answer(engine, { prompt: new Array(length).fill(2), maxTokens: 2, ...bias });
  });
  await first;
  const sizes = decoder.stepSizes;
  const from = sizes.findIndex((step) => step.length > 1);
  assert.deepEqual(sizes.slice(from, from + 5), [
    [1, 4],
    [1, 4],
    [1, 3, 1],
    [1, 1, 2],
    [1, 1],
  ]);
});

test('who comes first is served first, and no more run than there is room for', async () => {
  const decoder = new CountingDecoder(randomModel());
  const engine = new Engine(decoder, tokenizer, nodeClock, { maxSequences: 2 });
  const bias = { logitBias: { [tokenizer.eot]: -100 } };
  const order: number[] = [];
  const all = [0, 1, 2, 3, 4].map(async (n) => {
    await answer(
      engine,
      { prompt: [n], maxTokens: 3, ...bias },
      undefined,
      (made) => made === 1 && order.push(n),
    );
  });
  await turn();
  assert.deepEqual(engine.load, { running: 2, waiting: 3 });
  await Promise.all(all);
  assert.deepEqual(order, [0, 1, 2, 3, 4]);
  assert.equal(Math.max(...decoder.stepSizes.map((step) => step.length)), 2);
});

test('requests whose keys and values would not fit together wait for each other, and one that never fits is refused', async () => {
  const model = randomModel({ depth: 'loop', nLoop: 3, blockSize: 300 });
  const decoder = new CountingDecoder(model);
  const page = decoder.cacheBytes(1, { loops: 1 });
  assert.equal(decoder.cacheBytes(129, {}), 2 * 3 * page);
  const engine = new Engine(decoder, tokenizer, nodeClock, { maxCacheBytes: 7 * page });
  const bias = { logitBias: { [tokenizer.eot]: -100 } };
  const request = { prompt: [1, 2, 3], maxTokens: 9, ...bias };
  const all = [{ loops: 2 }, { loops: 3 }, { loops: 3 }, { loops: 1 }].map((more) =>
    answer(engine, { ...request, ...more }),
  );
  await turn();
  assert.deepEqual(engine.load, { running: 2, waiting: 2 }, 'pages 2 + 3, then 3 + 1');
  await Promise.all(all);
  assert.equal(Math.max(...decoder.stepSizes.map((step) => step.length)), 2);
  await answer(engine, { ...request, maxTokens: 297, loops: 2 });
  await assert.rejects(
    answer(engine, { ...request, maxTokens: 297 }),
    /request: must need at most 0 MiB of keys and values, got '0 MiB'; ask for fewer tokens or loops/,
  );
});

test('a reader that is slow or leaves holds up nobody', async () => {
  const decoder = new CountingDecoder(randomModel());
  const engine = new Engine(decoder, tokenizer, nodeClock);
  const request = { prompt: [1, 2], maxTokens: 20, logitBias: { [tokenizer.eot]: -100 } };
  const slow = engine.generate(request);
  await slow.next();
  const other = await answer(engine, request);
  assert.equal(other.end.tokens, 20);
  assert.deepEqual(engine.load, { running: 0, waiting: 0 }, 'the slow one is done too');
  const rest: unknown[] = [];
  let next = await slow.next();
  for (; !next.done; next = await slow.next()) rest.push(next.value);
  assert.deepEqual(rest, other.tokens.slice(1));

  const before = decoder.stepSizes.length;
  let taken = 0;
  for await (const _ of engine.generate({ ...request, maxTokens: 30 })) if (++taken === 2) break;
  for (let i = 0; i < 3; i++) await turn();
  assert.deepEqual([decoder.living.size, engine.load.running], [0, 0]);
  assert.ok(decoder.stepSizes.length - before <= 3, 'no step after it left, but for the one under way');
});

test('an aborted request ends before the next step, also while it waits', async () => {
  const decoder = new CountingDecoder(randomModel());
  const engine = new Engine(decoder, tokenizer, nodeClock, { maxSequences: 1 });
  const request = { prompt: [1], maxTokens: 25, logitBias: { [tokenizer.eot]: -100 } };
  const [a, b] = [new AbortController(), new AbortController()];
  const running = answer(engine, request, a.signal, (made) => made === 3 && a.abort());
  const waiting = answer(engine, request, b.signal);
  await turn();
  b.abort();
  const ends = [(await running).end, (await waiting).end];
  assert.deepEqual(
    ends.map(({ reason, tokens }) => [reason, tokens <= 4]),
    [
      ['aborted', true],
      ['aborted', true],
    ],
  );
  assert.equal(ends[1].tokens, 0);
  assert.equal(decoder.living.size, 0);
  const never = await answer(engine, request, AbortSignal.abort());
  assert.deepEqual([never.end.reason, never.tokens], ['aborted', []]);
  assert.ok(decoder.stepSizes.length <= 4);
});

/** Spoils what the decoder says. */
class FailingDecoder extends CountingDecoder {
  fails = false;

  override async extend(batch: readonly Extension[]): Promise<Next> {
    if (this.fails) {
      this.fails = false;
      throw new Error('no more memory');
    }
    const next = await super.extend(batch);
    const V = this.model.config.vocabSize;
    for (const [b, { tokens }] of batch.entries()) {
      if (tokens[0] === 99) next.logits[b * V + 7] = Number.NaN;
    }
    return next;
  }
}

test('a request that fails does not hurt the others; a failing step ends those that run, not the engine', async () => {
  const decoder = new FailingDecoder(randomModel());
  const engine = new Engine(decoder, tokenizer, nodeClock, { maxSequences: 3 });
  const request = { prompt: [5, 6], maxTokens: 8, seed: 3, logitBias: { [tokenizer.eot]: -100, 99: -100 } };
  const alone = await answer(engine, request);
  const [good, bad] = await Promise.allSettled([
    answer(engine, request),
    answer(engine, { ...request, prompt: [99] }),
  ]);
  assert.deepEqual(good.status === 'fulfilled' && good.value, alone);
  assert.ok(bad.status === 'rejected' && bad.reason instanceof CheckpointError);
  assert.match(bad.reason.message, /^logits: must be finite, got NaN/);

  const all = await Promise.allSettled(
    [0, 1, 2, 3].map((n) =>
      answer(engine, request, undefined, (made) => {
        if (n === 0 && made === 2) decoder.fails = true;
      }),
    ),
  );
  assert.deepEqual(
    all.map((one) => (one.status === 'rejected' ? one.reason.message : one.value)),
    ['no more memory', 'no more memory', 'no more memory', alone],
    'the one that waited is answered',
  );
  assert.equal(decoder.living.size, 0);
  assert.deepEqual(engine.load, { running: 0, waiting: 0 });
});

test('the event loop has its turn between steps', async () => {
  const decoder = new CountingDecoder(randomModel());
  const engine = new Engine(decoder, tokenizer, nodeClock);
  let turns = 0;
  let counting = true;
  const count = () => {
    turns++;
    if (counting) setImmediate(count);
  };
  setImmediate(count);
  await answer(engine, { prompt: [1], maxTokens: 20, logitBias: { [tokenizer.eot]: -100 } });
  counting = false;
  assert.ok(turns >= decoder.stepSizes.length - 1, `${turns} turns in ${decoder.stepSizes.length} steps`);
});

test('dispose aborts what runs and waits, and refuses what comes', async () => {
  const decoder = new CountingDecoder(randomModel());
  const engine = new Engine(decoder, tokenizer, nodeClock, { maxSequences: 1 });
  const request = { prompt: [1], maxTokens: 25, logitBias: { [tokenizer.eot]: -100 } };
  let gone: Promise<void> | undefined;
  const all = [1, 2].map(() =>
    answer(engine, request, undefined, (made) => {
      if (made === 2) gone = engine.dispose();
    }),
  );
  const ends = (await Promise.all(all)).map(({ end }) => end.reason);
  await gone;
  assert.deepEqual(ends, ['aborted', 'aborted']);
  assert.equal(decoder.living.size, 0);
  await assert.rejects(
    engine.generate(request).next(),
    refusal(/^engine: must not be used after it was disposed of$/),
  );
});

test('wrong requests are refused before anything is computed', async () => {
  const decoder = new CountingDecoder(randomModel());
  const engine = new Engine(decoder, tokenizer, nodeClock);
  const right: GenerationRequest = { prompt: [1], maxTokens: 2 };
  const wrong: [Partial<GenerationRequest>, RegExp][] = [
    [{ prompt: [] }, /^prompt: must have at least one token; the end-of-text token begins a new document$/],
    [
      { prompt: new Array(33).fill(1) },
      /^prompt: must have at most blockSize = 32 tokens, got 33; shorten it$/,
    ],
    [{ prompt: [1, 257] }, /^prompt\[1\]: must be a token id from 0 to 256, got 257$/],
    [{ prompt: [-1] }, /^prompt\[0\]: must be a token id from 0 to 256, got -1$/],
    [{ prompt: [1.5] }, /^prompt\[0\]: must be a token id from 0 to 256, got 1\.5$/],
    [{ maxTokens: -1 }, /^maxTokens: must be a whole number of at least 0, got -1$/],
    [{ echo: -1 }, /^echo: must be a whole number of at least 0, got -1$/],
    [{ loops: 0.5 }, /^loops: must be a whole number of at least 1, got 0\.5$/],
    [{ topLogprobs: -1 }, /^topLogprobs: must be a whole number of at least 0, got -1$/],
    [{ temperature: -1 }, /^temperature: must be at least 0, got -1$/],
    [{ stop: [''] }, /^stop: must be texts that are not empty$/],
  ];
  for (const [fields, message] of wrong) {
    await assert.rejects(engine.generate({ ...right, ...fields }).next(), refusal(message));
  }
  assert.deepEqual([decoder.opened, decoder.stepSizes.length, engine.load.waiting], [0, 0, 0]);
  assert.throws(
    () => new Engine(decoder, tokenizer, nodeClock, { maxSequences: 0 }),
    refusal(/^maxSequences: must be a whole number of at least 1, got 0$/),
  );
  assert.throws(
    () => new Engine(new Decoder(randomModel({ vocabSize: 100 })), tokenizer, nodeClock),
    refusal(/^tokenizer bytes: must have at most the model's vocabSize = 100 tokens, got 257$/),
  );
});

test('a special token beyond the model is neither read nor made', async () => {
  const json = trainBpe(['aa bb aa'], 258).toJSON() as { added_tokens: object[] };
  const pad = { ...json.added_tokens[0], id: 258, content: '[PAD]' };
  const padded = await tokenizerFromJSON({ ...json, added_tokens: [...json.added_tokens, pad] });
  assert.equal(padded.vocabSize, 259);
  const model = randomModel({ vocabSize: 258 });
  const engine = new Engine(new Decoder(model), padded, nodeClock);
  const alone = new Engine(new Decoder(model), await tokenizerFromJSON(json), nodeClock);
  const request: GenerationRequest = {
    prompt: padded.encode('a[PAD]'),
    maxTokens: 12,
    seed: 3,
    topLogprobs: 2,
  };
  assert.deepEqual(await answer(engine, request), await answer(alone, request));
  await assert.rejects(
    engine.generate({ prompt: [1, 258], maxTokens: 1 }).next(),
    refusal(/^prompt\[1\]: must be a token id from 0 to 257, got 258$/),
  );
  await assert.rejects(
    engine.generate({ ...request, logitBias: { 258: 100 } }).next(),
    refusal(/^logitBias: must be for token ids from 0 to 257, got '?258'?$/),
  );
  const plain = await tokenizerFromJSON({
    ...json,
    added_tokens: [...json.added_tokens, { ...pad, special: false }],
  });
  assert.throws(
    () => new Engine(new Decoder(model), plain, nodeClock),
    refusal(/^tokenizer bpe-259: must have at most the model's vocabSize = 258 tokens, got 259$/),
  );
});

const refusal = (message: RegExp) => (error: unknown) => {
  assert.ok(error instanceof ConfigError, String(error));
  assert.match(error.message, message);
  return true;
};
