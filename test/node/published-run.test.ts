/** A run as a server gives it to pages: it knows when a training has replaced its weights. */
import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { PublishedRun } from '../../src/node/published-run.js';

const MODEL = fileURLToPath(new URL('../../../models/playground', import.meta.url));
const home = mkdtempSync(join(tmpdir(), 'loopnn-published-'));
after(() => rmSync(home, { recursive: true, force: true }));

test('a run is replaced once its folder has other weights, and gives no file that has gone', async () => {
  cpSync(MODEL, home, { recursive: true });
  const run = await PublishedRun.open(home);
  assert.equal(await run.isReplaced(), false);
  const checkpoint = `checkpoints/best-${String(run.step).padStart(7, '0')}`;
  const weights = `${checkpoint}/model.safetensors`;
  assert.ok(run.file(weights));
  renameSync(join(home, checkpoint), join(home, 'checkpoints/best-0009999'));
  assert.equal(await run.isReplaced(), true);
  assert.equal(run.file(weights), null);
  assert.ok(run.file('config.json'), 'what is small is kept');
  assert.equal((await PublishedRun.open(home)).step, 9999);
});
