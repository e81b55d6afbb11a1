/** Text that two processes prepare, started by a real launcher. */
import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { prepareCorpus } from '../../src/data/prepare.js';
import { temporaryFolder, writeCorpus } from '../cli/helpers.js';
import { findMpis, launched, NO_MPI } from './mpi.js';

test('two processes write the files of one', { timeout: 120_000 }, async (t) => {
  const [mpi] = await findMpis(1);
  if (!mpi) return t.skip(NO_MPI);
  const folder = temporaryFolder();
  const [corpus, one, two] = ['corpus', 'one', 'two'].map((name) => join(folder, name));
  mkdirSync(corpus);
  await prepareCorpus({ sources: [writeCorpus(corpus)], out: one, tokenizer: 'bpe:300', seed: 2357 });
  const { code, stderr } = await launched(mpi, 2, [
    'prepare',
    corpus,
    '--out',
    two,
    '--tokenizer',
    'bpe:300',
  ]);
  assert.equal(code, 0, stderr);
  assert.match(stderr, /2 processes encode/);
  const files = (of: string) => readdirSync(of).map((name) => [name, readFileSync(join(of, name))]);
  assert.deepEqual(files(two), files(one));
});
