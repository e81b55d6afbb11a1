/**
 * A published run is loaded on a page from wherever it lies, says what it says in Node, and is refused in clear
 * words.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { loadModel } from '../../src/index.js';
import { NodeStore } from '../../src/node/store.js';
import { exportModel } from '../../src/operations/export.js';
import { Browser, findChromium, newProfile, Site } from './chromium.js';
import type { Asked } from './models-worker.js';
import { trainedBits } from './same-bits.js';
import { createBackend } from '../../src/node/backend.js';

const chromium = findChromium();
const skip = 'missing' in chromium ? chromium.missing : false;
const folder = mkdtempSync(join(tmpdir(), 'loopnn-published-'));
after(() => rmSync(folder, { recursive: true }));

const PAGE = `<!doctype html><script>
globalThis.load = (asked) => new Promise((resolve, reject) => {
  const worker = new Worker('/dist/test/web/models-worker.js', { type: 'module' });
  worker.onmessage = ({ data }) => resolve(data);
  worker.onerror = ({ message }) => reject(new Error(message ?? 'the worker did not load'));
  worker.postMessage(asked);
});
</script>`;

interface Answer {
  readonly text?: string;
  readonly error?: string;
  readonly warnings: readonly string[];
}

test('a run is published, and loaded on a page', { skip, timeout: 180_000 }, async (t) => {
  const [model, out] = [join(folder, 'run'), join(folder, 'published')];
  await trainedBits(await createBackend({ name: 'reference' }), new NodeStore(model));
  const exported = await exportModel({ model, out, format: 'browser' });
  assert.deepEqual([exported.step, exported.tokenizer], [6, 'bytes']);
  let expected = '';
  {
    await using own = await loadModel(out, { backend: 'reference' });
    for await (const part of own.generate('What ', { maxTokens: 12, temperature: 0 })) expected += part.text;
  }
  const pages: Record<string, string | Uint8Array> = { '/': PAGE };
  const publish = () => {
    const { files } = JSON.parse(readFileSync(join(out, 'checksums.json'), 'utf8'));
    for (const name of ['checksums.json', ...Object.keys(files)])
      pages[`/models/mine/${name}`] = readFileSync(join(out, name));
  };
  publish();
  using profile = newProfile();
  await using site = await Site.open({ isolated: true, pages });
  await using browser = await Browser.open((chromium as { command: string }).command, profile.folder);
  await browser.goto(site.url);
  await browser.evaluate(
    'new Promise((go) => { const look = () => globalThis.load ? go() : setTimeout(look, 20); look(); })',
  );
  const load = (by: Asked['by'], url = '/models/mine') =>
    browser.evaluate<Answer>(`load(${JSON.stringify({ url, by } satisfies Asked)})`);
  const fetched = async (work: () => Promise<Answer>) => {
    const before = site.asked.length;
    const answer = await work();
    return { answer, files: site.asked.slice(before).filter((path) => path.startsWith('/models/')) };
  };
  const said = { text: expected, warnings: [] };

  await t.test('from a URL, files, a picked folder and a store', async () => {
    for (const by of ['url', 'files', 'folder', 'store'] as const) assert.deepEqual(await load(by), said, by);
  });
  const index = '/models/mine/checksums.json';
  await t.test('from a copy, the second time and without a network', async () => {
    const first = await fetched(() => load('cache'));
    assert.deepEqual(first.answer, said);
    assert.ok(first.files.length > 4, `${first.files}`);
    const second = await fetched(() => load('cache'));
    assert.deepEqual(second, { answer: said, files: [index] });
    const served = pages[index];
    delete pages[index];
    const { text, warnings } = await load('cache');
    assert.equal(text, expected);
    assert.match(warnings[0], /^using the copy of .*\/models\/mine, which may be old: .* \(status 404\)$/);
    pages[index] = served;
  });
  await t.test('not where something is missing or damaged', async () => {
    const refused = async (by: Asked['by'], message: RegExp, url?: string) => {
      assert.match(String((await load(by, url)).error), message);
    };
    const missing = /^CheckpointError: http.*\/none\/checksums\.json: must be served, but .* \(status 404\)$/;
    await refused('url', missing, '/models/none');
    await refused('cache', missing, '/models/none');
    await refused(
      'url',
      /must be served, but could not be fetched \(Failed to fetch\)/,
      'http://127.0.0.1:9/',
    );
    pages['/models/page/checksums.json'] = '<!doctype html>';
    await refused(
      'url',
      /must be the list of files of a published run; loopnn export --format browser/,
      '/models/page',
    );
    const weights = '/models/mine/checkpoints/best-0000006/model.safetensors';
    const whole = pages[weights] as Uint8Array;
    pages[weights] = whole.map((byte, i) => (i === whole.length - 9 ? byte ^ 1 : byte));
    await refused(
      'url',
      /^CheckpointError: .*model\.safetensors: must hold the \d+ bytes with CRC-32C .*it is damaged/,
    );
    pages[weights] = whole.slice(0, 100);
    await refused(
      'url',
      /model\.safetensors: .*must hold the \d+ bytes of checksums\.json, got 100; it is damaged, or/,
    );
    delete pages[weights];
    await refused('url', /model\.safetensors.*must be served, but could not be fetched \(status 404\)/);
    pages['/models/mine/config.json'] = String(pages['/models/mine/config.json']).replace('loop', 'pool');
    await refused('url', /config\.json: must hold CRC-32C [0-9a-f]{8} of checksums\.json, got '/);
    // What is published now is damaged: the copy is not replaced by it.
    pages[index] = Buffer.from(`${pages[index]} `);
    await refused('cache', /config\.json|model\.safetensors/);
    publish();
    assert.deepEqual(await load('cache'), said);
  });
  await t.test('with one thread, or the reference kernels, where no more is to be had', async () => {
    pages['/dist/src/web/wasm-thread.js'] = 'throw new Error("no threads today");';
    const alone = await load('store');
    assert.equal(alone.text, expected);
    assert.match(
      String(alone.warnings),
      /^wasm: thread 2 of \d+ did not start \(.*no threads today\); continuing with 1$/,
    );
    for (const isa of ['relaxed-simd', 'simd128']) pages[`/wasm/${isa}.wasm`] = 'of another version';
    const slow = await load('store');
    assert.equal(slow.text, expected);
    assert.match(
      String(slow.warnings),
      /^using the slow reference backend in f32: .*\.wasm: must be the file that came with this version, but is not/,
    );
  });
});
