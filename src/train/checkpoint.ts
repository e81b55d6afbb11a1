/**
 * Checkpoints of a run: folders `checkpoints/last-<step>` and `checkpoints/best-<step>`, each with `model.safetensors`,
 * `optimizer.safetensors` (moments `m.<name>`, `v.<name>`; absent before the first update of weights from elsewhere) and
 * `state.json`. A folder appears whole or not at all, and the former one of its kind goes only then, so the latest is
 * never a damaged one. Knows no trainer.
 */
import type { Backend, Storage } from '../backend/backend.js';
import { CheckpointError } from '../errors.js';
import { parseJSON } from '../formats/json.js';
import { type LazyTensor, lazySafetensors } from '../formats/lazy-tensors.js';
import type { RandomAccessFile } from '../formats/random-access.js';
import { safetensorsHeader } from '../formats/safetensors.js';
import { readFileHeader } from '../formats/safetensors-header.js';
import type { GPT } from '../models/gpt.js';
import type { Parameters } from '../nn/parameters.js';
import type { AdamW } from './optimizer.js';
import type { FileContent, Store } from './store.js';

export type CheckpointKind = 'best' | 'last';

/** What a run must remember besides tensors. */
export interface TrainState {
  /** Updates made. */
  readonly step: number;
  readonly tokensSeen: number;
  /** Lowest validation loss seen, nats per token; null before the first evaluation. */
  readonly bestValLoss: number | null;
  /** Step of the latest evaluation and of the latest checkpoint of kind `last`; −1 before the first. */
  readonly evaluatedAt: number;
  readonly savedAt: number;
}

export function newCheckpointState(): TrainState {
  return { step: 0, tokensSeen: 0, bestValLoss: null, evaluatedAt: -1, savedAt: -1 };
}

const FOLDER = 'checkpoints';
const MODEL_FILE = 'model.safetensors';
const OPTIMIZER_FILE = 'optimizer.safetensors';
const STATE_FILE = 'state.json';

/** Writes a checkpoint and then removes older ones of its kind. Throws CheckpointError when the disk is full. */
export async function saveCheckpoint(
  store: Store,
  kind: CheckpointKind,
  model: GPT,
  optimizer: AdamW,
  state: TrainState,
): Promise<void> {
  const older = await folders(store, kind);
  const name = folderName(kind, state.step);
  const { parameters } = model;
  await store.createFolder(`${FOLDER}/${name}`, [
    [MODEL_FILE, tensorFile(parameters, [['', parameters.storage]])],
    [
      OPTIMIZER_FILE,
      tensorFile(parameters, [
        ['m.', optimizer.m],
        ['v.', optimizer.v],
      ]),
    ],
    stateFile(state),
  ]);
  for (const folder of older) if (folder !== name) await store.removeFolder(`${FOLDER}/${folder}`);
}

/**
 * Writes weights that came from elsewhere as a run's checkpoint of step 0, from which training starts with fresh moments:
 * it has no `optimizer.safetensors`. `tensors` are the model's parameters in their order.
 */
export async function saveInitialWeights(store: Store, tensors: readonly LazyTensor[]): Promise<void> {
  const state: TrainState = { ...newCheckpointState(), savedAt: 0 };
  await store.createFolder(`${FOLDER}/${folderName('last', 0)}`, [
    [MODEL_FILE, lazySafetensors(tensors, { format: 'pt' })],
    stateFile(state),
  ]);
}

/** Loads the latest checkpoint of a kind into a model and its optimizer. Throws CheckpointError. */
export async function loadCheckpoint(
  store: Store,
  kind: CheckpointKind,
  model: GPT,
  optimizer: AdamW,
): Promise<TrainState> {
  const folder = (await folders(store, kind)).at(-1);
  if (folder === undefined) {
    throw new CheckpointError(FOLDER, `must hold a checkpoint named ${kind}-<step> to resume from`);
  }
  const path = `${FOLDER}/${folder}`;
  const statePath = `${path}/${STATE_FILE}`;
  const state = parseState(await readable(statePath, store.read(statePath)), statePath);
  await loadTensors(store, `${path}/${MODEL_FILE}`, model.parameters, [['', model.parameters.storage]]);
  // Weights from elsewhere have no moments yet: the optimizer's are zero, as at the start of any run.
  if (state.step === 0 && !(await store.list(path)).includes(OPTIMIZER_FILE)) return state;
  await loadTensors(store, `${path}/${OPTIMIZER_FILE}`, model.parameters, [
    ['m.', optimizer.m],
    ['v.', optimizer.v],
  ]);
  return state;
}

/** Loads the weights that `weightsFile` names; returns their step. Throws CheckpointError. */
export async function loadWeights(store: Store, model: GPT, kind: CheckpointKind = 'best'): Promise<number> {
  const { path, step } = await weightsFile(store, kind);
  await loadTensors(store, path, model.parameters, [['', model.parameters.storage]]);
  return step;
}

/**
 * The file with the weights of a run's best checkpoint, or of its latest where none is best or `kind` is `last`.
 * Throws CheckpointError.
 */
export async function weightsFile(
  store: Store,
  kind: CheckpointKind = 'best',
): Promise<{ path: string; step: number }> {
  const folder = (await folders(store, kind)).at(-1) ?? (await folders(store, 'last')).at(-1);
  if (folder === undefined) {
    throw new CheckpointError(FOLDER, 'must hold a checkpoint', undefined, 'was this run ever trained?');
  }
  return { path: `${FOLDER}/${folder}/${MODEL_FILE}`, step: Number(folder.split('-')[1]) };
}

