/** Which runs lie below a folder: folders with a configuration and a log. Links are not followed. */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { CONFIG_FILE } from '../train/run.js';
import { METRICS_FILE } from '../train/metrics.js';

/** A run lies at most so deep, and of a wrong folder, as a home, not everything is looked at. */
const MOST_LEVELS = 6;
const MOST_FOLDERS = 20_000;
/** Folders in which no run lies. */
const OTHERS = /^(\.|checkpoints$|node_modules$|plots$)|\.partial$/;

/** Paths of runs below a folder, itself among them, as paths relative to it; '' is the folder itself. */
export async function findRuns(root: string): Promise<string[]> {
  const found: string[] = [];
  let level = [''];
  let looked = 0;
  for (let depth = 0; depth <= MOST_LEVELS && level.length > 0; depth++) {
    const next: string[] = [];
    for (const folder of level) {
      if (++looked > MOST_FOLDERS) return found;
      const entries = await readdir(join(root, folder), { withFileTypes: true }).catch(() => []);
      const files = entries.filter((entry) => entry.isFile()).map(({ name }) => name);
      if (files.includes(CONFIG_FILE) && files.includes(METRICS_FILE)) found.push(folder);
      for (const entry of entries) {
        if (entry.isDirectory() && !OTHERS.test(entry.name)) next.push(join(folder, entry.name));
      }
    }
    level = next;
  }
  return found.sort();
}
