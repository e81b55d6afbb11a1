/** The playground on a host of static files that sends no headers, at some path; and its next version. */
import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Site } from '../web/chromium.js';
import { openBrowser, openPage, skip } from './page.js';

const BUILT = fileURLToPath(new URL('../../pages/playground', import.meta.url));

test('a static host is enough; the next version waits to be let in', { skip, timeout: 120_000 }, async () => {
  const root = mkdtempSync(join(tmpdir(), 'loopnn-static-'));
  after(() => rmSync(root, { recursive: true }));
  const folder = join(root, 'some/path');
  cpSync(BUILT, folder, { recursive: true });
  await using site = await Site.open({ isolated: false, root });
  const browser = await openBrowser();
  after(() => browser.close());
  const { page, problems } = await openPage(browser, `${site.url}some/path/`);
  const bar = page.getByRole('status').first();
  await bar.getByText('computed on one thread, since this page may not share memory').waitFor();
  await page.getByText('works without network from now on').waitFor();
  // From the second visit on, the worker that keeps files isolates the page.
  await page.reload();
  await bar.getByText(/computed on (\d+ threads|one thread)\.$/).waitFor();
  assert.equal(await page.evaluate('crossOriginIsolated'), true);

  const replace = (name: string, from: RegExp, to: string) => {
    const file = join(folder, name);
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
