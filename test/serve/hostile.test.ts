/** Clients that are wrong, greedy, slow or gone: each gets the right status, and the others notice nothing. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { afterEach, test } from 'node:test';
import OpenAI from 'openai';
import { ApiKeys } from '../../src/serve/keys.js';
import { clientOf, ENDLESS, exchange, metric, post, serveRun, trainedRun, until } from './helpers.js';

const run = await trainedRun();
const limits = {
  bodyBytes: 4096,
  headerBytes: 2048,
  headersTimeoutMs: 300,
  requestTimeoutMs: 600,
  maxQueue: 2,
};
const { url, lines } = await serveRun(run, { limits, maxSequences: 2 });
const body = { model: 'tiny', prompt: 'Line 7', max_tokens: 8, seed: 1, ...ENDLESS };
const expected = await answer();

/** The answer to a good request. */
async function answer(): Promise<string> {
  return (await clientOf(url).completions.create(body)).choices[0].text;
}

function idle(server = url): Promise<void> {
  return until(async () => (await metric(server, 'loopnn_running_sequences')) === 0, 'an idle engine');
}

afterEach(async () => {
  assert.equal(await answer(), expected, 'the service is unaffected');
});

async function refused(response: Promise<Response>, status: number, message: RegExp): Promise<Response> {
  const answered = await response;
  const { error } = (await answered.json()) as { error: { message: string; type: string } };
  assert.equal(answered.status, status, error.message);
  assert.match(error.message, message);
  assert.equal(error.type, status === 429 ? 'rate_limit_error' : 'invalid_request_error');
  return answered;
}

const path = '/v1/completions';
const head = (lines: readonly string[]) =>
  [`POST ${path} HTTP/1.1`, 'Host: localhost', 'Content-Type: application/json', ...lines, '', ''].join(
    '\r\n',
  );

test('malformed bodies', async () => {
  const nested = '['.repeat(2000) + ']'.repeat(2000);
  for (const text of ['', '{', '{"model":', 'null', '[]', '"x"', '7', nested, '{"a":1}x']) {
    await refused(post(url, path, text), 400, /^body: must be/);
  }
  const bytes = {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: Buffer.from([0x22, 0xff, 0x22]),
  };
  await refused(fetch(url + path, bytes), 400, /^body: must be JSON/);
  await refused(post(url, path, '{"__proto__":{"model":"tiny"}}'), 400, /^model: must be given/);
  await refused(post(url, path, { ...body, prompt: 'x\ud800'.repeat(3), stop: {} }), 400, /^stop: /);
});

test('other types and encodings of bodies, other methods, other paths', async () => {
  await refused(
    post(url, path, body, { 'content-type': 'text/plain' }),
    415,
    /must be application\/json, got 'text/,
  );
  await refused(post(url, path, body, { 'content-encoding': 'gzip' }), 415, /content-encoding/);
  const got = await refused(fetch(url + path), 405, /must be POST/);
  assert.equal(got.headers.get('allow'), 'POST');
  await refused(post(url, '/v1/models', body), 405, /must be GET/);
  await refused(post(url, '/v1/embeddings', body), 404, /no such path/);
  await refused(fetch(`${url}/v1/models/%E0%A4%A`), 404, /must be 'tiny'/);
  assert.equal((await fetch(`${url}/health`, { method: 'HEAD' })).status, 200);
});

test('huge bodies are refused when they are announced, and when they turn out to be', async () => {
  const large = { ...body, prompt: 'x'.repeat(5000) };
  await refused(post(url, path, large), 413, /at most 4096 bytes/);
  assert.match(
    await exchange(url, head(['Content-Length: 99999999999'])),
    /^HTTP\/1\.1 413 .*Connection: close/is,
  );
  const piece = `8000\r\n${' '.repeat(0x8000)}\r\n`;
  const endless = await exchange(
    url,
    head(['Transfer-Encoding: chunked']),
    ...new Array<string>(12).fill(piece),
  );
  assert.match(endless, /^HTTP\/1\.1 413 .*Connection: close/is);
});

