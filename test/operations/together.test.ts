/** Processes that differ in what they must have in common are refused by name. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Facts, fingerprint, ownVersion, requireAlike } from '../../src/operations/together.js';
import type { TokenShard } from '../../src/data/shard.js';
import { source } from '../train/helpers.js';
import { memoryPeers } from '../train/memory-peers.js';

/** What rank 0 throws where each rank has its facts; null where all may go on. */
async function refusal(facts: readonly Facts[]): Promise<string | null> {
  const all = memoryPeers(facts.length).map((peers) => requireAlike(peers, facts[peers.rank]));
  return Promise.race([Promise.all(all).then(() => null), all[0].then(() => all[1])]).then(
    () => null,
    (error: Error) => `${error.name}: ${error.message}`,
  );
}

test('processes with the same facts go on; another one is named with its fact and rank 0’s', async () => {
  const facts: Facts = { version: '1.0.0', commit: 'abc', configuration: '{"lr":1}' };
  assert.equal(await refusal([facts, facts, facts]), null);
  for (const [name, value] of Object.entries({
    version: '1.0.1',
    commit: 'abd',
    configuration: '{"lr":2}',
  })) {
    const other = { ...facts, [name]: value };
    assert.equal(
      await refusal([facts, facts, other]),
      `PeersError: rank 2: must have the same ${name} as rank 0, '${facts[name]}', got '${value}'`,
    );
  }
});

test('data is told from other data by its length and its tokens', async () => {
  const shard = (length: number, largest?: number) => source(length, largest) as unknown as TokenShard;
  const own = await fingerprint(shard(5000));
  assert.equal(await fingerprint(shard(5000)), own);
  assert.notEqual(await fingerprint(shard(5001)), own);
  assert.notEqual(await fingerprint(shard(5000, 30)), own);
  assert.match(await fingerprint(shard(1)), /^1 tokens/);
});

test('what a process is has a version', () => {
  assert.match(ownVersion().version, /^\d+\.\d+\.\d+/);
});
