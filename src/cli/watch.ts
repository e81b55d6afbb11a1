/** `loopnn watch`: a page of trainings, finished and under way. */
import type { Command } from 'commander';
import { watchRuns } from '../operations/watch.js';
import { isLoopback } from '../serve/host.js';
import { DEFAULT_PORT } from '../watch/port.js';
import { keysFrom } from './api-keys.js';
import { examples } from './help.js';
import { onSignal } from './interrupt.js';
import { addKeyFlag, addListenFlags } from './listening.js';
import { counted, notice } from './output.js';

interface WatchFlags {
  readonly host: string;
  readonly port: number;
  readonly apiKey?: readonly string[];
}

export function watchCommand(program: Command): void {
  const command = program
    .command('watch')
    .description('show trainings on a page while they run')
    .argument(
      '<runs...>',
      'folders of runs or comparisons, or folders that hold them; new runs appear as they start',
    )
    .addHelpText('after', examples('npx loopnn compare demo --out runs/demo', 'npx loopnn watch runs'));
  addKeyFlag(addListenFlags(command, DEFAULT_PORT)).action(watch);
}

async function watch(runs: readonly string[], { host, port, apiKey }: WatchFlags): Promise<void> {
  const keys = keysFrom(apiKey);
  const ended = new Promise<void>((resolve) => {
    onSignal(() => resolve());
  });
  const server = await watchRuns({ runs, host, port, apiKeys: keys });
  if (keys.open && !isLoopback(host)) {
    notice(`--host ${host}: anyone who reaches it can look; --api-key restricts who can`);
  }
  notice(`listening on ${server.url}`);
  const found = server.found.then((runs) => {
    notice(runs === 0 ? 'no run yet; new runs appear as they start' : `${counted(runs, 'run')} so far`);
  });
  await Promise.race([ended, found.then(() => ended)]);
  await server.close();
}
