/**
 * What clients send and expect beyond the letter of the API: neutral values, addresses, tools, pages, proxies, long
 * waits.
 */
import assert from 'node:assert/strict';
import { request } from 'node:http';
import { test } from 'node:test';
import OpenAI from 'openai';
import { ApiKeys } from '../../src/serve/keys.js';
import { isLoopback } from '../../src/serve/host.js';
import { clientOf, ENDLESS, metric, post, serveRun, trainedRun, until } from './helpers.js';

const run = await trainedRun();
const { url } = await serveRun(run, {
  limits: { firstByteMs: 5000 },
  modelNames: ['first', 'gpt-3.5-turbo'],
  cors: ['http://localhost:3000'],
});
const client = clientOf(url);
const base = { model: 'first', prompt: 'Line 7', max_tokens: 12, seed: 1, ...ENDLESS };
const user = { role: 'user', content: 'Line' } as const;

async function text(fields: object): Promise<string> {
  const body = { ...base, ...fields } as OpenAI.CompletionCreateParamsNonStreaming;
  return (await client.completions.create(body)).choices[0].text;
}

test('values that mean nothing are as absent ones', async () => {
  const plain = await text({});
  for (const fields of [
    { top_k: 0 },
    { top_k: -1 },
    { min_p: 0, top_p: 1 },
    { repetition_penalty: 1, frequency_penalty: 0, presence_penalty: 0 },
    { repetition_penalty: 0 },
    { logprobs: false },
    { stop: [''] },
    { stop: '' },
    { stop: [] },
    { echo: false, best_of: 1, suffix: '' },
  ]) {
    assert.equal(await text(fields), plain, JSON.stringify(fields));
  }
  const { choices } = await client.completions.create({ ...base, logprobs: true as unknown as number });
  assert.equal(choices[0].logprobs!.tokens!.length, 12);
});

test('up to 64 stop texts, any of which ends the answer; −1 tokens are as many as fit, 0 are none', async () => {
  const plain = await text({ max_tokens: 40 });
  const stop = Array.from({ length: 63 }, (_, i) => `never ${i}`);
  const end = plain[20];
  assert.equal(await text({ max_tokens: 40, stop: [...stop, end] }), plain.slice(0, plain.indexOf(end)));
  const long = await client.completions.create({ ...base, max_tokens: -1 });
  assert.equal(long.usage!.total_tokens, 1025);
  const none = await client.chat.completions.create({ model: 'first', messages: [user], max_tokens: 0 });
  assert.deepEqual([none.choices[0].message.content, none.choices[0].finish_reason], ['', 'length']);
});

test('a seed of −1 is a new one each time', async () => {
  const texts = await Promise.all([1, 2, 3].map(() => text({ seed: -1, max_tokens: 30 })));
  assert.equal(new Set(texts).size, 3);
});

test('tools that are to be used are refused in the words that clients look for; earlier calls are read', async () => {
  const tools: OpenAI.ChatCompletionTool[] = [{ type: 'function', function: { name: 'add' } }];
  const ask = (fields: Partial<OpenAI.ChatCompletionCreateParamsNonStreaming>) =>
    client.chat.completions.create({ model: 'first', messages: [user], max_tokens: 2, ...fields });
  await assert.rejects(ask({ tools }), /400 .*does not support tools/);
  await assert.rejects(ask({ tools, tool_choice: 'auto' }), /does not support tools/);
  await ask({ tools, tool_choice: 'none' });
  const history: OpenAI.ChatCompletionMessageParam[] = [
    { role: 'user', content: '2+2?' },
    {
      role: 'assistant',
      content: null,
      tool_calls: [{ id: 'a', type: 'function', function: { name: 'add', arguments: '{"a":2}' } }],
    },
    { role: 'tool', tool_call_id: 'a', content: '4' },
    { role: 'function', name: 'add', content: '4' },
    user,
  ];
  const { usage } = await ask({ messages: history });
  const read = 'User: 2+2?\n\nAssistant: add({"a":2})\n\nTool: 4\n\nTool: 4\n\nUser: Line\n\nAssistant:';
  assert.equal(usage!.prompt_tokens, read.length);
});

test('addresses that miss by a slash or by /v1 are answered, others are told where to go', async () => {
  for (const path of [
    '/v1/completions/',
    '//v1/completions',
    '/v1//completions',
    '/completions',
    '/v1/v1/completions',
  ]) {
    assert.equal((await post(url, path, { ...base, max_tokens: 1 })).status, 200, path);
  }
  assert.equal((await fetch(`${url}/models/`)).status, 200);
  const chat = { model: 'first', messages: [user], max_tokens: 1 };
  assert.equal((await post(url, '/chat/completions', chat)).status, 200);
  const bare = new OpenAI({ baseURL: url, apiKey: 'none', maxRetries: 0 });
  assert.equal((await bare.completions.create({ ...base, max_tokens: 1 })).choices.length, 1);
  await assert.rejects(
    client.responses.create({ model: 'first', input: 'x' }),
    /404 .*use \/v1\/chat\/completions/,
  );
  await assert.rejects(
    client.embeddings.create({ model: 'first', input: 'x' }),
    /404 .*the base address ends in \/v1/,
  );
});

test('a model answers to each of its names, and by the one that was asked for', async () => {
  const names: string[] = [];
  for await (const { id } of client.models.list()) names.push(id);
  assert.deepEqual(names, ['first', 'gpt-3.5-turbo']);
  assert.equal((await client.completions.create({ ...base, model: 'gpt-3.5-turbo' })).model, 'gpt-3.5-turbo');
  assert.equal((await client.models.retrieve('gpt-3.5-turbo')).id, 'gpt-3.5-turbo');
  await assert.rejects(text({ model: 'tiny' }), /404 model: must be 'first' or 'gpt-3\.5-turbo', got 'tiny'/);
});

