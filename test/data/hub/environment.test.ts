/** The hub as the environment has it: tokens of any form and place, no network, proxies; and no long silence. */
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { connect } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import type { AddressInfo } from 'node:net';
import { Hub, type HubAccess } from '../../../src/data/hub/hub.js';
import { openHubSource } from '../../../src/data/hub/hub-source.js';
import { FIELD_DEFAULTS } from '../../../src/data/corpus/source.js';
import { temporaryFolder } from '../../cli/helpers.js';
import { fixture } from '../helpers.js';
import { HubServer } from '../hub-server.js';

const VARIABLES = [
  'HF_TOKEN',
  'HUGGING_FACE_HUB_TOKEN',
  'HF_TOKEN_PATH',
  'HF_HOME',
  'HF_HUB_OFFLINE',
  'HTTP_PROXY',
  'HTTPS_PROXY',
  'NO_PROXY',
];
const FILES = [
  { path: 'config.json', bytes: Buffer.from('{"a":1}'), small: true },
  { path: 'weights/model.bin', bytes: Buffer.from('0123456789') },
  { path: 'README.md', bytes: Buffer.from('#'), small: true },
];
const MODEL = { type: 'model', name: 'owner/net' } as const;
let server: HubServer;
let folder: string;
let notices: string[];

beforeEach(async () => {
  for (const name of VARIABLES) delete process.env[name];
  folder = temporaryFolder();
  process.env.HF_HOME = folder;
  notices = [];
  server = await new HubServer('owner/net', FILES, 'main', 'model').start();
});
afterEach(() => server.stop().catch(() => {}));

function hubOf(access: HubAccess = {}): Hub {
  const cache = join(folder, 'cache');
  return new Hub({
    endpoint: server.url,
    cache,
    retryMs: 1,
    onNotice: (line) => notices.push(line),
    ...access,
  });
}

/** Everything of the model, as paths of the cache. */
async function fetchAll(hub = hubOf()): Promise<string[]> {
  const listing = await hub.list(MODEL);
  const paths = [];
  for (const file of listing.files) paths.push(await hub.fetchFile(listing, file, () => {}));
  return paths.map((path) => readFileSync(path, 'utf8'));
}

const CONTENT = FILES.map(({ bytes }) => bytes.toString());

test('tokens of any form: by HF_TOKEN, by an older name, or as they are left after a login', async () => {
  server.secret = 'abc-1';
  await assert.rejects(
    fetchAll(),
    /hf:owner\/net: must be open to you, .*log in by hf auth login or set HF_TOKEN/,
  );
  process.env.HF_TOKEN = 'abc-1\n';
  assert.deepEqual(await fetchAll(), CONTENT);
  delete process.env.HF_TOKEN;
  process.env.HUGGING_FACE_HUB_TOKEN = 'abc-1';
  await hubOf().list(MODEL);
  delete process.env.HUGGING_FACE_HUB_TOKEN;
  writeFileSync(join(folder, 'token'), 'abc-1\n');
  await hubOf().list(MODEL);
  process.env.HF_TOKEN_PATH = join(folder, 'other');
  await assert.rejects(hubOf().list(MODEL), /must be open to you/);
  writeFileSync(join(folder, 'other'), 'abc-1');
  await hubOf().list(MODEL);
  writeFileSync(join(folder, 'other'), 'a b');
  assert.throws(() => hubOf(), /other: must be a token of printable ASCII characters without spaces$/);
});

test('a full cache needs no network, asked not to use one or left without; a part says what is missing', async () => {
  await fetchAll();
  const asked = server.requests.length;
  process.env.HF_HUB_OFFLINE = '1';
  assert.deepEqual(await fetchAll(), CONTENT);
  assert.equal((await hubOf().list({ ...MODEL, name: 'net' })).repo.name, 'owner/net', 'without its owner');
  assert.equal(server.requests.length, asked, 'nothing was asked');
  delete process.env.HF_HUB_OFFLINE;
  await server.stop();
  assert.deepEqual(await fetchAll(), CONTENT);
  assert.ok(
    notices.some((line) =>
      /^hf:owner\/net: the hub cannot be reached \(fetch failed.*\); continues with commit/.test(line),
    ),
    notices.join('\n'),
  );
  const cache = join(folder, 'cache/models--owner--net');
  rmSync(join(cache, 'blobs'), { recursive: true });
  process.env.HF_HUB_OFFLINE = 'yes';
  await assert.rejects(
    fetchAll(),
    /hf:owner\/net\/config\.json: must be in the cache .*since HF_HUB_OFFLINE forbids/,
  );
  rmSync(cache, { recursive: true });
  await assert.rejects(fetchAll(), /hf:owner\/net: must be in the cache .*, got 'no list of its files'/);
});