test('a client that sends all of a huge body before it looks for an answer finds the 413', async () => {
  const { url } = await serveRun(run);
  const { hostname, port } = new URL(url);
  const huge = Buffer.alloc(12_000_000, ' ');
  for (const connection of ['close', 'keep-alive']) {
    const socket = connect(Number(port), hostname);
    socket.write(head([`Connection: ${connection}`, `Content-Length: ${huge.length}`]));
    await new Promise<void>((resolve, reject) =>
      socket.write(huge, (error) => (error ? reject(error) : resolve())),
    );
    const [answer] = (await once(socket, 'data')) as [Buffer];
    assert.match(String(answer), /^HTTP\/1\.1 413 /);
    socket.destroy();
  }
});

test('floods of headers and requests that are no HTTP', async () => {
  const flood = Array.from({ length: 500 }, (_, i) => `X-Flood-${i}: ${i}`);
  assert.match(await exchange(url, head(flood)), /^HTTP\/1\.1 431 /);
  assert.match(await exchange(url, head([`X-Long: ${'x'.repeat(5000)}`])), /^HTTP\/1\.1 431 /);
  assert.match(await exchange(url, 'HELLO\r\n\r\n'), /^HTTP\/1\.1 400 /);
  assert.match(
    await exchange(url, head(['Content-Length: 5', 'Transfer-Encoding: chunked'])),
    /^HTTP\/1\.1 400 /,
  );
});

test('slow senders are cut off, of headers and of bodies', async () => {
  const whole = head(['Content-Length: 100']);
  assert.match(await exchange(url, whole.slice(0, 40)), /^HTTP\/1\.1 408 /);
  assert.match(await exchange(url, `${whole}{"model"`), /^HTTP\/1\.1 408 /);
});

test('clients that hang up in the middle of a body or of an answer', async () => {
  const { port, hostname } = new URL(url);
  for (let i = 0; i < 20; i++) {
    const socket = connect(Number(port), hostname);
    socket.on('error', () => {});
    socket.write(`${head(['Content-Length: 1000'])}{"model"`);
    await new Promise((resolve) => setTimeout(resolve, 5));
    if (i % 2 === 0) socket.destroy();
    else socket.resetAndDestroy();
  }
  for (let i = 0; i < 10; i++) {
    const stream = await clientOf(url).completions.create({ ...body, max_tokens: 900, stream: true });
    for await (const _ of stream) break;
    await idle();
  }
});

test('a client that sends many requests at once and hangs up leaves nothing behind', async () => {
  const own = await serveRun(run, { maxSequences: 2 });
  const { port, hostname } = new URL(own.url);
  const long = JSON.stringify({ ...body, max_tokens: 900, loops: 16, stream: true });
  const one = `${head([`Content-Length: ${long.length}`])}${long}`;
  const before = own.lines.length;
  const socket = connect(Number(port), hostname);
  socket.on('error', () => {});
  socket.write(one.repeat(50));
  await once(socket, 'data');
  socket.destroy();
  await until(() => own.lines.length === before + 50, 'the end of every request');
  await idle(own.url);
  assert.equal(await metric(own.url, 'loopnn_waiting_sequences'), 0);
  await own.server.drain();
});

test('a template that takes too long for its messages is stopped, and nobody else with it', async () => {
  const pairs =
    '{% for a in messages %}{% for b in messages %}{{ a.content ~ b.content }}{% endfor %}{% endfor %}';
  const own = await serveRun(run, { chatTemplate: pairs, limits: { bodyBytes: 2 ** 20 } });
  const chat = (messages: number) => ({
    model: 'tiny',
    messages: Array.from({ length: messages }, () => ({ role: 'user', content: 'x' })),
    max_tokens: 1,
  });
  assert.equal((await post(own.url, '/v1/chat/completions', chat(3))).status, 200);
  const started = performance.now();
  const slow = Array.from({ length: 3 }, () =>
    refused(
      post(own.url, '/v1/chat/completions', chat(1000)),
      400,
      /^messages: must suit .*\(took longer than 250 ms\)/,
    ),
  );
  await Promise.all(slow);
  assert.ok(performance.now() - started < 5000);
  assert.equal((await clientOf(own.url).completions.create(body)).choices[0].text, expected);
});

