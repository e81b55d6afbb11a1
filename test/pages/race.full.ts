/**
 * The playground's race at length: a reload, its file in Node, typing beside it, a full disk, no file system, a second
 * tab.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import type { Browser } from 'playwright-core';
import { loadModel } from '../../src/index.js';
import { modelCost } from '../../src/models/cost.js';
import { trainRun } from '../../src/operations/train.js';
import { parseRunConfig } from '../../src/train/config.js';
import type { StepEvent } from '../../src/train/events.js';
import { accessibilityProblems, openBrowser, openPage, overflow, skip } from './page.js';
import { button, column, numberOf, saveInto, stepsOf, TEXT, untilStatus, untilStep } from './race-page.js';
import { servePage } from './site.js';

const IDS = ['one-layer', 'looped', 'two-layers'];
const STEPS = 24;

let browser: Promise<Browser> | undefined;
const shared = () => {
  browser ??= openBrowser();
  return browser;
};
after(async () => (await browser)?.close());

test('a race pauses, survives a reload, and its file is resumed in Node', {
  skip,
  timeout: 180_000,
}, async () => {
  const folder = mkdtempSync(join(tmpdir(), 'loopnn-race-'));
  try {
    await using site = await servePage('playground');
    const url = `${site.url}#race?text=own&steps=${STEPS}`;
    const { page, problems } = await openPage(await shared(), url, { serviceWorkers: 'block' });
    await button(page, 'Start').click();
    assert.match(
      (await page.getByRole('alert').textContent())!,
      /no text yet; a race needs at least 2,000 characters/,
    );
    await page.getByLabel(/^Your text/).fill(TEXT.slice(0, 500));
    await button(page, 'Start').click();
    await page.getByText('The text has 500 characters; a race needs').waitFor();
    await page.getByLabel(/^Your text/).fill('a'.repeat(2000));
    await button(page, 'Start').click();
    await page.getByText('choose a text that is longer, or repeats itself less').waitFor();
    const source = page.locator('.race fieldset select');
    await source.selectOption('file');
    const buffer = Buffer.from([0xff, 0xd8, 0xff, 0xe0]);
    await page
      .locator('.race input[type=file]')
      .setInputFiles({ name: 'a.jpg', mimeType: 'image/jpeg', buffer });
    await button(page, 'Start').click();
    await page.getByText('“a.jpg” is not a text file').waitFor();
    await source.selectOption('own');
    await page.getByLabel(/^Your text/).fill(TEXT);
    await button(page, 'Start').click();
    await untilStep(page, 3);
    assert.equal(await page.getByRole('alert').count(), 0);

    await button(page, 'Pause').click();
    await untilStatus(page, 'Paused');
    assert.deepEqual(await accessibilityProblems(page), []);
    await page.setViewportSize({ width: 390, height: 844 });
    assert.equal(await overflow(page), 0);
    const paused = await stepsOf(page);
    assert.ok(Math.max(...paused) - Math.min(...paused) <= 1, `in turns: ${paused}`);
    await saveInto(page, folder);
    assert.deepEqual(await stepsOf(page), paused);
    const halfway = { data: join(folder, 'race/data'), out: join(folder, 'race', IDS[1]), resume: true };

    await page.reload();
    await page.getByText(`at step ${Math.min(...paused)} of ${STEPS}`).waitFor();
    await button(page, 'Resume it').click();
    await untilStatus(page, 'Finished');
    assert.deepEqual(await stepsOf(page), [STEPS, STEPS, STEPS]);
    const losses = (await column(page, 7)).map(Number);
    assert.ok(
      losses.every((loss) => loss < 5),
      `held out: ${losses}`,
    );
    assert.equal(await page.locator('.samples .written').count(), 3);

    // What the file's run does next in Node is what the tab has done.
    const next = await firstStep(halfway);
    assert.equal(next.step, paused[1] + 1);
    await saveInto(page, folder);
    const parameters = (await column(page, 2)).map(numberOf);
    const flops = (await column(page, 3)).map(numberOf);
    for (const [i, id] of IDS.entries()) {
      const config = readFileSync(join(folder, 'race', id, 'config.json'), 'utf8');
      const cost = modelCost(parseRunConfig(JSON.parse(config), id).model);
      assert.equal(parameters[i], cost.parameters.total);
      assert.equal(flops[i], cost.flopsPerToken.forward + cost.flopsPerToken.backward);
    }
    const log = readFileSync(join(folder, 'race/looped/metrics.jsonl'), 'utf8').trim().split('\n');
    const made = log
      .map((line) => JSON.parse(line) as StepEvent)
      .find(({ kind, step }) => kind === 'step' && step === next.step)!;
    // Other instructions round otherwise.
    assert.ok(Math.abs(made.loss - next.loss) < 1e-4, `${next.loss} in Node, ${made.loss} in the tab`);
    await using model = await loadModel(join(folder, 'race/looped'));
    let written = '';
    for await (const { text } of model.generate('the wheel', { maxTokens: 8 })) written += text;
    assert.ok(written.length > 0);

    assert.deepEqual(problems, []);
    await page.context().close();
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test('a page that shares no memory races, and says so', { skip, timeout: 120_000 }, async () => {
  await using site = await servePage('playground', { isolated: false });
  const url = `${site.url}#race?text=state-of-the-union&steps=10`;
  const { page, problems } = await openPage(await shared(), url, { serviceWorkers: 'block' });
  await button(page, 'Start').click();
  await untilStatus(page, 'Finished');
  await page.getByText('does not share memory with its workers, so one thread computes').waitFor();
  assert.deepEqual(await stepsOf(page), [10, 10, 10]);
  assert.deepEqual(problems, []);
  await page.context().close();
});

test('a worker that does not load is told, and the next order tries again', {
  skip,
  timeout: 60_000,
}, async () => {
  await using site = await servePage('playground');
  const { page } = await openPage(await shared(), `${site.url}#slider`, { serviceWorkers: 'block' });
  await page.route('**/race-worker.js', (route) => route.abort());
  await page.getByRole('link', { name: 'The race' }).click();
  await page.getByText('The race’s worker has stopped').waitFor();
  await page.unroute('**/race-worker.js');
  await page.goto(`${site.url}#race?steps=10`);
  await button(page, 'Start').click();
  await untilStep(page, 1);
  await page.context().close();
});