test('a cache that another client has filled is known by its snapshot, unless parts are missing', async () => {
  await fetchAll();
  const cache = join(folder, 'cache/models--owner--net');
  rmSync(join(cache, 'listings'), { recursive: true });
  process.env.HF_HUB_OFFLINE = '1';
  assert.deepEqual((await fetchAll()).toSorted(), CONTENT.toSorted());
  await server.stop();
  delete process.env.HF_HUB_OFFLINE;
  const parts = ['-00001-of-00002.bin', '-00002-of-00002.bin'].map((end, i) => ({
    path: `model${end}`,
    bytes: Buffer.from(`part ${i}`),
  }));
  server = await new HubServer('owner/net', parts, 'main', 'model').start();
  const hub = hubOf({ cache: join(folder, 'parts') });
  const listing = await hub.list(MODEL);
  await hub.fetchFile(listing, listing.files[0], () => {});
  rmSync(join(folder, 'parts/models--owner--net/listings'), { recursive: true });
  process.env.HF_HUB_OFFLINE = '1';
  await assert.rejects(hub.list(MODEL), /must have all 2 parts of model, got 1$/);
});

test('proxies are used where the environment names one, and not for hosts that it excepts', async () => {
  const asked: string[] = [];
  const proxy = createServer().on('connect', (request, socket, head) => {
    asked.push(request.url!);
    const { port } = new URL(server.url);
    const behind = connect(Number(port), '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 Connection Established\r\n\r\n');
      behind.write(head);
      behind.pipe(socket).pipe(behind);
    });
    behind.on('error', () => socket.destroy());
    socket.on('error', () => behind.destroy());
  });
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  try {
    process.env.HTTP_PROXY = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
    // Only the proxy knows this name.
    const there = server.url.replace('127.0.0.1', 'hub.example');
    const listing = await hubOf({ endpoint: there }).list(MODEL);
    assert.equal(listing.files.length, FILES.length);
    assert.ok(
      asked.length > 2 && asked.slice(0, 2).every((host) => host.startsWith('hub.example:')),
      String(asked),
    );
    const before = asked.length;
    process.env.NO_PROXY = '127.0.0.1';
    assert.deepEqual(await fetchAll(), CONTENT);
    assert.equal(asked.length, before);
  } finally {
    proxy.closeAllConnections();
    proxy.close();
  }
});

test('the user is told of waiting', async () => {
  server.fail('info', { status: 503, retryAfter: 0.2 });
  await hubOf({ silenceMs: 50 }).list(MODEL);
  const waits = notices.filter((line) => line === 'the hub: status 503; tries again in 1 s');
  assert.ok(waits.length >= 3, notices.join('\n'));
  // A place that takes the question, and does not answer.
  const deaf = createServer(() => {});
  await new Promise<void>((resolve) => deaf.listen(0, '127.0.0.1', resolve));
  const { port } = deaf.address() as AddressInfo;
  const controller = new AbortController();
  notices = [];
  const waiting = hubOf({
    endpoint: `http://127.0.0.1:${port}`,
    silenceMs: 30,
    signal: controller.signal,
  }).list(MODEL);
  while (notices.length < 2) await new Promise((resolve) => setTimeout(resolve, 5));
  controller.abort(new Error('enough'));
  await assert.rejects(waiting, /enough/);
  deaf.closeAllConnections();
  deaf.close();
  assert.match(notices[0], /^127\.0\.0\.1:\d+: nothing has come for \d+ s$/);
});

test('a converted branch that holds only a part of a dataset says so', async () => {
  await server.stop();
  const bytes = readFileSync(fixture('train-00000-of-00003.parquet'));
  const part = { path: 'default/partial-train/0000.parquet', bytes };
  server = await new HubServer('owner/set', [part], 'refs/convert/parquet').start();
  const options = {
    endpoint: server.url,
    cache: join(folder, 'set'),
    onNotice: (line: string) => notices.push(line),
  };
  mkdirSync(options.cache, { recursive: true });
  for (const split of [undefined, 'train']) {
    notices = [];
    await openHubSource('hf:owner/set@refs/convert/parquet', FIELD_DEFAULTS, {
      ...options,
      ...(split ? { split } : {}),
    });
    assert.match(
      notices.join('\n'),
      /hf:owner\/set: .* hold only a part of it: the first gigabytes \(default\/partial-train/,
    );
  }
});
