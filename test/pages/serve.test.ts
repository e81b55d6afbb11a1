/** The page of `loopnn serve` in a browser: an answer as it comes. What goes wrong, and a proxy: `serve.full.ts`. */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { serveRun, trainedRun } from '../serve/helpers.js';
import { accessibilityProblems, openBrowser, openPage, overflow, skip } from './page.js';
import { generate } from './serve-page.js';

const run = skip ? '' : await trainedRun();
const browser = skip ? null : await openBrowser();
after(() => browser?.close());

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
    'Maximum tokens': '9',
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
  assert.match((await shown.locator('.details').textContent())!, /probability (< )?[\d.]+ %, 3 loops/);
  assert.deepEqual(await accessibilityProblems(shown), []);

  await generate(shown, { 'Loops for': '16', 'Maximum tokens': '1000' });
  await shown.getByRole('button', { name: 'Stop' }).click();
  await shown.getByText('Stopped.').waitFor();
  await shown.setViewportSize({ width: 390, height: 844 });
  await shown.emulateMedia({ colorScheme: 'dark' });
  assert.equal(await overflow(shown), 0);
  assert.deepEqual(await accessibilityProblems(shown), []);

  await shown.getByLabel('chat').check();
  const chat = shown.waitForRequest('**/v1/chat/completions');
  await generate(shown, { 'Your message': 'Hello', 'Loops for': '', 'Maximum tokens': '5' });
  const { messages, loops: all } = (await chat).postDataJSON();
  assert.deepEqual([messages.at(-1), all], [{ role: 'user', content: 'Hello' }, undefined]);
  assert.deepEqual(problems, []);
});

test('the page’s files end at its folder, and without a page there are none', { skip }, async () => {
  const { url } = await serveRun(run, { page: true });
  const head = await fetch(url, { method: 'HEAD' });
  assert.deepEqual([head.status, await head.text()], [200, '']);
  for (const path of ['/index.htm', '/%2e%2e/package.json', '/..%2fpackage.json', '/v1/main.js']) {
    assert.equal((await fetch(url + path)).status, 404, path);
  }
  assert.equal((await fetch(`${url}/main.css/`)).status, 200);
  const { url: bare } = await serveRun(run, { page: false });
  const none = await fetch(bare);
  assert.equal(none.status, 404);
  assert.match(JSON.stringify(await none.json()), /GET \/: no such path/);
});
