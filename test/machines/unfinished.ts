/** A program whose rank 1 does not do its part: it has nothing left to do, throws, or exits as if all were well. */
import { setTimeout } from 'node:timers/promises';
import { together } from '../../src/cli/together.js';
import { barrier } from '../../src/train/peers.js';

const ways: Record<string, () => Promise<never>> = {
  'runs dry': () => new Promise(() => {}),
  throws: async () => {
    throw new TypeError('this rank only');
  },
  exits: async () => process.exit(0),
};

await together(async (peers) => {
  if (!peers) throw new Error('is for several processes');
  await barrier(peers);
  if (peers.rank === 1) {
    await setTimeout(100);
    await ways[process.argv[2]]();
  }
  await barrier(peers);
});
