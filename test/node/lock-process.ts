/** A process that takes locks as `folder-lock.full.ts` tells it, and says how that went. */
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { FolderLock } from '../../src/node/folder-lock.js';
import { LockError } from '../../src/errors.js';

export type Order =
  /** Take it at a time by the clock, and hold it until told. */
  | { readonly kind: 'take'; readonly folder: string; readonly at: number }
  | { readonly kind: 'release' }
  /** Take it and give it back so often. */
  | { readonly kind: 'churn'; readonly folder: string; readonly times: number };

let lock: FolderLock | null = null;

process.on('message', async (order: Order) => {
  if (order.kind === 'take') {
    while (Date.now() < order.at) {} // no timer is that exact
    lock = await take(order.folder);
    process.send!(lock ? 'held' : 'refused');
  } else if (order.kind === 'release') {
    await lock?.[Symbol.asyncDispose]();
    lock = null;
    process.send!('released');
  } else {
    await churn(order.folder, order.times);
    process.send!('churned');
  }
});

async function take(folder: string): Promise<FolderLock | null> {
  try {
    return await FolderLock.take(folder);
  } catch (error) {
    if (error instanceof LockError) return null;
    process.send!(String(error));
    throw error;
  }
}

async function churn(folder: string, times: number): Promise<void> {
  const mark = join(folder, 'at-work');
  for (let done = 0; done < times; ) {
    const held = await take(folder);
    if (!held) {
      await setTimeout(Math.random() * 5);
      continue;
    }
    writeFileSync(mark, '', { flag: 'wx' }); // throws where another holds it too
    await setTimeout(Math.random() * 3);
    await held.requireOwn();
    rmSync(mark);
    await held[Symbol.asyncDispose]();
    done++;
  }
}
