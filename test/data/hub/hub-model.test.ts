/** Models from the hub: a server on loopback (`hub-server.ts`) with folders that `transformers` wrote. */
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { DownloadOptions, DownloadPlan } from '../../../src/data/hub/hub-download.js';
import { openHubModel } from '../../../src/data/hub/hub-model.js';
import { folderFiles, openHuggingFace } from '../../../src/data/hub/huggingface.js';
import type { ModelFiles } from '../../../src/data/hub/model-files.js';
import { type Failure, HubServer, type HubServerFile } from '../hub-server.js';

const FIXTURES = fileURLToPath(new URL('../../../../test/fixtures/huggingface/', import.meta.url));
const SMALL = /\.(json|txt|md)$/;
const MORE: HubServerFile[] = ['README.md', 'pytorch_model.bin', 'onnx/model.safetensors'].map((path) => ({
  path,
  bytes: Buffer.from('never asked for'),
}));

function filesOf(name: string): HubServerFile[] {
  return readdirSync(join(FIXTURES, name))
    .filter((path) => path !== 'expected.safetensors')
    .map((path) => ({ path, bytes: readFileSync(join(FIXTURES, name, path)), small: SMALL.test(path) }));
}

let folder: string;
let server: HubServer;

async function serve(files: HubServerFile[], revision?: string): Promise<void> {
  await server?.stop();
  server = await new HubServer('owner/gpt', files, revision, 'model').start();
}

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'loopnn-hub-model-'));
  await serve([...filesOf('gpt2'), ...MORE]);
});
afterEach(async () => {
  await server.stop();
  rmSync(folder, { recursive: true });
});

function open(spec = 'hf:owner/gpt', options: DownloadOptions = {}): Promise<ModelFiles> {
  const access = { endpoint: server.url, cache: join(folder, 'cache'), retryMs: 1, token: 'hf_test' };
  return openHubModel(spec, { ...access, ...options });
}

/** Everything that a model has, read whole. */
async function contentOf(files: ModelFiles) {
  const { texts, openWeights } = await openHuggingFace(files);
  // The folder's name is for messages.
  const { where, tokenizerPath, ...read } = texts;
  await using weights = await openWeights();
  const tensors: [string, readonly number[], Float32Array][] = [];
  for (const [name, tensor] of weights.tensors) tensors.push([name, tensor.shape, await tensor.read()]);
  return { ...read, tensors };
}

const local = async (name: string) => contentOf(await folderFiles(join(FIXTURES, name)));
/** Names of the files of which bytes were asked for, each once. */
const asked = (): string[] => [
  ...new Set(server.requests.filter((line) => line.startsWith('bytes')).map((line) => line.split(' ')[1])),
];

for (const name of ['gpt2', 'sharded', 'bare']) {
  test(`${name}: what comes is what the folder holds, and no more than is needed`, async () => {
    const files = filesOf(name);
    await serve([...files, ...MORE]);
    const plans: DownloadPlan[] = [];
    assert.deepEqual(
      await contentOf(await open('hf:owner/gpt', { onPlan: (plan) => plans.push(plan) })),
      await local(name),
    );
    assert.deepEqual(asked().sort(), files.map(({ path }) => path).sort());
    const weights = files.filter(({ path }) => path.endsWith('.safetensors'));
    const totalBytes = weights.reduce((sum, { bytes }) => sum + bytes.length, 0);
    assert.equal(plans.length, 1, 'the weights are announced, once');
    const { freeBytes, ...plan } = plans[0];
    assert.ok(freeBytes! > 0);
    const cache = join(folder, 'cache');
    assert.deepEqual(plan, { files: weights.length, totalBytes, missingBytes: totalBytes, cache });
    assert.deepEqual(readdirSync(cache), ['models--owner--gpt']);
    const before = server.requests.filter((line) => line.startsWith('bytes')).length;
    await contentOf(await open());
    const after = server.requests.filter((line) => line.startsWith('bytes')).length;
    assert.equal(after, before, 'a second time nothing is downloaded');
  });
}

test('a revision is asked for by its name, and remembered under it', async () => {
  await serve(filesOf('gpt2'), 'v1.0');
  assert.deepEqual(await contentOf(await open('hf:owner/gpt@v1.0')), await local('gpt2'));
  const cached = join(folder, 'cache/models--owner--gpt');
  assert.deepEqual(readdirSync(join(cached, 'refs')), ['v1.0']);
  assert.equal(readFileSync(join(cached, 'refs/v1.0'), 'utf8'), server.sha);
  assert.deepEqual(await contentOf(await open(`hf:owner/gpt@${server.sha}`)), await local('gpt2'));
  assert.deepEqual(readdirSync(join(cached, 'refs')), ['v1.0']);
  await assert.rejects(open('hf:owner/gpt@v2'), {
    name: 'DataError',
    message: "hf:owner/gpt@v2: must be a model on the hub, got 'status 404'",
  });
});

