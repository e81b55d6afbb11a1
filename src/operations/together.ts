/** The facts in which processes that work together must agree, and how their work ends. */
import { readFileSync } from 'node:fs';
import type { Backend } from '../backend/backend.js';
import { nativeInfo } from '../backend/native/addon.js';
import type { TokenShard } from '../data/shard.js';
import { machine } from '../node/machine.js';
import { PeersError } from '../node/mpi.js';
import { hashWords } from '../random.js';
import { gatherTexts, throwTogether, type Peers } from '../train/peers.js';

/** Facts of one process, each in a few words. */
export type Facts = Readonly<Record<string, string>>;

/** The version and the commit of this program. */
export function ownVersion(): Facts {
  const { version } = JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8'));
  return { version, commit: machine().commit ?? 'none' };
}

/** The engine, and what its bits depend on: instruction sets and GPUs round differently. */
export function backendFact({ name, precision, description }: Backend): string {
  if (name === 'webgpu') return description;
  return [name, precision, ...(name === 'native' ? [nativeInfo().isa] : [])].join(' ');
}

/** Throws PeersError, on rank 0 and for all, if a process differs from rank 0 in a fact, which the error names. */
export async function requireAlike(peers: Peers, facts: Facts): Promise<void> {
  const all = (await gatherTexts(peers, JSON.stringify(facts))).map((text) => JSON.parse(text) as Facts);
  for (const [rank, other] of all.entries()) {
    for (const [name, value] of Object.entries(all[0])) {
      if (other[name] === value) continue;
      const rule = `must have the same ${name} as rank 0, '${value}'`;
      await throwTogether(peers, new PeersError(`rank ${rank}`, rule, other[name]));
    }
  }
}

/** Samples of tokens that represent all of them. */
const STRETCHES = 64;
const STRETCH = 1024;

/** A fingerprint of tokens: their number, and a hash of some. */
export async function fingerprint(tokens: TokenShard): Promise<string> {
  const length = Math.min(STRETCH, tokens.length);
  let hash = 0;
  for (let i = 0; i < STRETCHES; i++) {
    const at = Math.floor((i / (STRETCHES - 1)) * (tokens.length - length));
    for (const id of await tokens.read(at, length)) hash = hashWords(hash, id);
  }
  return `${tokens.length} tokens, ${(hash >>> 0).toString(16)}`;
}
