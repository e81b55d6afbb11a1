/** A comparison whose runs two processes share out, started by a real launcher. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { compareModels } from '../../src/operations/compare.js';
import { findSuite } from '../../src/operations/suites.js';
import { temporaryFolder } from '../cli/helpers.js';
import { figures, tinySuite } from './comparison.js';
import { findMpis, launched, NO_MPI } from './mpi.js';

test('two processes make the report of one', { timeout: 120_000 }, async (t) => {
  const [mpi] = await findMpis(1);
  if (!mpi) return t.skip(NO_MPI);
  const folder = temporaryFolder();
  const { suite, data } = await tinySuite(folder);
  const [one, two] = ['one', 'two'].map((name) => join(folder, name));
  await compareModels({ suite: findSuite(suite, 'full'), data, out: one });
  const { code, stderr } = await launched(mpi, 2, [
    'compare',
    suite,
    '--scale',
    'full',
    '--data',
    data,
    '--out',
    two,
  ]);
  assert.equal(code, 0, stderr);
  assert.deepEqual(figures(two), figures(one));
  assert.match(stderr, /on each of 2 processes/);
  assert.match(stderr, /^rank 1: .* \((one|loop)-seed\d+\)$/m);
  assert.match(readFileSync(join(two, 'report.md'), 'utf8'), /Two tiny models/);
});