test('typing beside a race is never held up', { skip, timeout: 300_000 }, async () => {
  await using site = await servePage('playground');
  const browser = await openBrowser();
  try {
    const { page } = await openPage(browser, `${site.url}#race?steps=200`, { serviceWorkers: 'block' });
    await button(page, 'Start').click();
    await untilStep(page, 5);
    await page.evaluate(`
      globalThis.longTasks = [];
      new PerformanceObserver((list) => {
        for (const { duration } of list.getEntries()) longTasks.push(duration);
      }).observe({ entryTypes: ['longtask'] });
    `);
    await page.locator('.race fieldset select').selectOption('own');
    await page
      .getByLabel(/^Your text/)
      .pressSequentially('Whatever is typed here appears at once. '.repeat(5));
    await untilStatus(page, 'Finished');
    assert.equal(
      await page.getByLabel(/^Your text/).inputValue(),
      'Whatever is typed here appears at once. '.repeat(5),
    );
    assert.deepEqual(await page.evaluate('longTasks'), []);
  } finally {
    await browser.close();
  }
});

test('where the browser stores no more, the race continues in memory', {
  skip,
  timeout: 300_000,
}, async () => {
  await using site = await servePage('playground');
  const browser = await openBrowser();
  try {
    const { page, problems } = await openPage(browser, `${site.url}#race?text=own&steps=120`, {
      serviceWorkers: 'block',
    });
    await page.getByLabel(/^Your text/).fill(TEXT);
    await button(page, 'Start').click();
    await untilStep(page, 30);
    const devtools = await page.context().newCDPSession(page);
    await devtools.send('Storage.overrideQuotaForOrigin', {
      origin: new URL(site.url).origin,
      quotaSize: 1000,
    });
    await page.getByText('From now on the race is kept only in memory').first().waitFor({ timeout: 60_000 });
    await untilStatus(page, 'Finished');
    assert.deepEqual(await stepsOf(page), [120, 120, 120]);
    assert.deepEqual(problems, []);
  } finally {
    await browser.close();
  }
});

test('a second tab does not write the runs of the first', { skip, timeout: 300_000 }, async () => {
  await using site = await servePage('playground');
  const browser = await openBrowser();
  try {
    const url = `${site.url}#race?steps=300`;
    const { page } = await openPage(browser, url, { serviceWorkers: 'block' });
    await button(page, 'Start').click();
    await untilStep(page, 3);
    const second = await page.context().newPage();
    await second.goto(url);
    await button(second, 'Start').click();
    await second.getByRole('alert').getByText('must not be in use by another tab').waitFor();
    await button(page, 'Pause').click();
    await untilStatus(page, 'Paused');
  } finally {
    await browser.close();
  }
});

test('a browser that gives no file system races in memory', { skip, timeout: 300_000 }, async () => {
  await using site = await servePage('playground', { isolated: false });
  // Only localhost is trusted without https.
  const browser = await openBrowser(['--host-resolver-rules=MAP play.test 127.0.0.1']);
  try {
    const url = `${site.url.replace('127.0.0.1', 'play.test')}#race?steps=20`;
    const { page } = await openPage(browser, url, { serviceWorkers: 'block' });
    await button(page, 'Start').click();
    await untilStatus(page, 'Finished');
    await page.getByText('This race is lost when the tab is closed').waitFor();
  } finally {
    await browser.close();
  }
});

/** The first update of a run that is resumed in Node. */
async function firstStep(options: { data: string; out: string; resume: boolean }): Promise<StepEvent> {
  const stop = new AbortController();
  const events: StepEvent[] = [];
  await trainRun({
    ...options,
    signal: stop.signal,
    onEvent: (event) => {
      if (event.kind !== 'step') return;
      events.push(event);
      stop.abort();
    },
  });
  return events[0];
}
