/**
 * A store in a browser's own file system does what Node's does; workers that end, a browser that is killed and a full
 * disk leave what was there before; a run that is resumed there has the bits of one that was never stopped.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { wasmIsas } from '../../src/backend/wasm/module.js';
import { WasmBackend } from '../../src/backend/wasm/wasm.js';
import { MemoryStore } from '../../src/browser.js';
import { NodeStore } from '../../src/node/store.js';
import { createWasmModule } from '../../src/node/wasm.js';
import { Browser, findChromium, newProfile, Site } from './chromium.js';
import { trainedBits } from './same-bits.js';
import { storeFindings } from './store-findings.js';

const chromium = findChromium();
const skip = 'missing' in chromium ? chromium.missing : false;

const PAGE = `<!doctype html><script type="module">
import { OpfsStore } from '/dist/src/browser.js';
import { storeFindings } from '/dist/test/web/store-findings.js';
globalThis.onPage = () => storeFindings(new OpfsStore('findings/page'));
globalThis.work = (task) => new Promise((resolve, reject) => {
  const worker = new Worker('/dist/test/web/opfs-worker.js', { type: 'module' });
  worker.onmessage = ({ data }) => {
    if (data === 'middle' && task === 'lock') return resolve(data);
    worker.terminate();
    resolve(data);
  };
  worker.onerror = ({ message }) => reject(new Error(message ?? 'the worker did not load'));
  worker.postMessage(task);
  globalThis.last = worker;
});
</script>`;

interface Answer {
  readonly found?: unknown;
  readonly error?: string;
}

test('every store does the same', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'loopnn-store-'));
  try {
    const node = await storeFindings(new NodeStore(folder));
    assert.deepEqual(await storeFindings(new MemoryStore()), node);
    assert.equal(node.crc, 0xe3069283);
    assert.deepEqual(node.removed, [['last-1'], 'abc']);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('a store in a browser’s file system', { skip, timeout: 180_000 }, async (t) => {
  const { command } = chromium as { command: string };
  using profile = newProfile();
  await using site = await Site.open({ isolated: true, pages: { '/': PAGE } });
  const open = async () => {
    const browser = await Browser.open(command, profile.folder);
    await browser.goto(site.url);
    await browser.evaluate(
      'new Promise((go) => { const look = () => globalThis.work ? go() : setTimeout(look, 20); look(); })',
    );
    return browser;
  };
  const work = (browser: Browser, task: string) => browser.evaluate<Answer | 'middle'>(`work('${task}')`);

  {
    await using browser = await open();
    await t.test('does what Node’s does, in a worker and on a page', async () => {
      const node = await storeFindings(new MemoryStore());
      assert.deepEqual(await work(browser, 'findings'), { found: node });
      assert.deepEqual(await browser.evaluate('onPage()'), node);
    });
    await t.test('shows nothing half-written where a worker is ended', async () => {
      assert.deepEqual(await work(browser, 'others'), {});
      assert.deepEqual(await work(browser, 'write'), {});
      const before = { top: ['checkpoints', 'config.json'], checkpoints: ['last-1'] };
      const intact = { found: { ...before, config: 'former', weights: 'former' } };
      for (const task of ['replace', 'create', 'overwrite']) {
        assert.equal(await work(browser, task), 'middle');
        assert.deepEqual(await work(browser, 'read'), intact, task);
      }
      assert.deepEqual(await work(browser, 'write'), {});
      const { found } = (await work(browser, 'everything')) as { found: string[] };
      assert.ok(found.includes('other.partial'), "another program's file stays");
      const own = found.filter((name) => name.startsWith('runs/test/'));
      assert.deepEqual(own, [
        'runs/test/',
        'runs/test/checkpoints/',
        ...['runs/test/checkpoints/last-1~1/', 'runs/test/checkpoints/last-1~1/weights'],
        'runs/test/config.json',
      ]);
    });
    await t.test('belongs to one worker until that ends', async () => {
      assert.equal(await work(browser, 'lock'), 'middle');
      const { error } = (await browser.evaluate('const held = last; work("lockAndLeave")')) as Answer;
      assert.equal(
        error,
        'LockError: runs/test: must not be in use by another tab or worker; stop the training there first',
      );
      assert.deepEqual(await browser.evaluate('held.terminate(); work("lockAndLeave")'), {});
    });
    await t.test('says so where the site may store no more, and keeps what was there', async () => {
      const origin = site.url.slice(0, -1);
      await browser.send('Storage.overrideQuotaForOrigin', { origin, quotaSize: 4e6 });
      for (const [task, path] of [
        ['fill', 'config.json'],
        ['fillFolder', 'checkpoints/last-2'],
      ]) {
        const { error } = (await work(browser, task)) as Answer;
        const rule = `^FileError: runs/test/${path}: could not be written, this site may store no more`;
        assert.match(error!, new RegExp(`${rule}; remove a run, .*: what was there before is intact$`));
      }
      const { found } = (await work(browser, 'read')) as { found: { config: string; checkpoints: string[] } };
      assert.deepEqual([found.config, found.checkpoints], ['former', ['last-1']]);
      await browser.send('Storage.overrideQuotaForOrigin', { origin });
    });
    assert.equal(await work(browser, 'trainHalf'), 'middle');
    // Ended with no warning, in the middle of the run.
  }
  await using browser = await open();
  await t.test(
    'resumes with the bits of a run that was never stopped, after the browser was killed',
    async () => {
      assert.deepEqual(await work(browser, 'steps'), { found: ['best-0000003', 'last-0000004'] });
      const { found, error } = (await work(browser, 'train')) as Answer;
      assert.equal(error, undefined);
      const { asked } = site;
      const isa = asked.some((path) => path.endsWith('relaxed-simd.wasm')) ? 'relaxed-simd' : 'simd128';
      if (!wasmIsas().includes(isa)) {
        t.diagnostic(`Node ${process.version} lacks ${isa}: compared with a run in the browser`);
        assert.deepEqual(found, ((await work(browser, 'trainAnew')) as Answer).found);
        return;
      }
      const backend = new WasmBackend(await createWasmModule({ isa, threads: 1 }));
      assert.deepEqual(found, await trainedBits(backend, new MemoryStore()));
    },
  );
});
