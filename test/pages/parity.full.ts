/** The playground's parity part: the whole lesson. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openBrowser, openPage, skip } from './page.js';
import { servePage } from './site.js';

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
