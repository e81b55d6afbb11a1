/**
 * Measures what checksums cost: saving GPT2-124M's checkpoint, loading it, and loading its weights alone, in turns with
 * checksums and with a checksum that is always 0. Each load fills a new model; files are read from the system's cache,
 * and the weights also from the disk if Linux permits emptying its cache (as root). Prints the smallest and the median
 * time of both, and the median ratio of neighbours with its quartiles, for the time and for the processors' time.
 *
 *     node dist/studies/checkpoint.js FOLDER [TURNS]
 */
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createBackend } from '../src/node/backend.js';
import { NodeStore } from '../src/node/store.js';
import { median } from '../src/statistics.js';
import { GPT } from '../src/models/gpt.js';
import { Runtime } from '../src/tensor/tensor.js';
import { loadCheckpoint, loadWeights, newCheckpointState, saveCheckpoint } from '../src/train/checkpoint.js';
import { parseRunConfig } from '../src/train/config.js';
import { heldValues, valuesOf } from '../src/train/flat-values.js';
import { AdamW } from '../src/train/optimizer.js';

class Unchecked extends NodeStore {
  override readonly crc32c = () => 0;
}

/** Milliseconds of the clock, and of all threads. */
interface Times {
  readonly wall: number;
  readonly busy: number;
}

const [folder, turns = '20'] = process.argv.slice(2);
const home = join(folder, 'checksums-bench');
const stores = { checked: new NodeStore(join(home, 'a')), unchecked: new Unchecked(join(home, 'b')) };
const { model: config, train } = parseRunConfig(
  { model: { depth: 'gpt2', nLayer: 12, nHead: 12, nEmbd: 768, blockSize: 1024, vocabSize: 50_257 } },
  'bench',
);
const runtime = new Runtime(await createBackend());
const state = { ...newCheckpointState(), step: 1 };
const found: Record<string, { checked: Times[]; unchecked: Times[] }> = {};

const { backend } = runtime;
const resumable = ({ parameters }: GPT, { moments }: AdamW) => ({
  weights: valuesOf(backend, parameters.storage),
  average: null,
  moments: moments.map(({ prefix, held }) => [prefix, heldValues(backend, held)] as const),
});

const trained = new GPT(config, runtime, { train: true });
trained.parameters.initialise(1);
const optimizer = new AdamW(trained.parameters, train);
console.log(`${trained.parameters.storage.length} parameters, ${turns} turns`);
try {
  for (let turn = 0; turn < Number(turns); turn++) {
    await inTurns(turn, 'save', async (store) => {
      await time(store, 'save', () =>
        saveCheckpoint(stores[store], 'last', trained.parameters, resumable(trained, optimizer), state),
      );
    });
    await inTurns(turn, 'load', async (store) => {
      const model = new GPT(config, runtime, { train: true });
      const moments = new AdamW(model.parameters, train);
      await time(store, 'load', () =>
        loadCheckpoint(stores[store], model.parameters, resumable(model, moments)),
      );
      moments.dispose();
      model.dispose();
    });
    for (const from of ['weights', 'disk']) {
      await inTurns(turn, from, async (store) => {
        const model = new GPT(config, runtime, { train: false });
        if (from === 'weights' || emptyCache()) {
          await time(store, from, () => loadWeights(stores[store], model));
        }
        model.dispose();
      });
    }
  }
} finally {
  rmSync(home, { recursive: true, force: true });
}
for (const [what, { checked, unchecked }] of Object.entries(found)) {
  if (checked.length === 0) {
    console.log(`${what.padEnd(8)} not measured: the system's cache cannot be emptied`);
    continue;
  }
  for (const clock of ['wall', 'busy'] as const) {
    const show = (times: Times[]) => {
      const all = times.map((t) => t[clock]);
      return `${Math.min(...all).toFixed(0)} (${median(all).toFixed(0)})`;
    };
    const ratios = checked.map((t, i) => t[clock] / unchecked[i][clock]).sort((a, b) => a - b);
    const at = (share: number) => ratios[Math.round(share * (ratios.length - 1))].toFixed(3);
    console.log(
      `${what.padEnd(8)} ${clock}: ${show(checked)} ms with, ${show(unchecked)} ms without; ` +
        `ratio ${at(0.5)} (${at(0.25)} to ${at(0.75)})`,
    );
  }
}

/** Empties the system's cache, so that files come from the disk; false if the system does not permit it. */
function emptyCache(): boolean {
  try {
    writeFileSync('/proc/sys/vm/drop_caches', '1');
    return true;
  } catch {
    return false;
  }
}

/** Runs for both stores one after the other; the first one alternates from turn to turn. */
async function inTurns(
  turn: number,
  what: string,
  run: (store: keyof typeof stores) => Promise<void>,
): Promise<void> {
  found[what] ??= { checked: [], unchecked: [] };
  const order = ['checked', 'unchecked'] as const;
  for (const store of turn % 2 === 0 ? order : order.toReversed()) await run(store);
}

async function time(store: keyof typeof stores, what: string, run: () => Promise<unknown>): Promise<void> {
  const used = process.cpuUsage();
  const start = performance.now();
  await run();
  const wall = performance.now() - start;
  const { user, system } = process.cpuUsage(used);
  found[what][store].push({ wall, busy: (user + system) / 1000 });
}
