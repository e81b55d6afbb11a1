/** The flags by which commands are given tokens. */
import { Option } from 'commander';
import { INTEGER_TYPES } from '../formats/integers.js';

/** The possible values of `--data`, for help texts. */
export const DATA_SOURCES = 'a folder that loopnn prepare, nanoGPT or llm.c wrote, or one .npy or .bin file';

/** `--dtype`, beside it. */
export function dtypeOption(): Option {
  const help = 'type of the ids in files without a header; uint16 by default for train.bin beside val.bin';
  return new Option('--dtype <name>', help).choices(Object.keys(INTEGER_TYPES));
}
