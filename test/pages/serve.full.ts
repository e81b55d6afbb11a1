/** The page of `loopnn serve` in a browser: what goes wrong, in words, and the page behind a proxy. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, test } from 'node:test';
import { serveModel } from '../../src/operations/serve.js';
import { ApiKeys } from '../../src/serve/keys.js';
import { serveRun, trainedRun } from '../serve/helpers.js';
import { openBrowser, openPage, skip } from './page.js';
import { generate } from './serve-page.js';

const run = skip ? '' : await trainedRun();
const browser = skip ? null : await openBrowser();
after(() => browser?.close());

test('what goes wrong is said: no key, a wrong one, a model that loads, a prompt that is too long, no server', {
  skip,
}, async () => {
  const { server, url } = await serveRun(run, { page: true, keys: new ApiKeys(['the-right-key'], 'keys') });
  const { page: shown } = await openPage(browser!, 'about:blank');
  const loading = { status: 503, json: { status: 'loading' } };
  await shown.route('**/health', (route) => route.fulfill(loading), { times: 1 });
  await shown.goto(url);
  await shown.getByText('being loaded').waitFor();
  await shown.getByText('needs an API key').waitFor();
  const use = async (key: string) => {
    await shown.getByLabel('API key').fill(key);
    await shown.getByRole('button', { name: 'Use this key' }).click();
  };
  // The second cannot stand in a header.
  for (const wrong of ['a-wrong-key', 'ключ']) {
    await use(wrong);
    await shown.getByText('does not know this key').waitFor();
  }
  await use('the-right-key');
  await shown.locator('button.main:enabled').waitFor();
  await generate(shown, { 'Text to continue': 'too long '.repeat(200) });
  await shown.getByText('The prompt is too long').waitFor();
  const other = { status: 404, json: { error: { message: 'model', code: 'model_not_found' } } };
  await shown.route('**/v1/completions', (route) => route.fulfill(other), { times: 1 });
  await generate(shown, { 'Text to continue': 'short' });
  await shown.getByText('now has another model').waitFor();
  await shown.getByRole('alert').waitFor({ state: 'detached' });
  await server.close();
  await generate(shown, { 'Text to continue': 'short' });
  await shown.getByText('The server does not answer').waitFor();
});

test('the page stands below any path', { skip }, async () => {
  const server = await serveModel({ model: run, precision: 'f32' });
  after(() => server.close());
  await server.ready;
  const { hostname, port } = new URL(server.url);
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
    await generate(shown, { 'Text to continue': 'Line 7', 'Maximum tokens': '3' });
    await shown.locator('.end').waitFor();
    assert.deepEqual(problems, []);
    await shown.context().close();
  } finally {
    proxy.closeAllConnections();
    proxy.close();
  }
});
