/** The API as OpenAI's own client sees it. */
import assert from 'node:assert/strict';
import { cpSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import OpenAI from 'openai';
import {
  BLOCK_SIZE,
  clientOf,
  ENDLESS,
  metric,
  type Overrides,
  serveRun,
  trainedRun,
  until,
} from './helpers.js';
import { temporaryFolder } from '../cli/helpers.js';
import { SPACED } from '../tokenizer/samples.js';

const run = await trainedRun();
const { url, lines } = await serveRun(run);
const client = clientOf(url);
const base = { model: 'tiny', prompt: 'Line 7', max_tokens: 12, ...ENDLESS };

/** The loops that a part of an answer reports, a field that the client's types do not know. */
function loopsOf(part: object): { total: number; mean: number | null } {
  return (part as { loops: { total: number; mean: number | null } }).loops;
}

async function text(options: object): Promise<string> {
  return (await client.completions.create({ ...base, ...options })).choices[0].text;
}

test('models are listed and found by name; another name is the 404 that clients know', async () => {
  const models = [];
  for await (const model of client.models.list()) models.push(model);
  assert.deepEqual(
    models.map(({ id, object }) => [id, object]),
    [['tiny', 'model']],
  );
  assert.deepEqual(await client.models.retrieve('tiny'), models[0]);
  const { max_model_len: most, loops } = models[0] as unknown as Record<string, unknown>;
  assert.deepEqual([most, loops], [BLOCK_SIZE, { default: 2, most: 16 }]);
  await assert.rejects(client.models.retrieve('huge'), (error: unknown) => {
    assert.ok(error instanceof OpenAI.NotFoundError);
    assert.deepEqual([error.code, error.param], ['model_not_found', 'model']);
    return true;
  });
  await assert.rejects(client.completions.create({ ...base, model: 'huge' }), OpenAI.NotFoundError);
});

test('the fingerprint tells a server from one that answers otherwise', async () => {
  const fingerprintOf = async (overrides: Overrides) => {
    const other = await serveRun(run, overrides);
    const answer = await clientOf(other.url).completions.create(base);
    return answer.system_fingerprint;
  };
  const { system_fingerprint: own } = await client.completions.create(base);
  assert.equal(await fingerprintOf({}), own);
  assert.notEqual(await fingerprintOf({ chatTemplate: '{{ bos_token }}' }), own);
  assert.notEqual(await fingerprintOf({ folder: await trainedRun('--seed', '7') }), own, 'other weights');
});

test('a completion has text, usage, loops, and a request id', async () => {
  const { data, request_id } = await client.completions.create(base).withResponse();
  assert.match(request_id ?? '', /^req_[0-9a-f]{32}$/);
  assert.equal(data.object, 'text_completion');
  assert.match(data.id, /^cmpl-/);
  assert.match(data.system_fingerprint ?? '', /^fp_[0-9a-f]{12}$/);
  assert.ok(Math.abs(data.created - Date.now() / 1000) < 5);
  const [choice] = data.choices;
  assert.equal(choice.finish_reason, 'length');
  assert.equal(choice.logprobs, null);
  assert.deepEqual(loopsOf(choice), { total: 24, mean: 2 });
  const { loops, ...usage } = data.usage as OpenAI.CompletionUsage & { loops: object };
  assert.deepEqual(usage, { prompt_tokens: 6, completion_tokens: 12, total_tokens: 18 });
  assert.deepEqual(loops, { total: 24, mean: 2 });
});

test('the same seed gives the same text, another seed another, and the loops asked for are spent', async () => {
  const [first, again, other] = [await text({ seed: 1 }), await text({ seed: 1 }), await text({ seed: 2 })];
  assert.equal(first, again);
  assert.notEqual(first, other);
  const body = { ...base, loops: 5, temperature: 0 };
  const { choices } = await client.completions.create(body);
  assert.deepEqual(loopsOf(choices[0]), { total: 60, mean: 5 });
});

test('seeds are any safe integers, and differ in all their bits', async () => {
  const seeds = [
    1,
    -2,
    2 ** 32 - 1,
    2 ** 32 + 1,
    2 ** 52 + 1,
    Number.MAX_SAFE_INTEGER,
    Number.MIN_SAFE_INTEGER,
  ];
  const second = async (seed: number) =>
    (await client.completions.create({ ...base, seed, n: 2 })).choices[1].text;
  const texts = await Promise.all(seeds.flatMap((seed) => [text({ seed }), second(seed)]));
  assert.equal(new Set(texts).size, texts.length);
});

test('a stream gives the text of the whole answer, and usage where it is asked for', async () => {
  const whole = await text({ seed: 3, max_tokens: 40 });
  const options = { ...base, seed: 3, max_tokens: 40, stream: true } as const;
  const stream = await client.completions.create({ ...options, stream_options: { include_usage: true } });
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  const last = chunks.pop()!;
  assert.deepEqual(last.choices, []);
  assert.deepEqual([last.usage?.completion_tokens, loopsOf(last.usage!).total], [40, 80]);
  assert.ok(chunks.every(({ usage, id }) => usage === null && id === last.id));
  const choices = chunks.flatMap((chunk) => chunk.choices);
  assert.equal(choices.map((choice) => choice.text).join(''), whole);
  const reasons = choices.map(({ finish_reason }) => finish_reason);
  assert.equal(reasons.pop(), 'length');
  assert.ok(reasons.every((reason) => reason === null));
  for await (const chunk of await client.completions.create(options)) assert.equal('usage' in chunk, false);
});

test('several prompts with several choices: in order, and each prompt’s first as if asked alone', async () => {
  const prompts = ['Line 1', 'The same'];
  const { choices, usage } = await client.completions.create({ ...base, prompt: prompts, n: 3, seed: 4 });
  assert.deepEqual(
    choices.map(({ index }) => index),
    [0, 1, 2, 3, 4, 5],
  );
  assert.equal(choices[0].text, await text({ prompt: prompts[0], seed: 4 }));
  assert.equal(choices[3].text, await text({ prompt: prompts[1], seed: 4 }));
  assert.equal(new Set(choices.map((choice) => choice.text)).size, 6);
  assert.deepEqual([usage?.prompt_tokens, usage?.completion_tokens], [14, 72]);
});

test('token ids mean what the text means', async () => {
  const ids = [...Buffer.from(base.prompt)];
  const expected = await text({ seed: 5 });
  assert.equal(await text({ seed: 5, prompt: ids }), expected);
  const { choices } = await client.completions.create({ ...base, seed: 5, prompt: [ids, ids] });
  assert.deepEqual([choices[0].text, choices[1].text], [expected, expected]);
  await assert.rejects(client.completions.create({ ...base, prompt: [9999] }), OpenAI.BadRequestError);
});

test('stop texts end the answer before them, and the end of the block ends it too', async () => {
  const whole = await text({ seed: 6, max_tokens: 60 });
  const stop = whole.slice(20, 23);
  const body = { ...base, seed: 6, max_tokens: 60, stop };
  const { choices } = await client.completions.create(body);
  assert.equal(choices[0].text, whole.slice(0, whole.indexOf(stop)));
  assert.equal(choices[0].finish_reason, 'stop');
  let streamed = '';
  for await (const { choices } of await client.completions.create({
    ...body,
    stop: ['\0', stop],
    stream: true,
  })) {
    streamed += choices[0].text;
  }
  assert.equal(streamed, choices[0].text);
  const prompt = 'x'.repeat(BLOCK_SIZE - 3);
  const full = await client.completions.create({ ...base, prompt, max_tokens: 50 });
  assert.equal(full.choices[0].finish_reason, 'length');
  assert.ok(full.usage!.completion_tokens <= 4, `${full.usage!.completion_tokens}`);
});

test('log-probabilities of completions: lists side by side, and the loops of each token', async () => {
  const { choices } = await client.completions.create({
    ...base,
    temperature: 0,
    logprobs: 3,
    max_tokens: 5,
  });
  const { tokens, token_logprobs, top_logprobs, text_offset } = choices[0].logprobs!;
  assert.equal(tokens!.join(''), choices[0].text);
  assert.deepEqual(text_offset, [0, 1, 2, 3, 4]);
  assert.deepEqual((choices[0].logprobs as unknown as { loops: number[] }).loops, [2, 2, 2, 2, 2]);
  for (const [i, top] of top_logprobs!.entries()) {
    const values = Object.values(top);
    assert.equal(values.length, 3);
    assert.equal(Math.max(...values), token_logprobs![i], 'greedy takes the most probable token');
    assert.equal(top[tokens![i]], token_logprobs![i]);
    assert.ok(values.every((value) => value <= 0));
    assert.ok(values.reduce((sum, value) => sum + Math.exp(value), 0) <= 1 + 1e-6);
  }
});

test('offsets are where tokens begin in the text, broken characters or not, streamed or not', async () => {
  const options = { ...base, temperature: 2, logprobs: 0, max_tokens: 200, seed: 3 };
  const { choices } = await client.completions.create(options);
  const text = Array.from(choices[0].text);
  const { tokens, text_offset: offsets } = choices[0].logprobs!;
  const whole = tokens!.flatMap((token, i) => (/^[ -~]$/.test(token) ? [[token, text[offsets![i]]]] : []));
  assert.ok(whole.length > 20 && whole.length < 180, `${whole.length} of 200 tokens are ASCII`);
  for (const [token, found] of whole) assert.equal(found, token);
  const streamed = [];
  for await (const { choices } of await client.completions.create({ ...options, stream: true })) {
    streamed.push(...(choices[0].logprobs?.text_offset ?? []));
  }
  assert.deepEqual(streamed, offsets);
});

test('the first token after a prompt keeps its space, in texts, names and offsets; in a new document it has none', async () => {
  const folder = join(temporaryFolder(), 'tiny');
  cpSync(run, folder, { recursive: true });
  writeFileSync(join(folder, 'tokenizer.json'), JSON.stringify(SPACED));
  const spaced = clientOf((await serveRun(folder)).url);
  const [time, options] = [5, { model: 'tiny', max_tokens: 2, temperature: 0, logprobs: 1 }];
  const ask = async (prompt: string | number[], more: object = {}) =>
    spaced.completions.create({ ...options, prompt, logit_bias: { [time]: 100 }, ...more });
  for (const prompt of ['Once upon a', [2, 3, 4]]) {
    const { choices } = await ask(prompt, { n: 2 });
    for (const { text, logprobs } of choices) {
      assert.equal(text, ' time time');
      assert.deepEqual(logprobs!.tokens, [' time', ' time']);
      assert.deepEqual(logprobs!.text_offset, [0, 5]);
      // Whatever the best candidate is, it is named as it would read there.
      for (const top of logprobs!.top_logprobs!) {
        for (const name of Object.keys(top)) assert.match(name, /^( .+|less|<.+|bytes:.+)$/);
      }
    }
  }
  const fresh = (await ask('')).choices[0];
  assert.equal(fresh.text, 'time time');
  assert.deepEqual(fresh.logprobs!.tokens, ['time', ' time']);
  assert.deepEqual(fresh.logprobs!.text_offset, [0, 4]);
  const pieces = [];
  const stream = await spaced.completions.create({
    ...options,
    prompt: 'Once upon a',
    logit_bias: { [time]: 100 },
    stream: true,
  });
  for await (const { choices } of stream) if (choices[0]?.text) pieces.push(choices[0].text);
  assert.deepEqual(pieces, [' time', ' time']);
  assert.equal((await ask('Once upon a', { stop: [' time'] })).choices[0].text, '');
  const chatted = await spaced.chat.completions.create({
    model: 'tiny',
    messages: [{ role: 'user', content: 'Once upon' }],
    max_completion_tokens: 1,
    temperature: 0,
    logprobs: true,
    logit_bias: { [time]: 100 },
  });
  assert.equal(chatted.choices[0].message.content, ' time');
  assert.equal(chatted.choices[0].logprobs!.content![0].token, ' time');
});

const messages: OpenAI.ChatCompletionMessageParam[] = [
  { role: 'system', content: 'Lines.' },
  {
    role: 'user',
    content: [
      { type: 'text', text: 'Line ' },
      { type: 'text', text: '1' },
    ],
  },
  { role: 'assistant', content: 'of document' },
  { role: 'user', content: 'again' },
];
const chat = { model: 'tiny', messages, seed: 7, max_completion_tokens: 20, ...ENDLESS };

test('a chat is the plain dialogue continued', async () => {
  const prompt = 'Lines.\n\nUser: Line 1\n\nAssistant: of document\n\nUser: again\n\nAssistant:';
  const { choices, usage, object, id } = await client.chat.completions.create(chat);
  assert.equal(object, 'chat.completion');
  assert.match(id, /^chatcmpl-/);
  assert.equal(choices[0].message.role, 'assistant');
  assert.equal(choices[0].message.content, await text({ prompt, seed: 7, max_tokens: 20 }));
  assert.deepEqual([usage?.prompt_tokens, usage?.completion_tokens], [prompt.length, 20]);
});

test('a chat streams: the role, the text, how it ended; choices side by side', async () => {
  const whole = await client.chat.completions.create({ ...chat, n: 2 });
  const options = { ...chat, n: 2, stream: true, stream_options: { include_usage: true } } as const;
  const texts = ['', ''];
  const roles: unknown[] = [];
  const ends: unknown[] = [];
  let usage: object | null | undefined;
  for await (const chunk of await client.chat.completions.create(options)) {
    assert.equal(chunk.object, 'chat.completion.chunk');
    for (const { index, delta, finish_reason } of chunk.choices) {
      texts[index] += delta.content ?? '';
      if (delta.role) roles.push(delta.role);
      if (finish_reason) ends.push(finish_reason);
    }
    usage = chunk.usage;
  }
  assert.deepEqual(
    texts,
    whole.choices.map(({ message }) => message.content),
  );
  assert.deepEqual(
    [roles, ends],
    [
      ['assistant', 'assistant'],
      ['length', 'length'],
    ],
  );
  assert.deepEqual(usage, whole.usage);
});

test('log-probabilities of chats: a record for each token, streamed and not', async () => {
  const options = { ...chat, logprobs: true, top_logprobs: 2, temperature: 0, max_completion_tokens: 4 };
  const { choices } = await client.chat.completions.create(options);
  const content = choices[0].logprobs!.content!;
  assert.equal(content.map(({ token }) => token).join(''), choices[0].message.content);
  for (const { token, bytes, logprob, top_logprobs } of content) {
    assert.deepEqual(bytes, [...Buffer.from(token)]);
    assert.equal(top_logprobs.length, 2);
    assert.deepEqual([top_logprobs[0].token, top_logprobs[0].logprob], [token, logprob]);
  }
  const streamed = [];
  for await (const chunk of await client.chat.completions.create({ ...options, stream: true })) {
    streamed.push(...(chunk.choices[0]?.logprobs?.content ?? []));
  }
  assert.deepEqual(streamed, content);
});

test('a part of a character has its bytes, and is named by them as OpenAI does', async () => {
  const first = 0xc3;
  const options = { logit_bias: { [first]: 100 }, temperature: 0 };
  const body = { ...chat, ...options, logprobs: true, max_completion_tokens: 1 };
  const { choices } = await client.chat.completions.create(body);
  const [{ token, bytes }] = choices[0].logprobs!.content!;
  assert.deepEqual([token, bytes, choices[0].message.content], ['\\xc3', [first], '\ufffd']);
  const completion = await client.completions.create({ ...base, ...options, logprobs: 1, max_tokens: 1 });
  const { tokens, top_logprobs } = completion.choices[0].logprobs!;
  assert.deepEqual(tokens, ['bytes:\\xc3']);
  assert.ok('bytes:\\xc3' in top_logprobs![0], JSON.stringify(top_logprobs));
});

test('a client that leaves costs nothing from the next token on, streaming or not', async () => {
  const endless = { ...base, max_tokens: 1000, loops: 16 };
  const running = () => metric(url, 'loopnn_running_sequences');
  const last = () => lines.filter((line) => line.startsWith('POST')).at(-1)!;
  const stream = await client.completions.create({ ...endless, stream: true });
  for await (const _ of stream) break;
  await until(() => last().includes(' 499 '), 'a stream’s end in the log');
  assert.match(last(), /^POST \/v1\/completions 499 \d+ms 0\+\d+ tokens req_/);
  await until(async () => (await running()) === 0, 'an idle engine');
  const controller = new AbortController();
  const whole = client.completions.create(endless, { signal: controller.signal });
  await until(async () => (await running()) === 1, 'a running answer');
  controller.abort();
  await assert.rejects(whole, OpenAI.APIUserAbortError);
  await until(async () => (await running()) === 0, 'an idle engine');
  assert.equal(await metric(url, 'loopnn_requests_total{route="/v1/completions",status="499"}'), 2);
  const before = await metric(url, 'loopnn_generated_tokens_total');
  await new Promise((resolve) => setTimeout(resolve, 100));
  assert.equal(await metric(url, 'loopnn_generated_tokens_total'), before);
});

test('what is wrong with a request is told by field', async () => {
  const wrong: [object, string][] = [
    [{ temperature: 'hot' }, 'temperature'],
    [{ temperature: 2.1 }, 'temperature'],
    [{ top_p: -1 }, 'top_p'],
    [{ prompt: [1, 99_999_999_999] }, 'prompt'],
    [{ top_k: 0.5 }, 'top_k'],
    [{ n: 0 }, 'n'],
    [{ n: 1000 }, 'n'],
    [{ seed: 'a' }, 'seed'],
    [{ seed: 0.5 }, 'seed'],
    [{ seed: 2 ** 53 }, 'seed'],
    [{ stop: Array.from({ length: 65 }, (_, i) => `stop ${i}`) }, 'stop'],
    [{ stop: ['x'.repeat(257)] }, 'stop'],
    [{ stop: 7 }, 'stop'],
    [{ stream: 'yes' }, 'stream'],
    [{ stream_options: { include_usage: true } }, 'stream_options'],
    [{ logit_bias: { cat: 1 } }, 'logit_bias'],
    [{ logit_bias: { 5: 101 } }, 'logit_bias.5'],
    [{ logprobs: 6 }, 'logprobs'],
    [{ echo: 'yes' }, 'echo'],
    [{ suffix: 'x' }, 'suffix'],
    [{ best_of: 3 }, 'best_of'],
    [{ prompt: 5 }, 'prompt'],
    [{ prompt: [] }, 'prompt'],
    [{ prompt: ['a', [1]], n: 1.5 }, 'n'],
    [{ prompt: [1, 'a'] }, 'prompt'],
    [{ prompt: 'x'.repeat(BLOCK_SIZE + 1) }, 'prompt'],
    [{ max_tokens: -2 }, 'max_tokens'],
    [{ top_k: -2 }, 'top_k'],
    [{ loops: 17 }, 'loops'],
    [{ exit: { threshold: 0.9 } }, 'exit.criterion'],
    [{ exit: { criterion: 'geometric' } }, 'exit.criterion'],
    [{ exit: { criterion: 'entropy', threshold: 0 } }, 'exit.threshold'],
    [{ exit: { criterion: 'kl', threshold: 0.1 } }, 'exit.criterion'],
    [{ exit: { criterion: 'entropy', threshold: 1 }, loops: 1 }, 'exit'],
    [{ model: null }, 'model'],
  ];
  for (const [fields, param] of wrong) {
    const body = { ...base, ...fields } as OpenAI.CompletionCreateParamsNonStreaming;
    await assert.rejects(client.completions.create(body), (error: unknown) => {
      assert.ok(error instanceof OpenAI.BadRequestError, `${JSON.stringify(fields)}: ${error}`);
      assert.deepEqual([error.param, error.type], [param, 'invalid_request_error'], error.message);
      return true;
    });
  }
  const wrongChats: [object, string][] = [
    [{ messages: [] }, 'messages'],
    [{ messages: 'hi' }, 'messages'],
    [{ messages: [{ role: 'critic', content: 'x' }] }, 'messages[0].role'],
    [{ messages: [{ role: 'user' }] }, 'messages[0].content'],
    [{ messages: [{ role: 'user', content: [{ type: 'image_url' }] }] }, 'messages[0].content[0].type'],
    [{ tools: [{}] }, 'tools'],
    [{ tool_choice: 'required' }, 'tool_choice'],
    [{ response_format: { type: 'json_object' } }, 'response_format.type'],
    [{ top_logprobs: 2 }, 'top_logprobs'],
  ];
  for (const [fields, param] of wrongChats) {
    const body = { ...chat, ...fields } as OpenAI.ChatCompletionCreateParamsNonStreaming;
    await assert.rejects(client.chat.completions.create(body), (error: unknown) => {
      assert.ok(error instanceof OpenAI.BadRequestError && error.param === param, `${param}: ${error}`);
      return true;
    });
  }
  const ignored = { ...base, user: 'me', unheard_of: [1], stop: null, n: null };
  assert.equal((await client.completions.create(ignored)).choices.length, 1);
});

test('what lies at the bounds of a field is answered: the engine refuses nothing that the fields let through', async () => {
  const { MAX_SAFE_INTEGER: huge } = Number;
  for (const fields of [
    { temperature: 2, top_p: 1, min_p: 1, top_k: huge, frequency_penalty: 2, presence_penalty: 2 },
    { temperature: 0, top_p: 0, min_p: 0, top_k: 1, frequency_penalty: -2, presence_penalty: -2 },
    { temperature: 1e-9, top_p: 1e-9, repetition_penalty: 0.01, max_tokens: huge, stop: 'e' },
    {
      repetition_penalty: 100,
      logit_bias: Object.fromEntries(Array.from({ length: 257 }, (_, id) => [id, -100])),
    },
    { logit_bias: { 0: 100 }, logprobs: 5 },
  ]) {
    await client.completions.create({ ...base, ...fields });
  }
});

test('a context that is too long has OpenAI’s code, and the name of the field that it came in', async () => {
  const tooLong = (param: string) => (error: unknown) => {
    assert.ok(error instanceof OpenAI.BadRequestError, String(error));
    assert.deepEqual([error.param, error.code], [param, 'context_length_exceeded'], error.message);
    const words = `This model's maximum context length is ${BLOCK_SIZE} tokens. However, your ${param} resulted in`;
    assert.ok(error.message.includes(words), error.message);
    return true;
  };
  for (const length of [BLOCK_SIZE + 1, 200 * BLOCK_SIZE]) {
    const content = 'x'.repeat(length);
    await assert.rejects(client.completions.create({ ...base, prompt: content }), tooLong('prompt'));
    const long = { ...chat, messages: [{ role: 'user' as const, content }] };
    await assert.rejects(client.chat.completions.create(long), tooLong('messages'));
  }
  const many = Array.from({ length: BLOCK_SIZE + 1 }, () => ({ role: 'user', content: '' }) as const);
  await assert.rejects(client.chat.completions.create({ ...chat, messages: many }), tooLong('messages'));
});