/** The status and headers of a request with headers that `fetch` does not let through. */
function raw(address: string, method: string, path: string, headers: Record<string, string>, body = '') {
  return new Promise<{ status: number; headers: NodeJS.Dict<string | string[]>; text: string }>(
    (resolve, reject) => {
      const sent = request(address + path, { method, headers }, (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (piece: string) => {
          text += piece;
        });
        response.on('end', () => resolve({ status: response.statusCode!, headers: response.headers, text }));
      });
      sent.on('error', reject);
      sent.end(body);
    },
  );
}

const ALLOWED = 'access-control-allow-origin';
const asking = {
  'access-control-request-method': 'POST',
  'access-control-request-headers': 'authorization,content-type',
};

test('pages of the origins that are let in may ask, before any key; what they get says so, errors and streams too', async () => {
  const { url: locked } = await serveRun(run, {
    cors: ['http://localhost:3000'],
    keys: new ApiKeys(['alpha-key'], 'keys'),
  });
  const origin = 'http://localhost:3000';
  const question = await raw(locked, 'OPTIONS', '/v1/chat/completions', { origin, ...asking });
  assert.equal(question.status, 204);
  assert.equal(question.headers[ALLOWED], origin);
  assert.match(String(question.headers['access-control-allow-methods']), /POST/);
  assert.equal(question.headers['access-control-allow-headers'], 'authorization,content-type');
  assert.equal((await raw(locked, 'GET', '/v1/models', { origin })).headers[ALLOWED], origin);
  assert.equal((await raw(locked, 'GET', '/v1/models', { origin })).status, 401);
  const json = { origin, 'content-type': 'application/json' };
  const wrong = await raw(url, 'POST', '/v1/completions', json, '{');
  assert.deepEqual([wrong.status, wrong.headers[ALLOWED]], [400, origin]);
  const stream = await raw(url, 'POST', '/v1/completions', json, JSON.stringify({ ...base, stream: true }));
  assert.deepEqual([stream.status, stream.headers[ALLOWED]], [200, origin]);
  const other = await raw(url, 'GET', '/v1/models', { origin: 'http://evil.example' });
  assert.equal(other.headers[ALLOWED], undefined);
  // Without --cors nobody is let in.
  const { url: plain } = await serveRun(run);
  const refused = await raw(plain, 'OPTIONS', '/v1/models', { origin, ...asking });
  assert.deepEqual([refused.status, refused.headers[ALLOWED]], [405, undefined]);
});

test('a page that lets its own name point here gets nothing', async () => {
  for (const path of ['/v1/models', '/health', '/metrics', '/nowhere']) {
    const { status, text } = await raw(url, 'GET', path, { host: 'evil.example:8080' });
    assert.equal(status, 403, path);
    assert.match(text, /host: must be this machine's own name/);
  }
  for (const host of ['localhost:1', '127.0.0.1', '[::1]:8080', 'LOCALHOST']) {
    assert.equal((await raw(url, 'GET', '/v1/models', { host })).status, 200, host);
  }
  const { port } = new URL(url);
  const { url: open } = await serveRun(run, { host: '0.0.0.0' });
  const there = open.replace('0.0.0.0', '127.0.0.1');
  assert.equal((await raw(there, 'GET', '/v1/models', { host: `my.machine:${port}` })).status, 200);
  assert.deepEqual(
    ['127.0.0.1', 'localhost', '::1', '0.0.0.0', '::', '192.168.0.2', '127.evil.example'].map(isLoopback),
    [true, true, true, false, false, false, false],
  );
});

test('a stream that waits for its turn says so at once and again; clients pass over it; errors keep their status', async () => {
  const limits = { firstByteMs: 30, silenceMs: 40 };
  const { url: busy } = await serveRun(run, { maxSequences: 1, limits });
  const long = { ...base, model: 'tiny', max_tokens: 1000, loops: 16 };
  const controller = new AbortController();
  const other = clientOf(busy)
    .completions.create(long, { signal: controller.signal })
    .catch(() => {});
  await until(async () => (await metric(busy, 'loopnn_running_sequences')) === 1, 'a busy engine');
  const started = performance.now();
  const response = await post(busy, '/v1/completions', { ...base, model: 'tiny', stream: true });
  assert.equal(response.status, 200);
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  let seen = '';
  while (seen.split(': waiting\n\n').length < 4) seen += (await reader.read()).value ?? assert.fail(seen);
  assert.ok(performance.now() - started < 5000);
  const waiting = clientOf(busy).completions.create({ ...base, model: 'tiny', stream: true });
  const stream = await waiting;
  controller.abort();
  await other;
  // What fails before the first token, and soon, has its own status.
  const wrong = await post(url, '/v1/completions', { ...base, prompt: [999], stream: true });
  assert.equal(wrong.status, 400);
  for (let next = await reader.read(); !next.done; next = await reader.read()) seen += next.value;
  assert.match(seen, /\ndata: \[DONE\]\n\n$/);
  let streamed = '';
  for await (const { choices } of stream) streamed += choices[0].text;
  assert.equal(streamed, await text({}));
});

test('connections stay open longer than pools keep them', async () => {
  const { headers } = await raw(url, 'GET', '/health', { connection: 'keep-alive' });
  assert.equal(headers['keep-alive'], 'timeout=75');
});
