/** The examples that talk to a server, as a user runs them. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { outcome } from '../cli/helpers.js';
import { ApiKeys } from '../../src/serve/keys.js';
import { BLOCK_SIZE, serveRun, trainedRun } from '../serve/helpers.js';

const run = await trainedRun();
const { url, lines } = await serveRun(run);

function example(name: string, args: readonly string[], input: string) {
  const file = fileURLToPath(new URL(`../../examples/${name}.js`, import.meta.url));
  const child = spawn(process.execPath, [file, ...args], {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: { ...process.env, LOOPNN_API_KEY: 'wrong-key' },
  });
  child.stdin.end(input);
  return outcome(child as Parameters<typeof outcome>[0]);
}

test('a chat in the terminal remembers what was said, as long as the model can take it in', async () => {
  const long = 'x'.repeat(900);
  const args = [url, '--loops', '3', '--tokens', '20'];
  const { code, stdout, stderr } = await example('chat', args, `Line 1\nLine 2\n${long}\n${long}\n\n`);
  assert.equal(code, 0, stderr);
  assert.match(stdout, /^tiny at http/);
  assert.equal(stdout.match(/\(\d+ tokens, [03] loops each[^)]*\)/g)?.length, 4, stdout);
  const answered = lines.flatMap((line) => / 200 \d+ms (\d+)\+\d+ tokens/.exec(line)?.[1] ?? []).map(Number);
  const alone = (text: string) => `User: ${text}\n\nAssistant:`.length;
  assert.equal(answered[0], alone('Line 1'));
  assert.ok(answered[1] >= alone('Line 1') + 2 + alone('Line 2'), `${answered}`);
  assert.ok(answered[2] > alone(long), `${answered}`);
  assert.equal(answered[3], alone(long), 'the long turn before is forgotten');
});

test('a chat tells an answer that the end of the block has cut off', async () => {
  const { stdout } = await example('chat', [url, '--temperature', '0'], `${'x'.repeat(BLOCK_SIZE - 24)}\n\n`);
  assert.match(stdout, /\(7 tokens, 2 loops each; cut off by the end of the model’s block\)/);
});

test('a refused message is told on one line, and the chat goes on without it', async () => {
  const input = `Line 1\n${'x'.repeat(BLOCK_SIZE)}\nLine 2\n\n`;
  const before = lines.length;
  const { code, stdout, stderr } = await example('chat', [url, '--tokens', '5'], input);
  assert.match(
    stderr,
    /^chat: 400: This model's maximum context length is 1024 tokens\. However, your messages resulted in \d+ tokens\. .*\n$/,
  );
  assert.equal(code, 1);
  assert.equal(stdout.match(/\(\d+ tokens, /g)?.length, 2, stdout);
  const last = / (\d+)\+\d+ tokens/.exec(lines.slice(before).at(-1)!)![1];
  assert.ok(Number(last) > 2 * 'User: Line 1\n\nAssistant:'.length, `the first turn is remembered: ${last}`);
});

test('without a server, or with a wrong key, a chat ends with one line', async () => {
  const keyed = await serveRun(run, { keys: new ApiKeys(['another-key'], 'keys') });
  const gone = await serveRun(run);
  await gone.server.close();
  const cases: [string[], RegExp][] = [
    [[keyed.url], /^chat: 401: the API key is wrong: .*\n$/],
    [[gone.url], /^chat: http:\/\/127\.0\.0\.1:\d+: fetch failed \(connect ECONNREFUSED .*\)\n$/],
    [['nowhere'], /^chat: Invalid URL\n$/],
  ];
  for (const [args, message] of cases) {
    const { code, stderr } = await example('chat', args, 'hi\n\n');
    assert.match(stderr, message);
    assert.equal(code, 1);
  }
});

test('OpenAI’s client', async () => {
  const { code, stdout, stderr } = await example('openai-client', [url, 'Line 7'], '');
  assert.equal(code, 0, stderr);
  assert.match(stdout, /^tiny at http.*loops 1: Line 7.*loops 2: Line 7/s);
});
