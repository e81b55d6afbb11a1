/**
 * Times training steps in Chromium against @jax-js/jax and @genai-fi/nanogpt (on TensorFlow.js), each on the engines
 * that it has without a GPU, and the first token of a model of 10 MB that the browser has stored. The peers are
 * installed from npm into a temporary folder, in pinned versions; `studies/peers/browser` has the page that runs them.
 * Nothing else should run at the same time.
 *
 *     node dist/studies/browser.js [ROUNDS] [PEER]
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createBackend } from '../src/node/backend.js';
import { machine } from '../src/node/machine.js';
import { NodeStore, nodeClock } from '../src/node/store.js';
import { exportModel } from '../src/operations/export.js';
import { median } from '../src/statistics.js';
import {
  GPT,
  BytesTokenizer,
  createRun,
  parseRunConfig,
  Runtime,
  tokensOf,
  Trainer,
} from '../src/browser.js';
import { Browser, findChromium, newProfile, Site } from '../test/web/chromium.js';
import { buildPeers } from './peer-site.js';

const PEERS = [
  ['ours', 'wasm'],
  ['jax', 'wasm'],
  ['tfjs', 'webgl'],
  ['tfjs', 'cpu'],
] as const;
/** B sequences of T tokens; one block, applied twice. */
const SHAPE = { B: 4, T: 128, NH: 4, V: 257, loops: 2 };

const rounds = Number(process.argv[2] ?? 15);
const only = process.argv[3];
const { processor, node, commit } = machine();
const chromium = findChromium();
if ('missing' in chromium) throw new Error(chromium.missing);
const version = execFileSync(chromium.command, ['--version'], {
  encoding: 'utf8',
  stdio: ['ignore', 'pipe', 'ignore'],
});
console.log(`${processor}, ${version.trim()}, Node ${node}, commit ${commit}, ${rounds} rounds`);

const folder = mkdtempSync(join(tmpdir(), 'loopnn-peers-'));
try {
  const site = buildPeers(folder);
  await publish(join(site, 'model'));
  await measure(site, chromium.command);
} finally {
  rmSync(folder, { recursive: true });
}

/** A model of 10 MB: its weights are those of one step. */
async function publish(out: string): Promise<void> {
  const { model, train } = parseRunConfig(
    {
      model: { depth: 'loop', nLayer: 3, nLoop: 2, nHead: 4, nEmbd: 256, blockSize: 128, vocabSize: 257 },
      train: { batchSize: 1, maxSteps: 1, evalBatches: 1 },
    },
    'study',
  );
  const run = join(folder, 'run');
  const [store, tokenizer] = [new NodeStore(run), new BytesTokenizer()];
  const tokens = tokensOf('text', tokenizer.encode('What goes round comes round. '.repeat(40)));
  const gpt = new GPT(model, new Runtime(await createBackend()), { train: true });
  const options = { model: gpt, config: train, train: tokens, val: tokens, store, clock: nodeClock };
  await createRun(store, { model, train }, tokenizer);
  const trainer = new Trainer(options);
  await trainer.start();
  for await (const _ of trainer.run()) {
  }
  const { bytes } = await exportModel({ model: run, out, format: 'browser' });
  console.log(`a model of ${(bytes / 1e6).toFixed(1)} MB`);
}

interface Found {
  readonly error?: string;
  readonly name: string;
  readonly times: number[];
  readonly losses: readonly number[];
}

async function measure(root: string, command: string): Promise<void> {
  using profile = newProfile();
  await using site = await Site.open({ isolated: true, root });
  await using browser = await Browser.open(command, profile.folder, ['--enable-unsafe-swiftshader']);
  await browser.goto(site.url);
  await browser.evaluate(
    'new Promise((go) => { const look = () => globalThis.ask ? go() : setTimeout(look, 20); look(); })',
  );
  const ask = <Answer>(asked: object) => browser.evaluate<Answer>(`ask(${JSON.stringify(asked)})`);
  for (const C of [64, 128]) {
    let own = Number.NaN;
    for (const [peer, device] of PEERS) {
      if (only !== undefined && peer !== 'ours' && peer !== only) continue;
      const { error, name, times, losses } = await ask<Found>({ peer, device, rounds, C, ...SHAPE });
      if (error !== undefined) {
        console.log(`C = ${C}, ${peer} on ${device}: ${error.split('\n').slice(0, 3).join(' ')}`);
        continue;
      }
      const least = Math.min(...times);
      if (peer === 'ours') own = least;
      const shown = `${least.toFixed(2)} (${median(times).toFixed(2)}) ms a step, ${(least / own).toFixed(1)} times ours`;
      console.log(`C = ${C}, ${name}: ${shown}, loss ${losses.map((loss) => loss?.toFixed(2)).join(' to ')}`);
    }
  }
  const url = new URL('model/', site.url).href;
  await ask({ url }); // makes the copy
  const found: { loaded: number; first: number }[] = [];
  for (let round = 0; round < rounds; round++)
    found.push(await ask<{ loaded: number; first: number }>({ url }));
  const [loaded, first] = (['loaded', 'first'] as const).map((what) =>
    median(found.map((times) => times[what])),
  );
  console.log(
    `first token from the copy, in a new worker: ${first.toFixed(0)} ms, of which loading ${loaded.toFixed(0)} ms`,
  );
}