const FAILURES: Record<string, Failure[]> = {
  'dropped connections': [{ dropAfter: 0 }, { dropAfter: 100 }, { dropAfter: 1 }],
  'too many requests': [{ status: 429, retryAfter: 0.001 }, { status: 429 }],
  'server errors': [{ status: 500 }, { status: 502 }, { status: 503 }],
  'truncated bodies': [{ endAfter: 70 }, { endAfter: 1 }, { endAfter: 0 }],
  'too long and wrong bodies': [{ surplus: 9 }, { wrongByte: 10 }],
};
for (const [name, failures] of Object.entries(FAILURES)) {
  test(`${name}, of small files and of weights: nothing lost, nothing doubled`, async () => {
    const expected = await local('sharded');
    await serve(filesOf('sharded'));
    server.fail('bytes', ...failures);
    const files = await open();
    const model = await openHuggingFace(files);
    assert.equal(server.unusedFailures, 0);
    server.fail('bytes', ...failures);
    await using _weights = await model.openWeights();
    assert.equal(server.unusedFailures, 0);
    assert.deepEqual(await contentOf(files), expected);
  });
}

test('what never comes right leaves nothing under a final name', async () => {
  const model = await openHuggingFace(await open());
  server.fail('size', ...Array(6).fill({ size: 5 }));
  await assert.rejects(
    model.openWeights(),
    /^DataError: hf:owner\/gpt\/model\.safetensors: must be available from the hub, got '5 bytes where \d+ were listed'/,
  );
  server.fail('bytes', ...Array(3).fill({ wrongByte: 7 }));
  await assert.rejects(model.openWeights(), /got 'bytes that do not have the hash which the hub names'/);
  server.fail('bytes', { dropAfter: 1000 }, ...Array(60).fill({ status: 500 }));
  await assert.rejects(model.openWeights(), /hub, got 'status 500'; run the same command again/);
  const cached = join(folder, 'cache/models--owner--gpt');
  assert.deepEqual(readdirSync(join(cached, 'snapshots', server.sha)).sort(), [
    'config.json',
    'generation_config.json',
    'tokenizer.json',
  ]);
  server.mend();
  await using _weights = await model.openWeights();
  assert.match(server.requests.at(-1)!, /^bytes model\.safetensors bytes=1000-\d+$/, 'resumed');
});

test('what is missing, closed or misnamed is told in one line', async () => {
  const refused = (promise: Promise<unknown>, name: string, message: RegExp) =>
    assert.rejects(promise, { name, message });
  await refused(
    open('hf:owner/none'),
    'DataError',
    /^hf:owner\/none: must be a model on the hub, got 'status 404'$/,
  );
  for (const spec of ['hf:gpt/', 'hf:../gpt', 'hf:owner/gpt@../x', 'hf:owner/gpt/model.safetensors', 'hf:']) {
    await refused(
      open(spec),
      'DataError',
      /^source: must be hf:owner\/name, with @revision if you like, got '/,
    );
  }
  server.gated = true;
  await refused(
    open().then(openHuggingFace),
    'DataError',
    /^hf:owner\/gpt\/config\.json: must be open to you, got 'status 403'; if the model is private or gated, accept its terms, and log in/,
  );
  server.gated = false;
  server.secret = 'hf_other';
  await refused(
    open(),
    'DataError',
    /^hf:owner\/gpt: must be open to you, got 'status 401'; if the model .* set HF_TOKEN/,
  );
  await contentOf(await open('hf:owner/gpt', { token: 'hf_other' }));
});

test('pickled weights alone are refused before anything is downloaded', async () => {
  await serve([...filesOf('gpt2').filter(({ path }) => !path.endsWith('.safetensors')), ...MORE]);
  await assert.rejects(open().then(openHuggingFace), {
    name: 'CheckpointError',
    message:
      /^hf:owner\/gpt\/pytorch_model\.bin: must not be a pickled checkpoint: .*from_pretrained\('owner\/gpt'\)/,
  });
  assert.deepEqual(asked(), []);
});

test('a download that is stopped goes on where it was', async () => {
  const controller = new AbortController();
  const onProgress = (bytes: number): void => {
    if (bytes > 5000) controller.abort(new Error('stopped'));
  };
  const files = await open('hf:owner/gpt', { signal: controller.signal, onProgress });
  const opening = openHuggingFace(files).then((model) => model.openWeights());
  await assert.rejects(opening, /^Error: stopped$/);
  assert.deepEqual(await contentOf(await open()), await local('gpt2'));
});

test('a former name, without an owner too, is followed to the model’s own, which the cache has once', async () => {
  const expected = await contentOf(await open());
  for (const former of ['gpt', 'someone/gpt']) {
    server.former = former;
    server.requests.length = 0;
    const files = await open(`hf:${former}`);
    assert.deepEqual(await contentOf(files), expected);
    assert.equal(files.where, `hf:${former}`);
    assert.deepEqual(readdirSync(join(folder, 'cache')), ['models--owner--gpt']);
    assert.deepEqual(
      server.requests.filter((request) => request.startsWith('moved')),
      [`moved /api/models/${former}/revision/main`],
    );
    assert.ok(!server.requests.some((request) => request.startsWith('bytes')), 'read from the cache');
  }
  await assert.rejects(open('hf:other'), /hf:other: must be a model on the hub, got 'status 404'/);
});
