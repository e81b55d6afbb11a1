/**
 * Trainings on WebGPU, in Node and in a headless Chromium: near the reference's, with the same bits in both and after a
 * resume.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ReferenceBackend } from '../../src/backend/reference/reference.js';
import { openNodeWebGpu } from '../../src/node/webgpu.js';
import { whyNoWebGpu } from '../webgpu.js';
import { Browser, findChromium, newProfile, Site } from './chromium.js';
import { type Trained, type Training, trained, trainings } from './small-trainings.js';

const skip = await whyNoWebGpu();
const names = Object.keys(trainings) as Training[];
const inNode = new Map<Training, Trained>();

for (const name of names) {
  test(`${name}: trains as on the reference, and resumes bit for bit`, { skip }, async () => {
    const found = await trained(await openNodeWebGpu(), name);
    inNode.set(name, found);
    const want = await trained(new ReferenceBackend(), name);
    assert.equal(found.losses.length, 20);
    for (const [step, loss] of want.losses.entries()) {
      const error = Math.abs(found.losses[step] / loss - 1);
      assert.ok(error < 1e-4, `loss ${step}: ${found.losses[step]} against ${loss}`);
    }
    assert.ok(want.losses.at(-1)! < want.losses[0] - 0.5, 'learns');
    const difference = Math.hypot(...found.gradient.map((x, i) => x - want.gradient[i]));
    const error = difference / Math.hypot(...want.gradient);
    assert.ok(error < 1e-3, `gradient: relative error ${error}`);
    assert.deepEqual(await trained(await openNodeWebGpu(), name, true), found);
  });
}

const page = `<!doctype html><script type="module">
const worker = new Worker('/dist/test/web/webgpu-worker.js', { type: 'module' });
const tell = (found) => fetch('/found', { method: 'POST', body: JSON.stringify(found) });
worker.onmessage = ({ data }) => tell(data);
worker.onerror = ({ message }) => tell({ error: message ?? 'the worker did not load' });
</script>`;

const browser = findChromium();
const without = 'missing' in browser ? browser.missing : skip;
test('a browser computes the same bits', { skip: without, timeout: 300_000 }, async (t) => {
  using profile = newProfile();
  await using site = await Site.open({ isolated: true, pages: { '/': page } });
  const flags = ['--enable-unsafe-webgpu', '--use-webgpu-adapter=swiftshader'];
  await using chromium = await Browser.open((browser as { command: string }).command, profile.folder, flags);
  await chromium.goto(site.url);
  const answer = await chromium.found<{
    readonly description: string;
    readonly found: Record<Training, Trained>;
    readonly error?: string;
  }>(site);
  assert.equal(answer.error, undefined);
  t.diagnostic(answer.description);
  for (const name of names) assert.deepEqual(answer.found[name], inNode.get(name), name);
});
