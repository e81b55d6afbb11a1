/** A folder to import whose files are none: nobody waits for the writer of a pipe, and nothing endless is read. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, truncateSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { folderFiles, openHuggingFace } from '../../../src/data/hub/huggingface.js';

const FIXTURE = fileURLToPath(new URL('../../../../test/fixtures/huggingface/gpt2', import.meta.url));
const WINDOWS = process.platform === 'win32' && 'Windows has no named pipes in folders';

let folder: string;
beforeEach(() => {
  folder = join(mkdtempSync(join(tmpdir(), 'loopnn-files-')), 'model');
  cpSync(FIXTURE, folder, { recursive: true });
});
afterEach(() => rmSync(folder, { recursive: true }));

async function open(): Promise<void> {
  const { openWeights } = await openHuggingFace(await folderFiles(folder, true));
  await (await openWeights())[Symbol.asyncDispose]();
}

for (const name of ['config.json', 'tokenizer.json', 'model.safetensors']) {
  test(`${name} as a pipe, a device or a folder is refused at once`, { skip: WINDOWS }, async () => {
    await open();
    const path = join(folder, name);
    for (const make of [
      () => execFileSync('mkfifo', [path]),
      () => symlinkSync('/dev/zero', path),
      () => mkdirSync(path),
    ]) {
      rmSync(path, { recursive: true });
      make();
      await assert.rejects(open(), new RegExp(`${name}: must be a file, got 'a folder or device'`));
    }
  });
}

test('a configuration of gigabytes is not read', async () => {
  truncateSync(join(folder, 'config.json'), 2 ** 33);
  await assert.rejects(open(), /config\.json: must have at most 67108864 bytes, got '8589934592 bytes'/);
});
