/** The playground's race and parity part at length: typing beside a race, a full disk, no file system, the whole lesson. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openBrowser, openPage, skip } from './page.js';
import { button, stepsOf, TEXT, untilStatus, untilStep } from './race-page.js';
import { servePage } from './site.js';

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

test('where the browser stores no more, the race goes on in memory', { skip, timeout: 300_000 }, async () => {
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
    await page.getByText('The race goes on, but ends with this tab').first().waitFor({ timeout: 60_000 });
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
    await page.getByText('This race ends with the tab').waitFor();
  } finally {
    await browser.close();
  }
});

test('one step errs in a third of all inputs, and ACT in none', { skip, timeout: 300_000 }, async () => {
  await using site = await servePage('playground');
  const browser = await openBrowser();
  try {
    const { page, problems } = await openPage(browser, `${site.url}#parity`, { serviceWorkers: 'block' });
    await page.getByRole('button', { name: 'Train both' }).click();
    await page.locator('.parity [role=status]').getByText('Trained').waitFor({ timeout: 200_000 });
    const [one, act] = await page.locator('.parity .scores tbody td:nth-child(2)').allTextContents();
    assert.ok(Number.parseFloat(one) > 20, `one step: ${one}`);
    assert.equal(act, '0.0 %');
    const answers = page.locator('.parity .guesses');
    assert.ok((await answers.getByText('✗ wrong').count()) > 0);
    assert.equal(await answers.locator('td:nth-child(4).bad').count(), 0);
    assert.deepEqual(problems, []);
  } finally {
    await browser.close();
  }
});
