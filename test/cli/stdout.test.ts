/** What is printed: a full disk is reported, and a reader that left is no error. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { test } from 'node:test';
import { MAIN, type Outcome, outcome, temporaryFolder, trainSmall } from './helpers.js';

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
