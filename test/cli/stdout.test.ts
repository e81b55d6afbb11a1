/** What is printed: a full disk is told, a reader that left is none of our business, and no name steers the terminal. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { loopnn, MAIN, type Outcome, outcome, temporaryFolder, trainSmall } from './helpers.js';

const folder = temporaryFolder();
const { data, run } = await trainSmall(folder, 'run', '--max-steps', '4');

/** Runs a command in a shell, `loopnn` being the program. */
function shell(command: string): Promise<Outcome> {
  const script = command.replace(/\bloopnn\b/, '"$0" "$1"');
  return outcome(spawn('sh', ['-c', script, process.execPath, MAIN], { stdio: ['ignore', 'pipe', 'pipe'] }));
}

const NO_FULL = !existsSync('/dev/full') && 'there is no /dev/full here';
test('a standard output that is full is told', { skip: NO_FULL }, async () => {
  for (const command of [
    `loopnn generate --model ${run} --prompt x --tokens 3`,
    `loopnn generate --model ${run} --prompt x --tokens 3 --json`,
    `loopnn eval --model ${run} --data ${data} --json`,
    'loopnn params',
  ]) {
    const { code, stderr } = await shell(`${command} > /dev/full`);
    assert.equal(code, 1, command);
    assert.match(
      stderr,
      /^loopnn: standard output: could not be written, the disk is full; free some space/m,
      command,
    );
  }
});

test('a reader that leaves is no error', async () => {
  const { code, stderr } = await shell('{ loopnn params --json; echo "code $?" >&2; } | head -c 10');
  assert.equal(code, 0);
  assert.equal(stderr, 'code 0\n');
});

test('names that steer a terminal are written out wherever they are printed', async () => {
  const text = join(folder, 'a\x1b[31m.txt');
  writeFileSync(text, 'some text and more of it\n'.repeat(9));
  const out = join(folder, 'out\x1b[2J');
  const result = await loopnn(['prepare', text, '--out', out, '--tokenizer', 'bytes']);
  assert.equal(result.code, 0, result.stderr);
  assert.ok(result.stdout.includes('out\\u001b[2J'), result.stdout);
  const again = await loopnn(['prepare', join(folder, 'none\x1b[2J'), '--out', join(folder, 'o2')]);
  assert.match(again.stderr, /none\\u001b\[2J: /);
  for (const { stdout, stderr } of [result, again]) assert.ok(!`${stdout}${stderr}`.includes('\x1b'));
});
