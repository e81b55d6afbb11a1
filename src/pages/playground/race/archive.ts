/** A race as one file: a folder for each run, in the command line's layout, and the text's tokens. */
import { zipSync } from 'fflate';
import type { Store } from '../../../platform.js';
import { splitIds, TEXT_FILE, type Training } from '../../../web/training.js';
import { commands } from './cli-commands.js';
import { ENTRANTS } from './entrants.js';
import { filesOf } from './kept-store.js';

function readme(maxSteps: number): string {
  const runs = ENTRANTS.map(({ id, label }) => `- \`${id}\`: ${label}`).join('\n');
  return `# A race of three models

${runs}
- \`data\`: the tokens of the text that the models learn; its last tenth is held out

With loopnn (Node 20.10 or newer), in the folder that holds \`race\`:

${commands(maxSteps).replace(/^/gm, '    ')}
`;
}

/** The zip file of a race; `runs` are the entrants' stores. */
export async function archive(
  runs: readonly Store[],
  { tokenizer, text, config }: Pick<Training, 'tokenizer' | 'text' | 'config'>,
): Promise<Uint8Array<ArrayBuffer>> {
  const encoder = new TextEncoder();
  const files: Record<string, Uint8Array> = {
    'race/README.md': encoder.encode(readme(config.train.maxSteps)),
    'race/data/tokenizer.json': encoder.encode(`${JSON.stringify(tokenizer.toJSON())}\n`),
  };
  for (const [i, store] of runs.entries()) {
    for (const path of await filesOf(store)) {
      if (path !== TEXT_FILE) files[`race/${ENTRANTS[i].id}/${path}`] = await store.read(path);
    }
  }
  for (const [name, ids] of Object.entries(splitIds(tokenizer, text))) {
    files[`race/data/${name}.bin`] = new Uint8Array(ids.slice().buffer);
  }
  return zipSync(files, { level: 1 }) as Uint8Array<ArrayBuffer>;
}
