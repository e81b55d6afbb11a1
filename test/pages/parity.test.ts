/** The playground's parity part: two networks train side by side, and can be stopped. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { accessibilityProblems, openBrowser, openPage, overflow, skip } from './page.js';
import { servePage } from './site.js';

test('error rates of both networks grow while they train, until they are stopped', {
  skip,
  timeout: 60_000,
}, async () => {
  await using site = await servePage('playground');
  const browser = await openBrowser();
  try {
    const { page, problems } = await openPage(browser, `${site.url}#parity`, { serviceWorkers: 'block' });
    await page.getByRole('button', { name: 'Train both' }).click();
    const wrong = page.locator('.parity .scores tbody td:nth-child(2)');
    await wrong.filter({ hasText: '%' }).nth(1).waitFor();
    for (const rate of await wrong.allTextContents()) assert.match(rate, /^\d+\.\d %$/);
    await page.getByRole('button', { name: 'Stop' }).click();
    await page.locator('.parity [role=status]').getByText('Stopped').waitFor();
    assert.deepEqual(await accessibilityProblems(page), []);
    await page.setViewportSize({ width: 390, height: 800 });
    assert.equal(await overflow(page), 0);
    assert.deepEqual(problems, []);
  } finally {
    await browser.close();
  }
});
