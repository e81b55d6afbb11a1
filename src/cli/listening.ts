/** The flags of the commands that serve pages: where they listen. */
import type { Command } from 'commander';
import { KEY_VARIABLE } from './api-keys.js';
import { several, wholeNumber } from './flags.js';

/** Adds `--host` and `--port`. */
export function addListenFlags(command: Command, port: number): Command {
  return command
    .option('--host <address>', 'address to listen on; 0.0.0.0 lets other machines connect', '127.0.0.1')
    .option('--port <n>', 'port to listen on; 0 for any free port', wholeNumber(0, 65_535), port);
}

/** Adds `--api-key`. */
export function addKeyFlag(command: Command): Command {
  const help = `key that clients must send; may be repeated; ${KEY_VARIABLE}=KEY,KEY keeps keys out of the list of processes`;
  return command.option('--api-key <key>', help, several);
}
