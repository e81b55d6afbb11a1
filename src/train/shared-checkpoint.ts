/**
 * Checkpoints of a run that many processes train: rank 0 reads and writes the files, which are those of one process.
 * Knows what each process holds of the moments.
 */
import type { Storage } from '../backend/backend.js';
import type { Parameters } from '../nn/parameters.js';
import type { Store } from '../platform.js';
import type { Range } from './blocks.js';
import {
  type CheckpointKind,
  loadCheckpoint,
  momentSections,
  saveCheckpoint,
  type TrainState,
} from './checkpoint.js';
import { tensorFile } from './checkpoint-tensors.js';
import { announcedValues, dealtValues, valuesOf, writesDealt, writesTo } from './flat-values.js';
import { broadcastText, type Peers } from './peers.js';

/** The optimizer's moments as a process holds them: all, or its own of these blocks. */
export interface HeldMoments {
  readonly m: Storage;
  readonly v: Storage;
  readonly blocks: readonly Range[] | null;
}

/** Loads the latest checkpoint into every process; see loadCheckpoint. */
export async function loadTogether(
  store: Store,
  parameters: Parameters,
  { m, v, blocks }: HeldMoments,
  peers: Peers,
  signal?: AbortSignal,
): Promise<TrainState> {
  const { runtime, storage } = parameters;
  const { backend } = runtime;
  if (peers.size === 1) {
    const [weights, ...moments] = [storage, m, v].map((flat) => valuesOf(backend, flat));
    return loadCheckpoint(store, parameters, weights, momentSections(moments[0], moments[1]), signal);
  }
  const writesMoments = (held: Storage) =>
    blocks ? writesDealt(backend, held, blocks, peers) : writesTo(backend, held);
  const announced = announcedValues(peers, [writesTo(backend, storage), writesMoments(m), writesMoments(v)]);
  if (peers.rank > 0) {
    await announced.follow();
    return JSON.parse(await broadcastText(peers, 0, ''));
  }
  const [weights, ...moments] = announced.values;
  const sections = momentSections(moments[0], moments[1]);
  const state = await loadCheckpoint(store, parameters, weights, sections, signal);
  await announced.end();
  await broadcastText(peers, 0, JSON.stringify(state));
  return state;
}

/** Writes a checkpoint of what the processes hold; see saveCheckpoint. */
export async function saveTogether(
  store: Store,
  kind: CheckpointKind,
  parameters: Parameters,
  { m, v, blocks }: HeldMoments,
  peers: Peers,
  state: TrainState,
): Promise<void> {
  const { backend } = parameters.runtime;
  const valuesHeld = (held: Storage) =>
    blocks ? dealtValues(backend, held, blocks, peers) : valuesOf(backend, held);
  const moments = momentSections(valuesHeld(m), valuesHeld(v));
  if (peers.rank === 0) await saveCheckpoint(store, kind, parameters, moments, state);
  // What rank 0 writes, the others give in the same order.
  else if (blocks) for await (const _ of tensorFile(parameters, moments));
}
