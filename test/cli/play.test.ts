/** `loopnn play` as a process: what it prints, what it gives, and its end. */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { PAGE_HEADERS } from '../../src/node/page-files.js';
import { until } from '../serve/helpers.js';
import { outcome, start } from './helpers.js';

test('the playground is served to this machine until a signal', async () => {
  const child = start(['play', '--port', '0']);
  after(() => child.kill('SIGKILL'));
  const ended = outcome(child);
  let text = '';
  child.stderr!.on('data', (piece: string) => {
    text += piece;
  });
  await until(() => /is at \S+/.test(text), 'an address');
  const url = /is at (\S+)/.exec(text)![1];
  const page = await fetch(url);
  assert.match(await page.text(), /<title>loopnn: what looping does/);
  for (const [name, value] of Object.entries(PAGE_HEADERS)) assert.equal(page.headers.get(name), value);
  const list = (await (await fetch(`${url}/model/checksums.json`)).json()) as { files: object };
  assert.ok(Object.keys(list.files).includes('config.json'));
  assert.equal((await fetch(`${url}/model/nothing`)).status, 404);
  assert.equal((await fetch(`${url}/..%2f..%2fpackage.json`)).status, 404);
  child.kill('SIGTERM');
  const { code, stdout, stderr } = await ended;
  assert.deepEqual([code, stdout], [0, '']);
  assert.match(stderr, /SIGTERM: stopping\n$/);
});
