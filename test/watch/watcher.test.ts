/** Which runs are found, what they are doing, what a page is told of them, and who is told. */
import assert from 'node:assert/strict';
import {
  appendFileSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { test } from 'node:test';
import { NodeStore } from '../../src/node/store.js';
import { watchRuns } from '../../src/operations/watch.js';
import { ApiKeys } from '../../src/serve/keys.js';
import { findRuns } from '../../src/watch/discovery.js';
import { feed } from '../../src/watch/feed.js';
import type { Message } from '../../src/watch/messages.js';
import { Watcher } from '../../src/watch/watcher.js';
import { evaluation, temporary, updates, writeRun } from './helpers.js';

test('runs are found at any depth, but not beyond links', async () => {
  const [root, outside] = [temporary(), temporary()];
  for (const name of ['a', 'suite/b-1', 'suite/b-2', 'a/checkpoints/c']) writeRun(join(root, name), '');
  writeRun(join(outside, 'd'), '');
  symlinkSync(outside, join(root, 'link'));
  mkdirSync(join(root, 'e'));
  symlinkSync(join(outside, 'd/metrics.jsonl'), join(root, 'e/metrics.jsonl'));
  symlinkSync(join(outside, 'd/config.json'), join(root, 'e/config.json'));
  assert.deepEqual(await findRuns(root), ['a', 'suite/b-1', 'suite/b-2']);
  assert.deepEqual(await findRuns(join(root, 'a')), ['']);
  assert.deepEqual(await findRuns(join(root, 'missing')), []);
});

test('a run below several of the folders is listed once', async () => {
  const root = temporary();
  writeRun(join(root, 'suite/a'), '');
  const watcher = new Watcher([root, join(root, 'suite'), join(root, 'suite/a')]);
  await watcher.look();
  await watcher.look();
  assert.deepEqual([...watcher.runs.keys()], ['0/suite/a']);
});

test('a run is running while its folder is held, then stopped, finished or failed', async () => {
  const root = temporary();
  const log = writeRun(join(root, 'a'), updates(1, 10));
  const watcher = new Watcher([root]);
  const state = async () => {
    await watcher.look();
    return watcher.runs.get('0/a')?.info?.state;
  };
  const before = readdirSync(join(root, 'a'));
  assert.equal(await state(), 'stopped');
  assert.deepEqual(readdirSync(join(root, 'a')), before, 'nothing is written');
  const lock = await new NodeStore(join(root, 'a')).lock();
  assert.equal(await state(), 'running');
  await lock[Symbol.asyncDispose]();
  appendFileSync(log, updates(11, 100));
  assert.equal(await state(), 'finished');
  writeFileSync(join(root, 'a/failed.json'), '{"message":"step 7: the loss must be finite"}');
  assert.equal(await state(), 'failed');
  const { failure, flopsPerToken, parameters } = watcher.runs.get('0/a')!.info!;
  assert.match(failure!, /finite/);
  assert.ok(flopsPerToken! > parameters!);
  // A configuration of another version still shows its fields.
  writeFileSync(join(root, 'a/config.json'), '{"model":{"nLayer":1,"news":2},"train":{"maxSteps":9}}');
  await state();
  assert.equal(watcher.runs.get('0/a')!.info!.model.news, 2);
  assert.equal(watcher.runs.get('0/a')!.info!.parameters, null);
  rmSync(join(root, 'a'), { recursive: true });
  assert.equal(await state(), undefined);
});

test('FLOPs follow the loops that a schedule turns on', async () => {
  const root = temporary();
  writeRun(join(root, 'late'), updates(1, 10), { loopSchedule: 'switch', loopStart: 0.7 });
  writeRun(join(root, 'looped'), updates(1, 10));
  const watcher = new Watcher([root]);
  await watcher.look();
  const [late, looped] = ['0/late', '0/looped'].map((id) => watcher.runs.get(id)!.info!);
  assert.equal(looped.flopsUntil, undefined);
  const [change, end] = late.flopsUntil!;
  assert.deepEqual([change.step, end.step, late.flopsUntil!.length], [70, 100, 2]);
  const tokens = 12 * 16;
  assert.ok(Math.abs((end.flops - change.flops) / (30 * tokens * looped.flopsPerToken!) - 1) < 1e-12);
  assert.ok(change.flops / 70 < (end.flops - change.flops) / 30);
  assert.ok(Math.abs(end.flops / (100 * tokens * late.flopsPerToken!) - 1) < 1e-12);
});

test('a page is told all there is, then what is added, and everything anew where a log begins anew', async () => {
  const root = temporary();
  const watcher = new Watcher([root]);
  const told = feed(watcher);
  /** What is told until nothing is new, each message by its kind and place. */
  const news = async (count: number) => {
    const messages: Message[] = [];
    for (let i = 0; i < count; i++) messages.push((await told.next()).value as Message);
    return messages.map((message) =>
      'from' in message
        ? `${message.kind} ${message.from}`
        : message.kind === 'run'
          ? `run ${message.run.step}`
          : message.kind,
    );
  };
  assert.deepEqual(await news(2), ['hello', 'complete']);
  const log = writeRun(join(root, 'a'), updates(1, 5000) + evaluation(5000));
  await Promise.all([
    watcher.look(),
    (async () =>
      assert.deepEqual(await news(5), ['run 5000', 'rows 0', 'rows 4096', 'evals 0', 'complete']))(),
  ]);
  appendFileSync(log, updates(5001, 5002));
  await Promise.all([
    watcher.look(),
    (async () => assert.deepEqual(await news(2), ['run 5002', 'rows 5000']))(),
  ]);
  writeFileSync(`${log}.partial`, updates(1, 3));
  renameSync(`${log}.partial`, log);
  await Promise.all([
    watcher.look(),
    (async () => assert.deepEqual(await news(3), ['run 3', 'rows 0', 'evals 0']))(),
  ]);
  rmSync(log);
  await Promise.all([watcher.look(), (async () => assert.deepEqual(await news(2), ['gone', 'complete']))()]);
  await watcher.close();
  assert.equal((await told.next()).done, true);
});

test('the server shows its page to all and its runs to who may see them', async () => {
  await assert.rejects(watchRuns({ runs: ['missing-folder'] }), {
    name: 'ConfigError',
    message: /^missing-folder: must be a folder with runs below it; .*the folder must be there/,
  });
  const keys = new ApiKeys(['secret-key'], 'test');
  const server = await watchRuns({ runs: [temporary()], apiKeys: keys });
  try {
    const page = await fetch(server.url);
    assert.equal(page.status, 200);
    assert.match(page.headers.get('content-security-policy')!, /default-src 'self'/);
    assert.equal((await fetch(`${server.url}/../package.json`)).status, 404);
    assert.equal((await fetch(`${server.url}/api/events`)).status, 401);
    const authorization = 'Bearer secret-key';
    const events = await fetch(`${server.url}/api/events`, { headers: { authorization } });
    assert.equal(events.headers.get('content-type'), 'text/event-stream; charset=utf-8');
    const { value } = await events.body!.getReader().read();
    assert.match(new TextDecoder().decode(value), /^(: waiting|data: \{"kind":"hello")/);
    const status = await new Promise((resolve) => {
      const headers = { host: 'rebound.example', authorization };
      request(`${server.url}/api/events`, { headers }, ({ statusCode }) => resolve(statusCode)).end();
    });
    assert.equal(status, 403);
  } finally {
    await server.close();
  }
});
