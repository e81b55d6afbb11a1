/** Processes that train together end together: a lost rank is named, and what was saved goes on with the same bits. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { placesOf } from '../../src/cli/together.js';
import { loopnn, temporaryFolder } from '../cli/helpers.js';
import {
  assertSameRun,
  checkpointsIn,
  completed,
  Drill,
  ENDLESS,
  prepareBytes,
  stepsIn,
  training,
} from './drill.js';
import { findMpis, NO_MPI } from './mpi.js';

const [mpi] = await findMpis(1);
const options = mpi ? {} : { skip: NO_MPI };
const UNFINISHED = fileURLToPath(new URL('./unfinished.js', import.meta.url));

const WAYS = {
  'runs dry': /^loopnn: rank 1: ended before all were done$/m,
  throws: /^loopnn: rank 1: unexpected error: TypeError: this rank only$/m,
  exits: /^loopnn: rank 1: ended before all were done$/m,
};

for (const [way, message] of Object.entries(WAYS)) {
  test(`a rank that ${way} ends all, by name`, options, async () => {
    const { code, stderr } = await new Drill(mpi, 3, [UNFINISHED, way]).end();
    assert.notEqual(code, 0, stderr);
    assert.match(stderr, message);
  });
}

test(
  'a signal to the launcher saves; a killed rank is named, and another number of ranks goes on',
  options,
  async () => {
    const folder = temporaryFolder();
    const data = await prepareBytes(folder);
    const [out, whole] = ['killed', 'whole'].map((name) => join(folder, name));
    const endless = ['--max-steps', ENDLESS, '--checkpoint-interval', ENDLESS];
    const drill = new Drill(mpi, 2, training(data, out, ...endless));
    await drill.until('a step', () => stepsIn(out) > 0);
    drill.launcher.kill('SIGUSR1');
    await drill.until('a checkpoint', () => checkpointsIn(out).length > 0);
    const [saved] = checkpointsIn(out);
    await drill.until('further steps', () => stepsIn(out) > saved + 2);
    const pid = await drill.signal(1, 'SIGKILL');
    const { stderr, code } = await drill.end();
    assert.match(stderr, new RegExp(`rank 1 (\\(process ${pid}\\)|with PID )`));
    assert.notEqual(code, 0);
    assert.ok(!completed(out), stderr);

    const steps = ['--max-steps', String(saved + 5)];
    const resumed = await new Drill(mpi, 3, training(data, out, ...steps)).ended;
    assert.equal(resumed.code, 0, resumed.stderr);
    assert.ok(completed(out));
    const alone = await loopnn(training(data, whole, ...steps, '--checkpoint-interval', ENDLESS).slice(1));
    assert.equal(alone.code, 0, alone.stderr);
    assertSameRun(out, whole);
  },
);

test('which ranks are where is told in a line for each of several machines', () => {
  assert.deepEqual(placesOf(['a', 'a', 'a']), []);
  assert.deepEqual(placesOf(['a', 'b', 'b', 'b', 'a', 'b']), ['a: ranks 0, 4', 'b: ranks 1 to 3, 5']);
  assert.deepEqual(placesOf(['a', 'b']), ['a: rank 0', 'b: rank 1']);
});
