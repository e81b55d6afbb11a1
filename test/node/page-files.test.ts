/** A page's files as servers send them. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { openedWhenRead } from '../../src/node/page-files.js';

test('a file is opened when it is read, not before', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'loopnn-page-files-'));
  try {
    const path = join(folder, 'page.js');
    const content = openedWhenRead(path);
    writeFileSync(path, 'content');
    assert.equal(await new Response(content).text(), 'content');
    await openedWhenRead(join(folder, 'none')).cancel();
    await assert.rejects(new Response(openedWhenRead(join(folder, 'none'))).text());
  } finally {
    rmSync(folder, { recursive: true });
  }
});
