/** The live page of `train` and `compare`. */
import { Option } from 'commander';
import type { Peers } from '../train/peers.js';
import { type Watching, watchInThread } from '../watch/in-thread.js';
import { wholeNumbers } from './flags.js';
import { notice } from './output.js';

/** `--eval-loops`. */
export function evalLoopsOption(): Option {
  const help = 'loop counts, such as 1,2,4, at which each evaluation scores its validation batches too';
  return new Option('--eval-loops <counts>', help).argParser(wholeNumbers);
}

/** `--watch`. */
export function watchOption(): Option {
  const help = 'show the progress on a page of this machine; loopnn watch shows it later';
  return new Option('--watch', help);
}

/** The page of a folder if requested, until it is disposed of; with several processes, on rank 0. */
export async function watched(
  wanted: true | undefined,
  folder: string,
  peers: Peers | null,
): Promise<AsyncDisposable | null> {
  if (!wanted || (peers && peers.rank > 0)) return null;
  const page: Watching = await watchInThread(folder);
  notice(`watch it on ${page.url}`);
  return {
    async [Symbol.asyncDispose]() {
      await page[Symbol.asyncDispose]();
      notice(`the page is closed; to see it again: loopnn watch ${folder}`);
    },
  };
}
