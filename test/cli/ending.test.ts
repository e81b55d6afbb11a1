/**
 * Processes end: every command after every failure, each thread with room on its heap, and with all of what it prints.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { errorPathsEnd } from './error-paths.js';
import { MAIN, outcome, start, temporaryFolder, trainSmall } from './helpers.js';

await errorPathsEnd(1);

const folder = temporaryFolder();
const { run, data } = await trainSmall(folder, 'run', '--max-steps', '2', '--block-size', '64');

test('the last collection of every thread is a whole one', async () => {
  const texts = join(folder, 'texts.txt');
  writeFileSync(texts, 'Some words for two threads to encode.\n'.repeat(40_000));
  const cases: [threads: number, ...args: string[]][] = [
    [1, 'params'],
    [1, 'inspect', '--model', run, '--prompt', ''],
    [1, 'eval', '--model', run, '--data', data],
    [3, 'prepare', texts, '--out', join(folder, 'tokens'), '--tokenizer', 'gpt2', '--workers', '2'],
    [2, 'serve', '--model', run, '--port', '0'],
    [2, 'serve', '--model', join(folder, 'gone'), '--port', '0'],
  ];
  for (const [threads, ...args] of cases) {
    const child = spawn(process.execPath, ['--trace-gc', MAIN, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    child.stderr.on('data', (text: Buffer) => /is loaded/.test(String(text)) && child.kill('SIGTERM'));
    const { stdout, stderr } = await outcome(child);
    const last = new Map<string, string>();
    for (const [, isolate, kind] of stdout.matchAll(/^\[\d+:(0x\w+)\] +\d+ ms: (Scavenge|Mark-Compact)/gm)) {
      last.set(isolate, kind);
    }
    const whole = Array.from({ length: threads }, () => 'Mark-Compact');
    assert.deepEqual([...last.values()], whole, `${args.join(' ')}: ${stderr}${stdout}`);
  }
});

test('a long document reaches a slow reader whole', async () => {
  const child = start(['inspect', '--model', run, '--prompt', 'x'.repeat(64), '--top', '250', '--json']);
  // Nobody listens yet, so nothing is read.
  await new Promise((resolve) => setTimeout(resolve, 3000));
  const { code, stdout, stderr } = await outcome(child);
  assert.equal(code, 0, stderr);
  assert.ok(stdout.length > 1e6, `${stdout.length} characters, more than a pipe holds`);
  assert.equal(JSON.parse(stdout).tokens.length, 64);
});
