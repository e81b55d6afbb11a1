/** A comparison that takes a moment, for tests of many processes. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { prepareCorpus } from '../../src/data/prepare.js';
import { writeCorpus } from '../cli/helpers.js';

const MODELS = [
  { name: 'one', label: '1 layer', model: { depth: 'gpt2', nLayer: 1 } },
  { name: 'loop', label: '1 × 2', model: { depth: 'loop', nLayer: 1, nLoop: 2 } },
];

/** Writes a suite of two models with two seeds each, and its data; returns both paths. */
export async function tinySuite(folder: string, steps = 20): Promise<{ suite: string; data: string }> {
  const [corpus, data, suite] = ['corpus', 'data', 'suite.json'].map((name) => join(folder, name));
  mkdirSync(corpus);
  const sources = [writeCorpus(corpus)];
  await prepareCorpus({ sources, out: data, tokenizer: 'bytes', seed: 1 });
  const sizes = {
    model: { nEmbd: 16, nHead: 2, blockSize: 32 },
    train: { batchSize: 2, lr: 3e-3, evalBatches: 2, checkpointInterval: 10 },
    budget: { steps },
  };
  const content = {
    ...{ description: 'Two tiny models', ...sizes, seeds: 2, models: MODELS },
    groups: [{ title: 'All', baseline: 'one', others: ['loop'] }],
    // At this scale no steps are timed in the end.
    full: sizes,
  };
  writeFileSync(suite, JSON.stringify(content));
  return { suite, data };
}

/** What a comparison found, without times and threads. */
export function figures(folder: string): unknown {
  const { results, tuned, missing } = JSON.parse(readFileSync(join(folder, 'results.json'), 'utf8'));
  const timeless = results.map((result: object) => ({ ...result, stepMs: 0, provenance: null }));
  return { results: timeless, tuned, missing };
}
