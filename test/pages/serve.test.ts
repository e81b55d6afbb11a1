/** The page of `loopnn serve` in a browser: an answer as it comes, what goes wrong in words, and the server without a page. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, test } from 'node:test';
import type { Page } from 'playwright-core';
import { serveModel, type ServeModelOptions } from '../../src/operations/serve.js';
import { ApiKeys } from '../../src/serve/keys.js';
import { serveRun, trainedRun } from '../serve/helpers.js';
import { accessibilityProblems, openBrowser, openPage, overflow, skip } from './page.js';

const run = skip ? '' : await trainedRun();
const browser = skip ? null : await openBrowser();
after(() => browser?.close());

async function generate(shown: Page, fields: Readonly<Record<string, string>>): Promise<void> {
  for (const [label, value] of Object.entries(fields)) await shown.getByLabel(label).fill(value);
  await shown.getByRole('button', { name: 'Generate' }).click();
}

test('a prompt is answered token by token, as the fields say, and stopped; another kind of answer is a chat', {
  skip,
}, async () => {
  const { url } = await serveRun(run, { page: true });
  const { page: shown, problems } = await openPage(browser!, url);
  const sent = shown.waitForRequest('**/v1/completions');
  await generate(shown, {
    'Text to continue': 'Line 7',
    'Loops for': '3',
    Temperature: '0',
    'Most tokens': '9',
  });
  const { prompt, loops, temperature, max_tokens: most, top_k: topK } = (await sent).postDataJSON();
  assert.deepEqual([prompt, loops, temperature, most, topK], ['Line 7', 3, 0, 9, undefined]);
  await shown.locator('.end').waitFor();
  const answer = shown.locator('section.answer');
  const expected = await fetch(`${url}/v1/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'tiny', prompt, loops, temperature, max_tokens: most }),
  });
  const { choices } = (await expected.json()) as { choices: { text: string }[] };
  assert.equal(await answer.textContent(), `Line 7${choices[0].text}`);
  await answer.focus();
  await shown.keyboard.press('End');
  assert.match((await shown.locator('.details').textContent())!, /probability [\d.]+ %, 3 loops/);
  assert.deepEqual(await accessibilityProblems(shown), []);

  await generate(shown, { 'Loops for': '16', 'Most tokens': '1000' });
  await shown.getByRole('button', { name: 'Stop' }).click();
  await shown.getByText('Stopped.').waitFor();
  await shown.setViewportSize({ width: 390, height: 844 });
  await shown.emulateMedia({ colorScheme: 'dark' });
  assert.equal(await overflow(shown), 0);
  assert.deepEqual(await accessibilityProblems(shown), []);

  await shown.getByLabel('chat').check();
  const chat = shown.waitForRequest('**/v1/chat/completions');
  await generate(shown, { 'Your message': 'Hello', 'Loops for': '', 'Most tokens': '5' });
  const { messages, loops: all } = (await chat).postDataJSON();
  assert.deepEqual([messages.at(-1), all], [{ role: 'user', content: 'Hello' }, undefined]);
  assert.deepEqual(problems, []);
});

test('what goes wrong is said: no key, a wrong one, a model that loads, a prompt that is too long, no server', {
  skip,
}, async () => {
  const { server, url } = await serveRun(run, { page: true, keys: new ApiKeys(['the-right-key'], 'keys') });
  const { page: shown } = await openPage(browser!, 'about:blank');
  const loading = { status: 503, json: { status: 'loading' } };
  await shown.route('**/health', (route) => route.fulfill(loading), { times: 1 });
  await shown.goto(url);
  await shown.getByText('being loaded').waitFor();
  await shown.getByText('wants a key').waitFor();
  const use = async (key: string) => {
    await shown.getByLabel('API key').fill(key);
    await shown.getByRole('button', { name: 'Use this key' }).click();
  };
  await use('a-wrong-key');
  await shown.getByText('does not know this key').waitFor();
  await use('the-right-key');
  await shown.locator('button.main:enabled').waitFor();
  await generate(shown, { 'Text to continue': 'too long '.repeat(200) });
  await shown.getByText('The prompt is too long').waitFor();
  await server.close();
  await generate(shown, { 'Text to continue': 'short' });
  await shown.getByText('The server does not answer').waitFor();
});

/** A server as the library starts it. */
async function served(options: Pick<ServeModelOptions, 'page'>) {
  const server = await serveModel({ model: run, precision: 'f32', ...options });
  after(() => server.close());
  await server.ready;
  return server;
}

test('the page stands below any path, and its files end at its folder', { skip }, async () => {
  const { url } = await served({});
  const { hostname, port } = new URL(url);
  const proxy = createServer((incoming, outgoing) => {
    const { method, headers } = incoming;
    const path = incoming.url!.replace('/models/tiny/', '/');
    const passed = request({ hostname, port, method, path, headers }, (answer) => {
      outgoing.writeHead(answer.statusCode!, answer.headers);
      answer.pipe(outgoing);
    });
    incoming.pipe(passed);
  });
  proxy.listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  try {
    const at = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}/models/tiny/`;
    const { page: shown, problems } = await openPage(browser!, at);
    await generate(shown, { 'Text to continue': 'Line 7', 'Most tokens': '3' });
    await shown.locator('.end').waitFor();
    assert.deepEqual(problems, []);
    await shown.context().close();
  } finally {
    proxy.closeAllConnections();
    proxy.close();
  }
  const head = await fetch(url, { method: 'HEAD' });
  assert.deepEqual([head.status, await head.text()], [200, '']);
  for (const path of [
    '/index.htm',
    '/%2e%2e/package.json',
    '/..%2fpackage.json',
    '/main.css/',
    '/v1/main.js',
  ]) {
    const response = await fetch(url + path);
    if (path === '/main.css/') assert.equal(response.status, 200);
    else assert.equal(response.status, 404, path);
  }
  const { url: bare } = await served({ page: false });
  const none = await fetch(bare);
  assert.equal(none.status, 404);
  assert.match(JSON.stringify(await none.json()), /GET \/: no such path/);
});
