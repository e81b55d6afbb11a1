/** `loopnn watch`: a page of trainings, finished and under way. */
import type { Command } from 'commander';
import { watchRuns } from '../operations/watch.js';
import { isLoopback } from '../serve/host.js';
import { DEFAULT_PORT } from '../watch/port.js';
import { KEY_VARIABLE, keysFrom } from './api-keys.js';
import { several, wholeNumber } from './flags.js';
import { onSignal } from './interrupt.js';
import { counted, notice } from './output.js';

interface WatchFlags {
  readonly host: string;
  readonly port: number;
  readonly apiKey?: readonly string[];
}

export function watchCommand(program: Command): void {
  program
    .command('watch')
    .description('show trainings on a page while they run')
    .argument(
      '<runs...>',
      'folders: runs, comparisons, or what holds them; new runs are found as they appear',
    )
    .option('--host <address>', 'address to listen on; others than this machine reach 0.0.0.0', '127.0.0.1')
    .option('--port <n>', 'port to listen on; 0 for any free one', wholeNumber(0, 65_535), DEFAULT_PORT)
    .option(
      '--api-key <key>',
      `a key that the page asks for, and more by repetition; better in ${KEY_VARIABLE}, separated by commas: a flag shows in the list of processes`,
      several,
    )
    .action(watch);
}

async function watch(runs: readonly string[], { host, port, apiKey }: WatchFlags): Promise<void> {
  const keys = keysFrom(apiKey);
  const ended = new Promise<void>((resolve) => {
    onSignal(() => resolve());
  });
  const server = await watchRuns({ runs, host, port, apiKeys: keys });
  if (keys.open && !isLoopback(host)) {
    notice(`--host ${host}: anybody who reaches it may look; --api-key keeps strangers out`);
  }
  notice(`listening on ${server.url}`);
  const found = server.found.then((runs) => {
    notice(runs === 0 ? 'no run is there yet: one that begins shows up' : `${counted(runs, 'run')} so far`);
  });
  await Promise.race([ended, found.then(() => ended)]);
  await server.close();
}
