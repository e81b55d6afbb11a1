/** A thread full of clients, for tests that watch the server's own: long prompts, many prompts, and streams. */
import assert from 'node:assert/strict';
import { parentPort, workerData } from 'node:worker_threads';
import OpenAI from 'openai';
import { clientOf, ENDLESS } from './helpers.js';

const client = clientOf(workerData);
const body = { model: 'tiny', prompt: 'Line 7', max_tokens: 60, logprobs: 5, ...ENDLESS };

async function answers(count: number): Promise<void> {
  const asked = Array.from({ length: count }, async (_, seed) => {
    if (seed % 2 === 0) return client.completions.create({ ...body, seed });
    for await (const _ of await client.completions.create({ ...body, seed, stream: true }));
  });
  await Promise.all(asked);
}

async function everything(): Promise<void> {
  const huge = 'word '.repeat(180_000);
  const ids = Array.from({ length: 120 }, () => Array.from({ length: 1000 }, (_, i) => i % 250));
  const refused = [huge, ids].map((prompt) =>
    assert.rejects(client.completions.create({ ...body, prompt }), OpenAI.BadRequestError),
  );
  await Promise.all([...refused, answers(24)]);
}

parentPort!.on('message', async (task: 'warm up' | 'everything') => {
  await (task === 'everything' ? everything() : answers(2));
  parentPort!.postMessage('done');
});