/** Whether a run can be resumed. */
export async function hasCheckpoint(store: Store): Promise<boolean> {
  return (await folders(store, 'last')).length > 0;
}

function folderName(kind: CheckpointKind, step: number): string {
  return `${kind}-${String(step).padStart(7, '0')}`;
}

function stateFile(state: TrainState): [string, FileContent] {
  return [STATE_FILE, [new TextEncoder().encode(`${JSON.stringify(state, null, 2)}\n`)]];
}

/** Complete checkpoints of a kind, oldest first. */
async function folders(store: Store, kind: CheckpointKind): Promise<string[]> {
  const pattern = new RegExp(`^${kind}-\\d+$`);
  return (await store.list(FOLDER)).filter((name) => pattern.test(name));
}

/** A name's prefix, and a storage laid out like the parameters. */
type Section = readonly [prefix: string, flat: Storage];

/** Elements read from the backend at a time, so that saving needs little memory of its own. */
const CHUNK = 1 << 18;

/**
 * A safetensors file with every parameter's part of each section. Its chunks share one buffer: each must be used before the
 * next is asked for.
 */
async function* tensorFile(parameters: Parameters, sections: readonly Section[]): AsyncGenerator<Uint8Array> {
  const { backend } = parameters.runtime;
  const entries = sections.flatMap(([prefix, flat]) =>
    parameters.all.map((parameter) => ({
      name: prefix + parameter.name,
      dtype: 'F32' as const,
      shape: parameter.shape,
      part: parameters.partOf(flat, parameter),
    })),
  );
  yield safetensorsHeader(entries, { format: 'pt' });
  const longest = Math.min(CHUNK, Math.max(...entries.map(({ part }) => part.length)));
  const buffer = new (backend.dtype === 'f32' ? Float32Array : Float64Array)(longest);
  for (const { part } of entries) {
    for (let start = 0; start < part.length; start += CHUNK) {
      const chunk = backend.slice(part, start, Math.min(CHUNK, part.length - start));
      const read = await backend.read(chunk, buffer);
      const values = read instanceof Float32Array ? read : Float32Array.from(read);
      yield new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
    }
  }
}

async function loadTensors(
  store: Store,
  path: string,
  parameters: Parameters,
  sections: readonly Section[],
): Promise<void> {
  await using file = await readable(path, store.open(path));
  const { tensors, dataStart } = await readFileHeader(file, path);
  const places = new Map(tensors.map((place) => [place.name, place]));
  const parts: { readonly part: Storage; readonly offset: number }[] = [];
  for (const [prefix, flat] of sections) {
    for (const parameter of parameters.all) {
      const name = prefix + parameter.name;
      const place = places.get(name);
      const shape = parameter.shape.join(', ');
      if (!place) throw new CheckpointError(path, `must hold tensor ${name} of shape (${shape})`);
      if (place.dtype !== 'F32') {
        throw new CheckpointError(`${path}, tensor ${name}`, 'must have dtype F32', place.dtype);
      }
      if (place.shape.join(', ') !== shape) {
        throw new CheckpointError(`${path}, tensor ${name}`, `must have shape (${shape})`, place.shape);
      }
      parts.push({ part: parameters.partOf(flat, parameter), offset: dataStart + place.begin });
      places.delete(name);
    }
  }
  for (const name of places.keys()) {
    throw new CheckpointError(`${path}, tensor ${name}`, 'is not part of this model');
  }
  await fill(parameters.runtime.backend, file, parts);
}

/** Fills storages with the float32 values at their offsets in a file; while one chunk is written, the next is read. */
async function fill(
  backend: Backend,
  file: RandomAccessFile,
  parts: readonly { readonly part: Storage; readonly offset: number }[],
): Promise<void> {
  const longest = Math.min(CHUNK, Math.max(...parts.map(({ part }) => part.length)));
  const buffers = [new Float32Array(longest), new Float32Array(longest)];
  let writeFormer = () => {};
  for (const { part, offset } of parts) {
    for (let start = 0; start < part.length; start += CHUNK) {
      const length = Math.min(CHUNK, part.length - start);
      const values = buffers[0].subarray(0, length);
      const reading = file.read(new Uint8Array(values.buffer, 0, values.byteLength), offset + 4 * start);
      writeFormer();
      await reading;
      writeFormer = () => backend.write(backend.slice(part, start, length), values);
      buffers.reverse();
    }
  }
  writeFormer();
}

/** What a store reads, or a CheckpointError that names the path. */
async function readable<Content>(path: string, content: Promise<Content>): Promise<Content> {
  try {
    return await content;
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new CheckpointError(path, `could not be read (${reason})`);
  }
}

function parseState(bytes: Uint8Array, path: string): TrainState {
  let value: unknown;
  try {
    value = parseJSON(new TextDecoder().decode(bytes));
  } catch {
    throw new CheckpointError(path, 'must be JSON');
  }
  const state = (value ?? {}) as TrainState;
  for (const key of ['step', 'tokensSeen', 'evaluatedAt', 'savedAt'] as const) {
    if (!Number.isInteger(state[key]) || state[key] < -1)
      throw new CheckpointError(path, `${key} must be a whole number`, state[key]);
  }
  return state;
}
