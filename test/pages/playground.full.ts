/** The playground with a run of one's own, without network, on a host of static files, and in its next version. */
import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { Browser } from 'playwright-core';
import { createBackend } from '../../src/node/backend.js';
import { NodeStore } from '../../src/node/store.js';
import { exportModel } from '../../src/operations/export.js';
import { servePlayground } from '../../src/operations/play.js';
import { Site } from '../web/chromium.js';
import { trainedBits } from '../web/same-bits.js';
import { openBrowser, openPage, skip } from './page.js';

const BUILT = fileURLToPath(new URL('../../pages/playground', import.meta.url));

let browser: Browser;
const folder = mkdtempSync(join(tmpdir(), 'loopnn-playground-'));
const run = join(folder, 'run');
const published = join(folder, 'mine');
before(async () => {
  if (skip) return;
  await trainedBits(await createBackend({ name: 'reference' }), new NodeStore(run));
  await exportModel({ model: run, out: published, format: 'browser' });
  browser = await openBrowser();
});
after(async () => {
  await browser?.close();
  rmSync(folder, { recursive: true });
});

test('a run of one’s own takes the model’s place, and a damaged one says what is wrong', {
  skip,
  timeout: 60_000,
}, async () => {
  const damaged = join(folder, 'damaged');
  cpSync(published, damaged, { recursive: true });
  const weights = join(damaged, 'checkpoints/best-0000006/model.safetensors');
  const bytes = readFileSync(weights);
  bytes[bytes.length - 9] ^= 1;
  writeFileSync(weights, bytes);
  // A host that does not let pages share memory.
  await using site = await Site.open({ isolated: false, root: BUILT });
  const { page, problems } = await openPage(browser, site.url, { serviceWorkers: 'block' });
  const bar = page.getByRole('status').first();
  await bar.getByText('computed on one thread, since this page may not share memory').waitFor();
  await page.setInputFiles('input[type=file]', damaged);
  await page.getByText(/model could not be loaded: .*model\.safetensors: must .*CRC-32C/).waitFor();
  assert.match((await bar.textContent())!, /^The model of this page: 1 layer × \d loops/);
  await page.setInputFiles('input[type=file]', run);
  await bar.getByText('run: 1 layer × 2 loops, 48 channels').waitFor();
  await page.getByText(/reads 32 tokens at most/).waitFor();
  await page.fill('textarea', 'What');
  await page.getByText(/^Loops: 2 of 2/).waitFor();
  const drops = await page.context().newCDPSession(page);
  const place = (await page.locator('.card.model').boundingBox())!;
  const drop = async (path: string) => {
    for (const type of ['dragEnter', 'dragOver', 'drop'] as const) {
      const data = { items: [], files: [path], dragOperationsMask: 1 };
      await drops.send('Input.dispatchDragEvent', { type, x: place.x + 20, y: place.y + 20, data });
    }
  };
  await drop(join(damaged, 'config.json'));
  await page.getByText(/must hold a tokenizer\.json/).waitFor();
  await drop(published);
  await bar.getByText('mine: 1 layer × 2 loops').waitFor();
  await page.getByRole('button', { name: 'Back to the model of this page' }).click();
  await bar.getByText('The model of this page').waitFor();
  assert.deepEqual(problems, []);
  await page.context().close();
});

test('a run is served in place of the model, and the page works without network', {
  skip,
  timeout: 60_000,
}, async () => {
  const own = await servePlayground({ model: run });
  assert.equal((await fetch(`${own.url}/model/%zz`)).status, 404);
  assert.equal(own.step, 6);
  const { page } = await openPage(browser, `${own.url}/#slider?text=What`);
  await page.getByText('1 layer × 2 loops, 48 channels').waitFor();
  await page.getByText('works without a network from now on').waitFor();
  // The model comes by way of the worker that keeps files from the second visit on.
  await page.reload();
  await page.getByText(/^Loops: 2 of 2/).waitFor();
  await own.close();
  await page.reload();
  await page.getByText(/^Loops: 2 of 2/).waitFor();
  assert.equal(await page.evaluate('crossOriginIsolated'), true);
  await page.click('nav a[href="#exits"]');
  await page.locator('.exits .token').first().waitFor();
  await page.context().close();
});

test('a static host is enough; the next version waits to be let in', { skip, timeout: 120_000 }, async () => {
  const root = join(folder, 'static');
  const files = join(root, 'some/path');
  cpSync(BUILT, files, { recursive: true });
  await using site = await Site.open({ isolated: false, root });
  const { page, problems } = await openPage(browser, `${site.url}some/path/`);
  const bar = page.getByRole('status').first();
  await bar.getByText('computed on one thread, since this page may not share memory').waitFor();
  await page.getByText('works without a network from now on').waitFor();
  // From the second visit on, the worker that keeps files isolates the page.
  await page.reload();
  await bar.getByText(/computed on (\d+ threads|one thread)\.$/).waitFor();
  assert.equal(await page.evaluate('crossOriginIsolated'), true);

  const replace = (name: string, from: RegExp, to: string) => {
    const file = join(files, name);
    const text = readFileSync(file, 'utf8');
    assert.match(text, from);
    writeFileSync(file, text.replace(from, to));
  };
  replace('index.html', /<title>.*<\/title>/, '<title>The next version</title>');
  replace('service-worker.js', /"[0-9a-f]{16}"/, '"0123456789abcdef"');
  await page.reload();
  await page.getByRole('button', { name: 'Load it' }).waitFor();
  assert.equal(await page.title(), 'loopnn: what looping does');
  const loaded = page.waitForEvent('load');
  await page.getByRole('button', { name: 'Load it' }).click();
  await loaded;
  assert.equal(await page.title(), 'The next version');
  await page.locator('.bars li').first().waitFor();
  assert.deepEqual(
    problems.filter((problem) => !problem.includes('MIME type')),
    [],
  );
});