test('answers under way do not keep a server that ends longer than its limit', async () => {
  const notices: string[] = [];
  const own = await serveRun(run, {
    limits: { drainTimeoutMs: 200 },
    notice: (line) => notices.push(line),
  });
  const long = { ...body, max_tokens: 1000, loops: 16, n: 4 };
  const stream = await clientOf(own.url).completions.create({ ...long, stream: true });
  const cut = assert.rejects(async () => {
    for await (const _ of stream);
  });
  const started = performance.now();
  await own.server.drain();
  assert.ok(performance.now() - started < 3000);
  await cut;
  assert.match(notices.join('\n'), /^1 answers are cut off: the time to finish them is over$/m);
});

test('a full queue is a 429 with retry-after; what can never fit is a 400', async () => {
  const client = clientOf(url);
  const controller = new AbortController();
  const long = { ...body, max_tokens: 900, loops: 16 };
  // Two run, two wait.
  const busy = client.completions.create({ ...long, n: 4 }, { signal: controller.signal });
  await until(async () => (await metric(url, 'loopnn_running_sequences')) === 2, 'two running');
  assert.equal(await metric(url, 'loopnn_waiting_sequences'), 2);
  const full = await refused(post(url, path, body), 429, /too many requests/);
  assert.match(full.headers.get('retry-after') ?? '', /^[1-9]\d*$/);
  await assert.rejects(client.completions.create(body), OpenAI.RateLimitError);
  controller.abort();
  await assert.rejects(busy, OpenAI.APIUserAbortError);
  await idle();
  await refused(post(url, path, { ...body, n: 5 }), 400, /^n: asks for more sequences than the 4 served/);
});

test('request ids: the client’s where it is sane, else our own', async () => {
  const id = async (sent: string) => {
    const response = await post(url, path, body, { 'x-request-id': sent });
    await response.text();
    return response.headers.get('x-request-id');
  };
  assert.equal(await id('abc-1.2:3_4'), 'abc-1.2:3_4');
  assert.match((await id('a b'))!, /^req_/);
  assert.match((await id('x'.repeat(200)))!, /^req_/);
});

test('nobody writes lines of their own into the log', async () => {
  const before = lines.length;
  await (await fetch(`${url}/a%0APOST%20/b%1b[31m`)).text();
  await (await post(url, path, '{"a\\nb": \n\n x')).text();
  await until(() => lines.length === before + 2, 'two lines');
  for (const line of lines.slice(before)) assert.doesNotMatch(line, /\p{Cc}/u);
});

test('API keys: all but /health wants one of them', async () => {
  const keyed = await serveRun(run, { keys: new ApiKeys(['first-key-1', 'second-key-2'], 'keys') });
  for (const key of ['first-key-1', 'second-key-2']) {
    assert.equal((await clientOf(keyed.url, key).completions.create(body)).choices[0].text, expected);
  }
  for (const key of ['first-key-', 'first-key-12', 'x', 'second-key-2,first-key-1']) {
    await assert.rejects(clientOf(keyed.url, key).models.list(), (error: unknown) => {
      assert.ok(
        error instanceof OpenAI.AuthenticationError && error.code === 'invalid_api_key',
        String(error),
      );
      return true;
    });
  }
  const bare = await refused(fetch(`${keyed.url}/v1/models`), 401, /no API key was given/);
  assert.equal(bare.headers.get('www-authenticate'), 'Bearer');
  assert.equal((await fetch(`${keyed.url}/metrics`)).status, 401);
  assert.equal((await fetch(`${keyed.url}/nothing`)).status, 401);
  assert.equal((await fetch(`${keyed.url}/health`)).status, 200);
});

test('an answer that takes too long is a 504, and in a stream its last event', async () => {
  const hurried = await serveRun(run, { limits: { timeoutMs: 300 } });
  const long = { ...body, max_tokens: 1000, loops: 16, n: 4 };
  const response = await post(hurried.url, path, long);
  assert.equal(response.status, 504);
  assert.equal(response.headers.get('x-should-retry'), 'false');
  const { error } = (await response.json()) as { error: { code: string; type: string } };
  assert.deepEqual([error.code, error.type], ['timeout', 'server_error']);
  await idle(hurried.url);
  const stream = await clientOf(hurried.url).completions.create({ ...long, stream: true });
  let chunks = 0;
  await assert.rejects(
    async () => {
      for await (const _ of stream) chunks++;
    },
    (thrown: unknown) => thrown instanceof OpenAI.APIError && thrown.code === 'timeout',
  );
  assert.ok(chunks > 0);
});
