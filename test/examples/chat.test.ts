/** The examples that talk to a server, as a user runs them. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { outcome } from '../cli/helpers.js';
import { serveRun, trainedRun } from '../serve/helpers.js';

const { url, lines } = await serveRun(await trainedRun());

function example(name: string, args: readonly string[], input: string) {
  const file = fileURLToPath(new URL(`../../examples/${name}.js`, import.meta.url));
  const child = spawn(process.execPath, [file, ...args], { stdio: ['pipe', 'pipe', 'pipe'] });
  child.stdin.end(input);
  return outcome(child as Parameters<typeof outcome>[0]);
}

test('a chat in the terminal remembers what was said, as long as the model can take it in', async () => {
  const long = 'x'.repeat(900);
  const args = [url, '--loops', '3', '--tokens', '20'];
  const { code, stdout, stderr } = await example('chat', args, `Line 1\nLine 2\n${long}\n${long}\n\n`);
  assert.equal(code, 0, stderr);
  assert.match(stdout, /^tiny at http/);
  assert.equal(stdout.match(/\(\d+ tokens, [03] loops each\)/g)?.length, 4, stdout);
  const answered = lines.flatMap((line) => / 200 \d+ms (\d+)\+\d+ tokens/.exec(line)?.[1] ?? []).map(Number);
  const alone = (text: string) => `User: ${text}\n\nAssistant:`.length;
  assert.equal(answered[0], alone('Line 1'));
  assert.ok(answered[1] >= alone('Line 1') + 2 + alone('Line 2'), `${answered}`);
  assert.ok(answered[2] > alone(long), `${answered}`);
  assert.equal(answered[3], alone(long), 'the long turn before is forgotten');
});

test('OpenAI’s client', async () => {
  const { code, stdout, stderr } = await example('openai-client', [url, 'Line 7'], '');
  assert.equal(code, 0, stderr);
  assert.match(stdout, /^tiny at http.*loops 1: Line 7.*loops 2: Line 7/s);
});
