/**
 * Checkpoints of a run that several processes train: rank 0 reads and writes the files, which are those of one process.
 * This file knows each process's part of the moments.
 */
import type { Storage } from '../backend/backend.js';
import type { Parameters } from '../nn/parameters.js';
import type { Store } from '../platform.js';
import type { Range } from './blocks.js';
import { type CheckpointKind, loadCheckpoint, saveCheckpoint, type TrainState } from './checkpoint.js';
import { type Section, tensorFile } from './checkpoint-tensors.js';
import {
  announcedValues,
  dealtValues,
  type FlatValues,
  heldValues,
  valuesOf,
  writesDealt,
  writesHeld,
  writesTo,
} from './flat-values.js';
import type { Moments } from './optimizer.js';
import { broadcastText, type Peers } from './peers.js';

/** A process's state besides the weights. */
export interface HeldState {
  /** All moments, or those of its own blocks. */
  readonly moments: readonly Moments[];
  readonly blocks: readonly Range[] | null;
  /** The weights' average; null for none. */
  readonly average: Storage | null;
}

/** Loads the latest checkpoint into every process; see loadCheckpoint. */
export async function loadTogether(
  store: Store,
  parameters: Parameters,
  { moments, blocks, average }: HeldState,
  peers: Peers,
  signal?: AbortSignal,
): ReturnType<typeof loadCheckpoint> {
  const { runtime, storage } = parameters;
  const { backend } = runtime;
  const sections = (values: readonly Pick<FlatValues, 'receive'>[]) =>
    moments.map((of, i) => sectionOf(of, values[i], parameters, blocks));
  if (peers.size === 1) {
    const held = moments.map((of) => heldValues(backend, of.held));
    const values = {
      weights: valuesOf(backend, storage),
      average: average && valuesOf(backend, average),
      moments: sections(held),
    };
    return loadCheckpoint(store, parameters, values, signal);
  }
  const announced = announcedValues(peers, [
    writesTo(backend, storage),
    ...moments.map(({ held }) =>
      blocks ? writesDealt(backend, held[0].storage, blocks, peers) : writesHeld(backend, held),
    ),
    ...(average ? [writesTo(backend, average)] : []),
  ]);
  if (peers.rank > 0) {
    await announced.follow();
    return JSON.parse(await broadcastText(peers, 0, ''));
  }
  const [weights, ...others] = announced.values;
  const values = { weights, average: average && others.at(-1)!, moments: sections(others) };
  const loaded = await loadCheckpoint(store, parameters, values, signal);
  await announced.end();
  await broadcastText(peers, 0, JSON.stringify(loaded));
  return loaded;
}

/** Writes a checkpoint of the processes' state; see saveCheckpoint. */
export async function saveTogether(
  store: Store,
  kind: CheckpointKind,
  parameters: Parameters,
  { moments, blocks, average }: HeldState,
  peers: Peers,
  state: TrainState,
): Promise<void> {
  const { backend } = parameters.runtime;
  const values = {
    weights: valuesOf(backend, parameters.storage),
    average: average && valuesOf(backend, average),
    moments: moments.map((of) => {
      const own = blocks
        ? dealtValues(backend, of.held[0].storage, blocks, peers)
        : heldValues(backend, of.held);
      return sectionOf(of, own, parameters, blocks);
    }),
  };
  if (peers.rank === 0) await saveCheckpoint(store, kind, parameters, values, state);
  // The other ranks send in the order in which rank 0 writes.
  else if (blocks) for await (const _ of tensorFile(parameters, values.moments));
}

/** The section of moments; distributed moments exist for all parameters. */
function sectionOf<Access extends keyof FlatValues>(
  { prefix, held }: Moments,
  values: Pick<FlatValues, Access>,
  parameters: Parameters,
  blocks: readonly Range[] | null,
): Section<Access> {
  if (blocks) return [prefix, values];
  return [
    prefix,
    values,
    (parameter) => {
      const at = parameters.offsetOf(parameter);
      return held.some(({ offset, length }) => at >= offset && at < offset + length);
    },
  ];
}
