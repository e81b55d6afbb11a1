/**
 * Times training steps of one block applied twice, C = 64, on WebGPU: loopnn, @jax-js/jax and @genai-fi/nanogpt (on
 * TensorFlow.js) on one adapter, SwiftShader, in one headless Chromium, in turns. The peers are installed from npm into
 * a temporary folder, in pinned versions. Nothing else should run at the same time.
 *
 *     node dist/studies/webgpu-peers.js [TURNS] [ROUNDS_OF_A_TURN] [PEER]
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { machine } from '../src/node/machine.js';
import { spread } from '../src/statistics.js';
import { Browser, findChromium, newProfile, Site } from '../test/web/chromium.js';
import { buildPeers } from './peer-site.js';

const PEERS = ['ours', 'jax', 'tfjs'];
/** B sequences of T tokens. */
const SHAPE = { B: 4, T: 128, C: 64, NH: 2, V: 256, loops: 2 };
/** Milliseconds after which a peer's turn has no further rounds: pipelines take long to build. */
const LONGEST = 120_000;

const [turns, rounds] = [process.argv[2] ?? 3, process.argv[3] ?? 5].map(Number);
const only = process.argv[4];
const { processor, node, commit } = machine();
const chromium = findChromium();
if ('missing' in chromium) throw new Error(chromium.missing);
console.log(`${processor}, Node ${node}, commit ${commit}, ${turns} turns of ${rounds} rounds`);

interface Found {
  readonly error?: string;
  readonly name: string;
  readonly times: number[];
  readonly losses: readonly number[];
}

const folder = mkdtempSync(join(tmpdir(), 'loopnn-peers-'));
try {
  const root = buildPeers(folder);
  using profile = newProfile();
  await using site = await Site.open({ isolated: true, root });
  const flags = ['--enable-unsafe-webgpu', '--use-webgpu-adapter=swiftshader'];
  const limit = 3 * turns * 2 * LONGEST;
  await using browser = await Browser.open(chromium.command, profile.folder, flags, limit);
  await browser.goto(site.url);
  await browser.evaluate(
    'new Promise((go) => { const look = () => globalThis.ask ? go() : setTimeout(look, 20); look(); })',
  );
  const all = new Map<string, Found & { readonly times: number[] }>();
  for (let turn = 0; turn < turns; turn++) {
    for (const peer of PEERS) {
      if (only !== undefined && peer !== 'ours' && peer !== only) continue;
      const asked = JSON.stringify({ peer, device: 'webgpu', rounds, longest: LONGEST, ...SHAPE });
      const found = await browser.evaluate<Found>(`ask(${asked})`);
      if (found.error !== undefined) console.log(`${peer}: ${found.error.split('\n').slice(0, 3).join(' ')}`);
      else if (all.has(peer)) all.get(peer)!.times.push(...found.times);
      else all.set(peer, found);
    }
  }
  const own = spread(all.get('ours')!.times).median;
  for (const { name, times, losses } of all.values()) {
    const { min, median, max } = spread(times);
    const shown = `${median.toFixed(0)} ms a step (${min.toFixed(0)} to ${max.toFixed(0)}, ${times.length} rounds)`;
    const moved = losses.map((loss) => loss?.toFixed(2)).join(' to ');
    console.log(`${name}: ${shown}, ${(median / own).toFixed(2)} times ours, loss ${moved}`);
  }
} finally {
  rmSync(folder, { recursive: true });
}
