/**
 * The playground in a real browser: what its parts are for. The race is in `race.full.ts`, and more of the others in
 * `playground.full.ts`.
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { Browser, Page } from 'playwright-core';
import { type Inspection, inspect } from '../../src/experiments/inspect.js';
import { exitCount } from '../../src/models/config.js';
import type { ExitOptions } from '../../src/models/exits/options.js';
import { loadRun, openRun } from '../../src/node/run.js';
import { visible } from '../../src/printable.js';
import { accessibilityProblems, openBrowser, openPage, overflow, skip } from './page.js';
import { type PageSite, servePage } from './site.js';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const TEXT = 'We must make peace with our neighbors';
const PHONE = { viewport: { width: 390, height: 844 }, hasTouch: true, serviceWorkers: 'block' } as const;
const DESK = { serviceWorkers: 'block' } as const;

let browser: Browser;
let site: PageSite;
before(async () => {
  if (skip) return;
  [browser, site] = await Promise.all([openBrowser(), servePage('playground')]);
});
after(async () => {
  await browser?.close();
  await site?.[Symbol.asyncDispose]();
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
  const loops = exitCount(model.config);
  model.dispose();
  const { page, problems } = await openPage(browser, `${site.url}#slider?loops=2`, DESK);
  await page.fill('textarea', TEXT);
  await page
    .getByRole('radio')
    .nth(expected.tokens.length - 1)
    .waitFor();
  const slider = page.getByRole('slider', { name: 'Loops' });
  assert.equal(await slider.getAttribute('aria-valuetext'), `2 loops of ${loops}`);
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
  assert.equal(await page.getByRole('img', { name: /^Loop \d: gates/ }).count(), loops);
  await page.getByRole('button', { name: 'Continue with 3 loops' }).click();
  await page.getByText(`Written with 3 of ${loops} loops`).waitFor();
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
  const { model, tokenizer } = await shipped();
  const most = exitCount(model.config);
  const text = `${TEXT}, and with all nations of the world.`;
  const address = `${site.url}#exits?text=${encodeURIComponent(text)}&by=entropy&eager=0`;
  const { page, problems } = await openPage(browser, address, PHONE);
  const numbers = () => page.locator('.numbers dd').allTextContents();
  await page.locator('.exits .token').first().waitFor();
  assert.deepEqual((await numbers()).slice(0, 2), [`${most}.00 of ${most}`, '0 %']);
  const slider = page.getByRole('slider', { name: 'Threshold' });
  await slider.focus();
  await page.keyboard.press('End');
  const [loops, saved, loss] = (await numbers()).map(number);
  assert.ok(loops < most && saved > 0);
  const threshold = number(await page.locator('label output').textContent());
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
  await page.getByLabel('A token exits by').selectOption('change');
  await page.waitForURL(/by=change/);
  for (const part of ['slider', 'exits']) {
    await page.click(`nav a[href="#${part}"]`);
    await page.locator(`section:not([hidden]) .tokens .token`).first().waitFor();
    for (const width of [320, 390]) {
      await page.setViewportSize({ width, height: 844 });
      assert.equal(await overflow(page), 0, `${part} at ${width}`);
    }
  }
  assert.deepEqual(await accessibilityProblems(page), []);
  assert.deepEqual(problems, []);
  await page.context().close();
});

test('two networks learn parity until they are stopped', { skip, timeout: 60_000 }, async () => {
  const { page, problems } = await openPage(browser, `${site.url}#parity`, PHONE);
  await page.getByRole('button', { name: 'Train both' }).click();
  const wrong = page.locator('.parity .scores tbody td:nth-child(2)');
  await wrong.filter({ hasText: '%' }).nth(1).waitFor();
  for (const rate of await wrong.allTextContents()) assert.match(rate, /^\d+\.\d %$/);
  await page.getByRole('button', { name: 'Stop' }).click();
  await page.locator('.parity [role=status]').getByText('Stopped').waitFor();
  assert.deepEqual(await accessibilityProblems(page), []);
  assert.equal(await overflow(page), 0);
  assert.deepEqual(problems, []);
  await page.context().close();
});
