/** Every writer that finds a file where a folder must be, or the other way round, says so in one line that names it. */
import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { refused, temporaryFolder } from './helpers.js';
import { writers } from './writers.js';

const folder = temporaryFolder();
const file = join(folder, 'file');
writeFileSync(file, 'mine');
mkdirSync(join(folder, 'folder'));

for (const [name, { args, env }] of Object.entries(await writers())) {
  test(`${name}: what is in the way is named, and stays`, async () => {
    const place = join(file, 'place');
    const text = new RegExp(
      `^loopnn: ${file}\\S*: could not be \\w+, it, or what it should lie in, is no folder; \\w`,
    );
    await refused([...args(place)], text, 1, env?.(place));
    assert.deepEqual(readdirSync(folder).sort(), ['file', 'folder']);
  });
}
