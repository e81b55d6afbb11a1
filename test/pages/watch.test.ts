/** The page of `loopnn watch` in a real browser, as a person uses it while runs grow, stop and go on. */
import assert from 'node:assert/strict';
import { appendFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import type { Browser, Page } from 'playwright-core';
import { ApiKeys } from '../../src/serve/keys.js';
import { WatchServer } from '../../src/watch/server.js';
import { evaluation, temporary, updates, writeRun } from '../watch/helpers.js';
import { accessibilityProblems, openBrowser, openPage, overflow, skip } from './page.js';

let browser: Browser | null = null;
after(() => browser?.close());
const opened = async (...page: [url: string, options?: Parameters<typeof openPage>[2]]) => {
  browser ??= await openBrowser();
  return openPage(browser, ...page);
};

/** A server that looks often. */
const serving = (root: string, port = 0, keys: string[] = []) =>
  WatchServer.start({
    folders: [root],
    host: '127.0.0.1',
    port,
    keys: new ApiKeys(keys, 'test'),
    pollMs: 100,
  });

/** Says in the console that nobody answers. */
const AWAY = /ERR_CONNECTION_REFUSED|ERR_EMPTY_RESPONSE|ERR_INCOMPLETE_CHUNKED/;

const lossChart = (page: Page) => page.getByRole('img', { name: /^Loss; latest values/ });
/** Whether anything in the first chart is of a colour. */
const isColoured = (page: Page) =>
  page.evaluate<boolean>(`{
    const canvas = document.querySelector('canvas');
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    let most = 0;
    for (let i = 0; i < data.length; i += 4) {
      const [r, g, b, alpha] = data.subarray(i, i + 4);
      if (alpha > 200) most = Math.max(most, Math.max(r, g, b) - Math.min(r, g, b));
    }
    most > 60;
  }`);
const told = (page: Page, name: RegExp) => page.getByRole('img', { name }).first().waitFor();

test('runs that grow, go on, appear and are switched off, and a server that comes back', {
  skip,
}, async () => {
  const root = temporary();
  const gates = { 'transformer.gates': [{ mean: 0.9, std: 0.1, min: 0, max: 1 }] };
  const loopParts = { 'carry-over': [{ mean: 0.5, std: 0.1, min: 0.3, max: 0.8 }] };
  const lossByLoops = [1, 2].map((loops) => ({ loops, valLoss: 3 - loops / 2 }));
  const first = evaluation(0, { sample: 'As it began', gates, lossByLoops });
  const log = writeRun(
    join(root, 'looped'),
    first +
      updates(1, 40) +
      evaluation(40, { sample: 'The people', gates, lossByLoops, loopParts, stateRms: [1, 2] }),
  );
  writeRun(join(root, 'plain'), updates(1, 100) + evaluation(100), { lr: 0.01 });
  let server = await serving(root);
  try {
    const { page, problems } = await opened(server.url);
    await page.getByText('2 runs below').waitFor();
    await page.getByText('step 40 of 100').waitFor();
    await page.getByText('finished').waitFor();
    await told(page, /^Loss; latest values: .*looped, validation 2\.5/);
    await told(page, /^Validation loss by number of loops; latest values: 1 loop 2\.5, 2 loops 2$/);
    await told(page, /^Gates; latest values: loop 1 0\.9$/);
    await told(page, /^Carry-over; latest values: mean 0\.5, least 0\.3, largest 0\.8$/);
    await told(page, /^State after each loop; latest values: after loop 1 1, after loop 2 2$/);
    await page.getByText('The people').waitFor();
    await page.getByLabel(/^Sample at step/).fill('0');
    await page.getByText('As it began').waitFor();
    const differing = page.locator('tr.differs');
    assert.match((await differing.first().textContent())!, /^lr ≠0\.00060\.01$/);
    assert.deepEqual(await accessibilityProblems(page), []);
    assert.ok(await isColoured(page), 'curves have their colours');

    appendFileSync(log, updates(41, 60));
    await page.getByText('step 60 of 100').waitFor();
    // Goes on from its checkpoint.
    writeFileSync(log, updates(1, 50));
    await page.getByText('step 50 of 100').waitFor();
    writeRun(join(root, 'later'), updates(1, 7));
    await page.getByText('3 runs below').waitFor();

    await page.locator('.plot').first().scrollIntoViewIfNeeded();
    const box = (await page.locator('.plot').first().boundingBox())!;
    await page.mouse.move(box.x + 150, box.y + 80);
    await page.locator('.values').getByText('plain', { exact: false }).first().waitFor();
    await page.mouse.down();
    await page.mouse.move(box.x + 250, box.y + 80);
    await page.mouse.up();
    await page.waitForURL(/#zoom=/);
    await page.getByRole('button', { name: 'Show all' }).click();
    await page.getByRole('checkbox', { name: /plain/ }).uncheck();
    await page.waitForURL(/#off=0%2Fplain$/);
    assert.doesNotMatch((await lossChart(page).getAttribute('aria-label'))!, /plain/);
    await page.getByLabel('Against').selectOption('FLOPs');
    await page.waitForURL(/x=flops/);

    const port = Number(new URL(server.url).port);
    await server.close();
    await page.getByRole('alert').getByText('The server is gone').waitFor();
    appendFileSync(log, updates(51, 90));
    server = await serving(root, port);
    await page.getByText('step 90 of 100').waitFor();
    assert.equal(await page.getByRole('alert').count(), 0);
    assert.equal(await page.getByRole('checkbox', { name: /plain/ }).isChecked(), false);
    assert.deepEqual(
      problems.filter((problem) => !AWAY.test(problem)),
      [],
    );
  } finally {
    await server.close();
  }
});

test('nothing there yet, a key, and a small dark screen', { skip }, async () => {
  const root = temporary();
  const server = await serving(root, 0, ['right-key']);
  try {
    const { page } = await opened(server.url, { viewport: { width: 390, height: 800 }, colorScheme: 'dark' });
    // The first cannot stand in a header.
    for (const wrong of ['ключ', 'wrong-key']) {
      await page.getByLabel('API key').fill(wrong);
      await page.getByRole('button', { name: 'Use this key' }).click();
    }
    await page.getByRole('alert').getByText('does not know this key').waitFor();
    assert.deepEqual(await accessibilityProblems(page), []);
    await page.getByLabel('API key').fill('right-key');
    await page.keyboard.press('Enter');
    await page.getByText('No run is there yet').waitFor();
    writeRun(
      join(root, 'looped'),
      updates(1, 40) + evaluation(40, { sample: 'The people', memoryBytes: 2e8 }),
    );
    await page.getByText('step 40 of 100').waitFor();
    await told(page, /^Memory of the process; latest values: looped 191 MiB$/);
    assert.deepEqual(await accessibilityProblems(page), []);
    assert.equal(await overflow(page), 0);
  } finally {
    await server.close();
  }
});
