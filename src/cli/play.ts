/** `loopnn play`: the playground, a page that shows what looping does, with the user's run if one is given. */
import type { Command } from 'commander';
import { servePlayground } from '../operations/play.js';
import { isLoopback } from '../serve/host.js';
import { wholeNumber } from './flags.js';
import { onSignal } from './interrupt.js';
import { notice } from './output.js';

interface PlayFlags {
  readonly model?: string;
  readonly host: string;
  readonly port: number;
}

export function playCommand(program: Command): void {
  program
    .command('play')
    .description('open a playground on a page: loops, exits and small trainings to try')
    .option('--model <run>', 'folder of a trained run; the small model that comes with the page by default')
    .option('--host <address>', 'address to listen on; others than this machine reach 0.0.0.0', '127.0.0.1')
    .option('--port <n>', 'port to listen on; 0 for any free one', wholeNumber(0, 65_535), 8091)
    .action(play);
}

async function play(flags: PlayFlags): Promise<void> {
  const stopped = new Promise<string>((resolve) => {
    onSignal(resolve);
  });
  await using playground = await servePlayground(flags);
  const { url, step } = playground;
  if (!isLoopback(flags.host))
    notice(`--host ${flags.host}: anybody who reaches it sees the page and its model`);
  notice(
    `${flags.model ?? 'the playground'}${step === null ? '' : `, step ${step},`} is at ${url} (Ctrl-C ends it)`,
  );
  notice(`${await stopped}: ending`);
}
