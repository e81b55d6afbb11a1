/** `loopnn play`: the playground, a page that shows what looping does, with the user's run if one is given. */
import type { Command } from 'commander';
import { servePlayground } from '../operations/play.js';
import { isLoopback } from '../serve/host.js';
import { examples } from './help.js';
import { onSignal } from './interrupt.js';
import { addListenFlags } from './listening.js';
import { notice } from './output.js';

interface PlayFlags {
  readonly model?: string;
  readonly host: string;
  readonly port: number;
}

export function playCommand(program: Command): void {
  const command = program
    .command('play')
    .description('serve a playground: a page to try loops, exits and small trainings on')
    .option('--model <run>', 'folder of a trained run; by default the small model that the page ships with')
    .addHelpText('after', examples('npx loopnn play', 'npx loopnn play --model models/playground --port 0'));
  addListenFlags(command, 8091).action(play);
}

async function play(flags: PlayFlags): Promise<void> {
  const stopped = new Promise<string>((resolve) => {
    onSignal(resolve);
  });
  await using playground = await servePlayground(flags);
  const { url, step } = playground;
  if (!isLoopback(flags.host))
    notice(`--host ${flags.host}: anyone who reaches it sees the page and the model`);
  notice(
    `${flags.model ?? 'the playground'}${step === null ? '' : `, step ${step},`} is at ${url} (Ctrl-C stops it)`,
  );
  notice(`${await stopped}: stopping`);
}
