/** `loopnn serve` as a process: its start, its log, its signals. */
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { dirname, join } from 'node:path';
import { after, test } from 'node:test';
import OpenAI from 'openai';
import { clientOf, ENDLESS, post, trainedRun, until } from '../serve/helpers.js';
import { loopnn, outcome, refused, start } from './helpers.js';

const run = await trainedRun();
const body = { model: 'tiny', prompt: 'Line 7', max_tokens: 8, seed: 1, ...ENDLESS };
const children: ChildProcess[] = [];
after(() => {
  for (const child of children) child.kill('SIGKILL');
});

/** A started server, once it has loaded its run. */
async function serve(args: readonly string[] = [], env: Record<string, string> = {}) {
  const child = start(['serve', '--model', run, '--port', '0', ...args], env);
  children.push(child);
  const ended = outcome(child);
  let text = '';
  child.stderr!.on('data', (piece: string) => {
    text += piece;
  });
  await until(() => /is loaded/.test(text), 'a loaded model');
  const url = /listening on (\S+)/.exec(text)![1];
  return { child, ended, url, log: () => text };
}

test('one line a request, and orders to stop are obeyed', async () => {
  const { child, ended, url } = await serve();
  assert.match(url, /^http:\/\/127\.0\.0\.1:\d+$/);
  await (await post(url, '/v1/completions', body, { 'x-request-id': 'mine' })).text();
  await (await post(url, '/v1/completions', '{', { 'x-request-id': 'bad' })).text();
  child.kill('SIGINT');
  const { code, stdout, stderr } = await ended;
  assert.equal(code, 0, stderr);
  assert.equal(stdout, '');
  const lines = stderr.trimEnd().split('\n');
  assert.match(lines[2], /^POST \/v1\/completions 200 \d+ms 6\+8 tokens mine$/);
  assert.match(lines[3], /^POST \/v1\/completions 400 \d+ms bad \(body: must be JSON \(.*\)\)$/);
  assert.match(lines[4], /^SIGINT: finishing the running requests \(again to quit at once\)$/);
  assert.equal(lines.length, 5, stderr);
});

test('SIGTERM finishes what runs and refuses what is new', async () => {
  const { child, ended, url } = await serve();
  const long = { ...body, max_tokens: 200, loops: 16 };
  const whole = clientOf(url).completions.create({ ...long, seed: 2 });
  const stream = await clientOf(url).completions.create({ ...long, stream: true });
  let text = '';
  let health: Response | null = null;
  for await (const { choices } of stream) {
    text += choices[0].text;
    if (health) continue;
    child.kill('SIGTERM');
    await until(async () => {
      health = await fetch(`${url}/health`);
      return health.status === 503;
    }, 'draining');
    assert.deepEqual(await health!.json(), { status: 'draining' });
    const refusal = await post(url, '/v1/completions', body);
    assert.equal(refusal.status, 503);
    assert.equal(refusal.headers.get('connection'), 'close');
    assert.match(await refusal.text(), /shutting down/);
  }
  const { choices } = await whole;
  const { code, stderr } = await ended;
  assert.equal(code, 0, stderr);
  const again = await serve();
  const texts = await Promise.all(
    [1, 2].map(
      async (seed) => (await clientOf(again.url).completions.create({ ...long, seed })).choices[0].text,
    ),
  );
  assert.deepEqual([text, choices[0].text], texts, 'nothing is missing from what was running');
  again.child.kill('SIGTERM');
  await again.ended;
});

test('a signal while the model is being loaded ends in order too', async () => {
  const child = start(['serve', '--model', run, '--port', '0']);
  children.push(child);
  const ended = outcome(child);
  child.stderr!.once('data', () => child.kill('SIGTERM'));
  const { code, signal, stderr } = await ended;
  assert.deepEqual([code, signal], [0, null], stderr);
});

test('a second signal ends the process at once', async () => {
  const { child, ended, url } = await serve();
  const long = { ...body, max_tokens: 1000, loops: 16, n: 8 };
  const stream = await clientOf(url).completions.create({ ...long, stream: true });
  const broken = assert.rejects(async () => {
    for await (const _ of stream);
  });
  child.kill('SIGTERM');
  await until(async () => (await fetch(`${url}/health`)).status === 503, 'draining');
  child.kill('SIGTERM');
  assert.equal((await ended).code, 128 + 15);
  await broken;
});

test('API keys come from the environment too, and a chat template from a file', async () => {
  const file = join(dirname(run), 'template.jinja');
  writeFileSync(file, '{% for m in messages %}<{{ m.role }}>{{ m.content }}{{ eos_token }}{% endfor %}');
  const keys = { LOOPNN_API_KEY: 'key-number-1,key-number-2' };
  const { child, ended, url } = await serve(['--chat-template', file], keys);
  const messages = [{ role: 'user', content: 'hi' }] as const;
  const ask = (key: string) =>
    clientOf(url, key).chat.completions.create({ ...body, messages: [...messages] });
  assert.equal((await ask('key-number-2')).usage!.prompt_tokens, '<user>hi'.length + 1);
  await assert.rejects(ask('key-number-3'), OpenAI.AuthenticationError);
  child.kill('SIGTERM');
  const { stderr } = await ended;
  assert.ok(!stderr.includes('key-number'), stderr);
});

test('what cannot be served is told on one line, and leaves nothing behind', async () => {
  const folder = dirname(run);
  const served = (...args: string[]) => ['serve', '--port', '0', ...args];
  const fails = async (message: RegExp, ...args: string[]) => {
    const { code, stderr } = await loopnn(served(...args));
    assert.equal(code, 1, stderr);
    const lines = stderr
      .trimEnd()
      .split('\n')
      .filter((line) => !line.startsWith('listening on '));
    assert.equal(lines.length, 1, stderr);
    assert.match(lines[0], message);
  };
  await fails(/^loopnn: .*none: must be the folder of a run/, '--model', join(folder, 'none'));
  const bare = join(folder, 'bare');
  mkdirSync(bare);
  writeFileSync(join(bare, 'config.json'), readFileSync(join(run, 'config.json')));
  await fails(/must hold a tokenizer\.json/, '--model', bare);
  const template = join(folder, 'broken.jinja');
  writeFileSync(template, '{% for x in %}');
  await fails(/^loopnn: chat template: must be Jinja/, '--model', run, '--chat-template', template);
  await fails(/--chat-template: must be a readable file/, '--model', run, '--chat-template', folder);
  await fails(/^loopnn: --api-key: must have 8/, '--model', run, '--api-key', 'x');
  await fails(/^loopnn: model\.kvLoops: must not be given where/, '--model', run, '--kv-loops', '1');
  const short = await loopnn(served('--model', run), { LOOPNN_API_KEY: 'long-enough,short' });
  assert.equal(
    short.stderr,
    'loopnn: LOOPNN_API_KEY: must have 8 to 512 printable ASCII characters without spaces\n',
  );
  const taken = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => taken.once('listening', resolve));
  const { port } = taken.address() as { port: number };
  await fails(/EADDRINUSE.*; .*--port 0/, '--model', run, '--port', String(port));
  taken.close();
  await refused(served('--model', run, '--port', '65536'), /from 0 to 65535/, 2);
});
