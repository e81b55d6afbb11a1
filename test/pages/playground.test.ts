/** The playground in a real browser: the slider, the exits, a run of one's own, and no network. */
import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { Browser, Page } from 'playwright-core';
import { type Inspection, inspect, visible } from '../../src/experiments/inspect.js';
import type { ExitOptions } from '../../src/models/exits/options.js';
import { createBackend } from '../../src/node/backend.js';
import { loadRun, openRun } from '../../src/node/run.js';
import { NodeStore } from '../../src/node/store.js';
import { exportModel } from '../../src/operations/export.js';
import { type Playground, servePlayground } from '../../src/operations/play.js';
import { Site } from '../web/chromium.js';
import { trainedBits } from '../web/same-bits.js';
import { accessibilityProblems, openBrowser, openPage, overflow, skip } from './page.js';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const TEXT = 'We must make peace with our neighbors';
const PHONE = { viewport: { width: 390, height: 844 }, hasTouch: true, serviceWorkers: 'block' } as const;
const DESK = { serviceWorkers: 'block' } as const;

let browser: Browser;
let playground: Playground;
const folder = mkdtempSync(join(tmpdir(), 'loopnn-playground-'));
const published = join(folder, 'mine');
before(async () => {
  if (skip) return;
  const run = join(folder, 'run');
  await trainedBits(await createBackend({ name: 'reference' }), new NodeStore(run));
  await exportModel({ model: run, out: published, format: 'browser' });
  [browser, playground] = await Promise.all([openBrowser(), servePlayground()]);
});
after(async () => {
  await browser?.close();
  await playground?.[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true });
});

/** The shipped model in Node. */
async function shipped() {
  const run = await openRun(join(ROOT, 'models/playground'));
  const { model } = await loadRun(run, { precision: 'f32' });
  return { model, tokenizer: await run.tokenizer() };
}

const cells = (page: Page, row: number) => page.locator('table.loops tbody tr').nth(row).locator('td');
const number = (text: string | null) => Number(/-?[\d.]+/.exec(text ?? '')![0]);

