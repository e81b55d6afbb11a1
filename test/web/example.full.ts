/** The page in examples/browser trains, goes on after it was reloaded, and writes. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Browser, findChromium, newProfile, Site } from './chromium.js';

const chromium = findChromium();
const skip = 'missing' in chromium ? chromium.missing : false;
const FOLDER = fileURLToPath(new URL('../../../examples/browser/', import.meta.url));
/** That one thing on the page may take. */
const LONGEST_MS = 60_000;
const TEXT = 'What goes round comes round. The wheel turns, and the loop turns with it.\n'.repeat(40);

test('the example has 60 lines at most', () => {
  const lines = ['index.html', 'worker.js'].map(
    (name) => readFileSync(FOLDER + name, 'utf8').split('\n').length - 1,
  );
  assert.ok(lines[0] + lines[1] <= 60, `${lines}`);
});

test('the example trains, survives a reload, and writes', { skip, timeout: 180_000 }, async () => {
  using profile = newProfile();
  await using site = await Site.open({ isolated: true });
  await using browser = await Browser.open((chromium as { command: string }).command, profile.folder);
  const status = () => browser.evaluate<string>('document.querySelector("#status")?.textContent ?? ""');
  let failures = /Error|must|did not/;
  const until = async (holds: (text: string) => boolean) => {
    for (const end = performance.now() + LONGEST_MS; ; ) {
      const text = await status();
      assert.ok(performance.now() < end, `the page still says: ${text}`);
      if (holds(text)) return text;
      assert.doesNotMatch(text, failures);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  };
  // A button that is disabled takes no click: the task before it is not yet done.
  const click = (id: string) =>
    browser.evaluate(`new Promise((go) => {
      const button = document.querySelector('#${id}');
      const press = () => (button.disabled ? setTimeout(press, 20) : go(button.click()));
      press();
    })`);
  const stepIn = (text: string) => Number(/[Ss]tep (\d+)/.exec(text)?.[1] ?? 0);

  await browser.goto(`${site.url}examples/browser/`);
  await until((text) => text === 'Saved: step 0 of 600');
  await browser.evaluate(`document.querySelector('#text').value = ${JSON.stringify(TEXT)}`);
  await click('train');
  const made = stepIn(await until((text) => stepIn(text) >= 25));
  await browser.send('Page.reload');
  const saved = await until((text) => /^Saved: step [1-9]/.test(text));
  assert.ok(stepIn(saved) >= 20, `${saved} of ${made}`);
  await click('train');
  await until((text) => text.startsWith('Step') && stepIn(text) > stepIn(saved));
  // In the background, and frozen as browsers freeze tabs there, it goes on when it may.
  const { targetId } = await browser.send<{ targetId: string }>('Target.createTarget', {
    url: 'about:blank',
  });
  await browser.send('Target.activateTarget', { targetId });
  assert.equal(await browser.evaluate('document.visibilityState'), 'hidden');
  for (const state of ['frozen', 'active']) await browser.send('Page.setWebLifecycleState', { state });
  const behind = stepIn(await status());
  await until((text) => stepIn(text) > behind + 5);
  await click('stop');
  await until((text) => text.startsWith('Saved') && stepIn(text) > stepIn(saved));
  await click('write');
  await until((text) => text.startsWith('Saved'));
  await browser.evaluate(
    'new Promise((go) => { const look = () => output.textContent.length > 20 ? go() : setTimeout(look, 50); look(); })',
  );
  assert.match(await browser.evaluate<string>('output.textContent'), /^The ./s);
  // A text that is too short leaves the run as it is.
  failures = /Error|did not/;
  await browser.evaluate(`document.querySelector('#text').value = 'short'`);
  await click('train');
  await until((text) => text.includes('at least 129 tokens'));
  assert.ok((await browser.evaluate<number>('document.querySelector("#bar").value')) > 0);
});