test('the slider tells what inspect does, at every loop and token', { skip, timeout: 60_000 }, async () => {
  const { model, tokenizer } = await shipped();
  const expected: Inspection = await inspect(model, tokenizer, TEXT, { top: 8, threshold: 0.5 });
  model.dispose();
  const { page, problems } = await openPage(browser, `${playground.url}/#slider?loops=2`, DESK);
  await page.fill('textarea', TEXT);
  await page
    .getByRole('radio')
    .nth(expected.tokens.length - 1)
    .waitFor();
  const slider = page.getByRole('slider', { name: 'Loops' });
  assert.equal(await slider.getAttribute('aria-valuetext'), '2 loops of 6');
  await slider.focus();
  await page.keyboard.press('ArrowRight');
  assert.equal(await slider.inputValue(), '3');
  // The fourth token, by the arrow keys.
  await page.getByRole('radio').nth(2).click();
  await page.keyboard.press('ArrowRight');
  const picked = expected.tokens[3];
  assert.equal(await page.locator('[aria-checked=true]').textContent(), visible(picked.text));
  const top = await page
    .getByRole('list', { name: 'Most probable next tokens' })
    .locator('code')
    .allTextContents();
  assert.deepEqual(
    top,
    picked.exits[2].top.map(({ text }) => visible(text)),
  );
  for (const [n, exit] of picked.exits.entries()) {
    const [guess, loss, moved] = await cells(page, n).allTextContents();
    assert.ok(guess.startsWith(visible(exit.top[0].text)));
    const changed = n > 0 && exit.top[0].id !== picked.exits[n - 1].top[0].id;
    assert.equal(guess.includes('the answer changes here'), changed);
    assert.ok(Math.abs(number(loss) - exit.loss!) < 1e-3, `${loss} is ${exit.loss}`);
    assert.ok(Math.abs(number(moved) - exit.relative!) < 1e-2, `${moved} is ${exit.relative}`);
  }
  assert.match(page.url(), /#slider\?text=We\+must.*loops=3&token=3$/);
  await page.locator('summary').click();
  await page.getByText('Attention in loop 3').waitFor();
  assert.equal(await page.getByRole('img', { name: /^Loop \d: gates/ }).count(), 6);
  await page.getByRole('button', { name: 'Continue with 3 loops' }).click();
  await page.getByText('Written with 3 of 6 loops').waitFor();
  await page.fill('textarea', 'word '.repeat(200));
  await page.getByText(/reads 128 tokens at most, and the text has \d+/).waitFor();
  assert.deepEqual(await accessibilityProblems(page), []);
  assert.deepEqual(problems, []);
  await page.context().close();
});

test('a threshold decides where tokens leave, as the model itself has it', {
  skip,
  timeout: 60_000,
}, async () => {
  const text = `${TEXT}, and with all nations of the world.`;
  const address = `${playground.url}/#exits?text=${encodeURIComponent(text)}&by=entropy&eager=0`;
  const { page, problems } = await openPage(browser, address, PHONE);
  const numbers = () => page.locator('.numbers dd').allTextContents();
  await page.locator('.exits .token').first().waitFor();
  assert.deepEqual((await numbers()).slice(0, 2), ['6.00 of 6', '0 %']);
  const slider = page.getByRole('slider', { name: 'Threshold' });
  await slider.focus();
  await page.keyboard.press('End');
  const [loops, saved, loss] = (await numbers()).map(number);
  assert.ok(loops < 6 && saved > 0);
  const threshold = number(await page.locator('label output').textContent());
  const { model, tokenizer } = await shipped();
  const ids = Int32Array.from(tokenizer.encode(text));
  const targets = Int32Array.from(ids, (_, t) => ids[t + 1] ?? -1);
  const exit: ExitOptions = { criterion: 'entropy', threshold };
  using run = model.score(ids, targets, 1, { exit });
  const steps = [...((await run.stepsPerRow!.read()) as Int32Array)];
  const losses = [...((await run.losses.read()) as Float32Array)];
  model.dispose();
  assert.deepEqual((await page.locator('.exits sub').allTextContents()).map(Number), steps);
  const mean = (values: number[]) => values.reduce((sum, x) => sum + x, 0) / (ids.length - 1);
  assert.ok(Math.abs(loss - mean(losses)) < 1e-3);
  assert.ok(Math.abs(loops - mean(steps.slice(0, -1))) < 1e-2);
  const shades = page
    .locator('.exits .token')
    .evaluateAll((tokens) => new Set(tokens.map((one) => one.getAttribute('style'))).size);
  assert.equal(await shades, new Set(steps).size);
  await page.getByLabel('A token leaves by').selectOption('change');
  await page.waitForURL(/by=change/);
  for (const part of ['slider', 'exits']) {
    await page.click(`nav a[href="#${part}"]`);
    await page.locator(`section:not([hidden]) .tokens .token`).first().waitFor();
    assert.equal(await overflow(page), 0, part);
  }
  assert.deepEqual(await accessibilityProblems(page), []);
  assert.deepEqual(problems, []);
  await page.context().close();
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
  await using site = await Site.open({ isolated: false, root: join(ROOT, 'dist/pages/playground') });
  const { page, problems } = await openPage(browser, site.url, DESK);
  const bar = page.getByRole('status').first();
  await bar.getByText('computed on one thread, since this page may not share memory').waitFor();
  await page.setInputFiles('input[type=file]', damaged);
  await page.getByText(/model could not be loaded: .*model\.safetensors: must .*CRC-32C/).waitFor();
  assert.match((await bar.textContent())!, /^The model of this page: 1 layer × 6 loops/);
  await page.setInputFiles('input[type=file]', join(folder, 'run'));
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
  const own = await servePlayground({ model: join(folder, 'run') });
  assert.equal((await fetch(`${own.url}/model/%zz`)).status, 404);
  assert.equal(own.step, 6);
  const { page } = await openPage(browser, `${own.url}/#slider?text=What`);
  await page.getByText('1 layer × 2 loops, 48 channels').waitFor();
  await page.getByText('works without network from now on').waitFor();
  // The model comes by way of the worker that keeps files from the second visit on.
  await page.reload();
  await page.getByText(/^Loops: 2 of 2/).waitFor();
  await own[Symbol.asyncDispose]();
  await page.reload();
  await page.getByText(/^Loops: 2 of 2/).waitFor();
  assert.equal(await page.evaluate('crossOriginIsolated'), true);
  await page.click('nav a[href="#exits"]');
  await page.locator('.exits .token').first().waitFor();
  await page.context().close();
});
