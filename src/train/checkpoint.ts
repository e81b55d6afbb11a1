/**
 * Checkpoints of a run: folders `checkpoints/last-<step>` and `checkpoints/best-<step>`, each with `model.safetensors`,
 * `optimizer.safetensors` (moments `m.<name>`, `v.<name>`; absent before the first update of weights from elsewhere),
 * `state.json`, and the checksums of these. If a training averages its weights, the model file has the average, and the
 * weights from which training continues are `plain.<name>` beside the moments. A folder appears whole or not at all,
 * and only then is the former one of its kind removed, so that the latest is never half-written. A folder that is
 * damaged later is not loaded. This file must not import the trainer.
 */
import { CheckpointError } from '../errors.js';
import { parseJSON } from '../formats/json.js';
import { type LazyTensor, lazySafetensors } from '../formats/lazy-tensors.js';
import { readFileHeader } from '../formats/safetensors-header.js';
import type { GPT } from '../models/gpt.js';
import type { Parameters } from '../nn/parameters.js';
import { loadTensorFile, type Section, tensorFile } from './checkpoint-tensors.js';
import { loadPackedFile } from './packed-weights.js';
import { CheckedFolder, RunningSum, withChecksums } from './checksums.js';
import type { FlatValues } from './flat-values.js';
import type { FileContent, Store } from '../platform.js';

export type CheckpointKind = 'best' | 'last';

/** What a run must remember besides tensors. */
export interface TrainState {
  /** Updates made. */
  readonly step: number;
  readonly tokensSeen: number;
  /** Lowest validation loss seen, nats per token; null before the first evaluation. */
  readonly bestValLoss: number | null;
  /**
   * Loops of that evaluation; null before the first, and in checkpoints without the field, which means the
   * configuration's nLoop.
   */
  readonly bestLoops: number | null;
  /** Step of the latest evaluation and of the latest checkpoint of kind `last`; −1 before the first. */
  readonly evaluatedAt: number;
  readonly savedAt: number;
}

export function newCheckpointState(): TrainState {
  return { step: 0, tokensSeen: 0, bestValLoss: null, bestLoops: null, evaluatedAt: -1, savedAt: -1 };
}

/** The folder of a run that holds them. */
export const CHECKPOINTS = 'checkpoints';
const MODEL_FILE = 'model.safetensors';
const OPTIMIZER_FILE = 'optimizer.safetensors';
const STATE_FILE = 'state.json';
/** Prefix of the weights behind an average. */
const PLAIN = 'plain.';

/** A checkpoint's folder. */
interface Checkpoint {
  readonly kind: CheckpointKind;
  readonly step: number;
  readonly name: string;
}

/** The state from which a training resumes: weights, their average if there is one, and the optimizer's moments. */
export interface Resumable<Access extends keyof FlatValues> {
  readonly weights: Pick<FlatValues, Access>;
  readonly average: Pick<FlatValues, Access> | null;
  readonly moments: readonly Section<Access>[];
}

/** The content of `optimizer.safetensors`. */
export function optimizerSections<Access extends keyof FlatValues>(
  { weights, moments }: Resumable<Access>,
  averaged: boolean,
): readonly Section<Access>[] {
  return averaged ? [...moments, [PLAIN, weights]] : moments;
}

/** Writes a checkpoint and then removes older ones of its kind. Throws FileError if the disk is full. */
export async function saveCheckpoint(
  store: Store,
  kind: CheckpointKind,
  parameters: Parameters,
  values: Resumable<'read'>,
  state: TrainState,
): Promise<void> {
  const older = (await inOrder(store, kind)).filter((former) => former.kind === kind);
  const { average, weights } = values;
  const files: [string, FileContent][] = [
    [MODEL_FILE, tensorFile(parameters, [['', average ?? weights]])],
    [OPTIMIZER_FILE, tensorFile(parameters, optimizerSections(values, average !== null))],
    stateFile(state),
  ];
  const name = folderName(kind, state.step);
  await store.createFolder(`${CHECKPOINTS}/${name}`, withChecksums(store, files));
  for (const former of older) if (former.name !== name) await store.remove(`${CHECKPOINTS}/${former.name}`);
}

/**
 * Writes imported weights as a run's checkpoint of step 0, from which training starts with fresh moments: it has no
 * `optimizer.safetensors`. `tensors` are the model's parameters in their order.
 */
export async function saveInitialWeights(store: Store, tensors: readonly LazyTensor[]): Promise<void> {
  const state: TrainState = { ...newCheckpointState(), savedAt: 0 };
  const files: [string, FileContent][] = [
    [MODEL_FILE, lazySafetensors(tensors, { format: 'pt' })],
    stateFile(state),
  ];
  await store.createFolder(`${CHECKPOINTS}/${folderName('last', 0)}`, withChecksums(store, files));
}

/**
 * Loads a run's latest checkpoint, of kind `last` or else `best`, and returns whether it has an average of the weights.
 * Throws CheckpointError, and the signal's reason if it is aborted meanwhile.
 */
export async function loadCheckpoint(
  store: Store,
  parameters: Parameters,
  values: Resumable<'receive'>,
  signal?: AbortSignal,
): Promise<{ readonly state: TrainState; readonly averaged: boolean }> {
  return loading(store, 'last', async (folder, step) => {
    const state = parseState(await folder.read(STATE_FILE), step, `${folder.path}/${STATE_FILE}`);
    // Imported weights have no moments yet: the optimizer's are zero, as at the start of any run.
    const updated = state.step > 0 || (await folder.has(OPTIMIZER_FILE));
    const averaged = updated && (await requireMoments(folder, parameters, values));
    const { weights, average } = values;
    const model = averaged && average ? average : weights;
    await loadTensors(store, folder, MODEL_FILE, parameters, [['', model]], signal);
    const sections = optimizerSections(values, averaged);
    if (updated) await loadTensors(store, folder, OPTIMIZER_FILE, parameters, sections, signal);
    return { state, averaged };
  });
}

/** Throws CheckpointError if the moments are another optimizer's; returns whether the weights have an average. */
async function requireMoments(
  folder: CheckedFolder,
  { all }: Parameters,
  { moments }: Resumable<'receive'>,
): Promise<boolean> {
  const path = `${folder.path}/${OPTIMIZER_FILE}`;
  await using file = await folder.open(OPTIMIZER_FILE);
  const { tensors } = await readFileHeader(file, path);
  for (const [prefix, , of = () => true] of moments) {
    const found = tensors.filter(({ name }) => name.startsWith(prefix)).length;
    if (found === all.filter(of).length) continue;
    const hint = 'a run keeps its optimizer';
    throw new CheckpointError(path, "must hold the configuration's optimizer's moments", undefined, hint);
  }
  return tensors.some(({ name }) => name.startsWith(PLAIN));
}

/** The loaded weights: their step, and the CRC-32C of their file. */
export interface LoadedWeights {
  readonly step: number;
  readonly crc32c: string;
}

/** Loads the weights of the latest checkpoint of a kind, or else of the other. Throws CheckpointError. */
export function loadWeights(
  store: Store,
  { parameters }: GPT,
  kind: CheckpointKind = 'best',
): Promise<LoadedWeights> {
  return loading(store, kind, async (folder, step) => {
    const running = new RunningSum(store);
    const file = await folder.open(MODEL_FILE);
    let kept = false;
    try {
      const path = `${folder.path}/${MODEL_FILE}`;
      const rows = await loadPackedFile(file, path, parameters, store, (bytes) => running.add(bytes));
      await folder.require(MODEL_FILE, running);
      kept = rows.keep();
    } finally {
      if (!kept) await file[Symbol.asyncDispose]();
    }
    return { step, crc32c: running.sum.crc32c };
  });
}

/**
 * The file with the weights of a run's best checkpoint, or else of its latest, for reading tensor by tensor. It is
 * first read once to check that it is intact. Throws CheckpointError, and the signal's reason if it is aborted.
 */
export async function weightsFile(
  store: Store,
  signal?: AbortSignal,
): Promise<{ path: string; step: number }> {
  return loading(store, 'best', async (folder, step) => {
    await folder.verify(MODEL_FILE, signal);
    return { path: `${folder.path}/${MODEL_FILE}`, step };
  });
}

/**
 * The files needed to use a run's weights without training further, and their folder: of its best checkpoint, or else
 * of its latest. Each is first read once to check that it is intact. Throws CheckpointError, and the signal's reason if
 * it is aborted.
 */
export function weightFiles(
  store: Store,
  signal?: AbortSignal,
): Promise<{ readonly files: readonly string[]; readonly folder: string; readonly step: number }> {
  return loading(store, 'best', async (folder, step) => {
    const files = [MODEL_FILE, STATE_FILE];
    for (const name of files) await folder.verify(name, signal);
    return { files, folder: folder.path, step };
  });
}

/** The step of the weights that would be loaded; null if there are none. */
export async function weightsStep(store: Store): Promise<number | null> {
  return (await inOrder(store, 'best'))[0]?.step ?? null;
}

/** The step from which a run would resume; null if it can not resume. */
export async function resumableStep(store: Store): Promise<number | null> {
  return (await inOrder(store, 'last'))[0]?.step ?? null;
}

/** Loads from the chosen checkpoint; the error names a damaged file rather than the effect of the damage. */
async function loading<Result>(
  store: Store,
  kind: CheckpointKind,
  load: (folder: CheckedFolder, step: number) => Promise<Result>,
): Promise<Result> {
  const [taken] = await inOrder(store, kind);
  if (!taken) {
    throw new CheckpointError(CHECKPOINTS, 'must hold a checkpoint', undefined, 'was this run ever trained?');
  }
  const wayOut = () => nextBest(store, kind, ({ name }) => name !== taken.name);
  const folder = await CheckedFolder.open(store, `${CHECKPOINTS}/${taken.name}`, wayOut);
  try {
    return await load(folder, taken.step);
  } catch (error) {
    if (error instanceof CheckpointError) await folder.verifyAll();
    throw error;
  }
}

/** How to resume from the latest checkpoint with fewer steps than `below`; null if there is none. */
export function wayBack(store: Store, below: number): Promise<string | null> {
  return nextBest(store, 'last', ({ step }) => step < below);
}

/** How to fall back to the next valid and intact checkpoint; null if there is none. */
async function nextBest(
  store: Store,
  kind: CheckpointKind,
  good: (checkpoint: Checkpoint) => boolean,
): Promise<string | null> {
  const before: string[] = [];
  for (const checkpoint of await inOrder(store, kind)) {
    if (good(checkpoint) && (await isIntact(store, checkpoint))) {
      return `move ${before.join(' and ')} away and try again from the checkpoint of step ${checkpoint.step}`;
    }
    before.push(`${CHECKPOINTS}/${checkpoint.name}`);
  }
  return null;
}

async function isIntact(store: Store, { name }: Checkpoint): Promise<boolean> {
  try {
    await (await CheckedFolder.open(store, `${CHECKPOINTS}/${name}`, async () => null)).verifyAll();
    return true;
  } catch {
    return false;
  }
}

async function loadTensors(
  store: Store,
  folder: CheckedFolder,
  name: string,
  parameters: Parameters,
  sections: readonly Section<'receive'>[],
  signal?: AbortSignal,
): Promise<void> {
  await using file = await folder.open(name);
  const running = new RunningSum(store);
  await loadTensorFile(file, `${folder.path}/${name}`, parameters, sections, (bytes) => {
    signal?.throwIfAborted();
    running.add(bytes);
  });
  await folder.require(name, running);
}

function folderName(kind: CheckpointKind, step: number): string {
  return `${kind}-${String(step).padStart(7, '0')}`;
}

function stateFile(state: TrainState): [string, FileContent] {
  return [STATE_FILE, [new TextEncoder().encode(`${JSON.stringify(state, null, 2)}\n`)]];
}

/**
 * Complete checkpoints in the order in which they are tried: those of a kind, then the others, the latest of each
 * first.
 */
async function inOrder(store: Store, kind: CheckpointKind): Promise<Checkpoint[]> {
  return (await store.list(CHECKPOINTS))
    .flatMap((name) => {
      const match = /^(best|last)-(\d+)$/.exec(name);
      return match ? [{ kind: match[1] as CheckpointKind, step: Number(match[2]), name }] : [];
    })
    .sort((a, b) => Number(b.kind === kind) - Number(a.kind === kind) || b.step - a.step);
}

/** The minimum of each number of a state. */
const LEAST = { step: 0, tokensSeen: 0, evaluatedAt: -1, savedAt: -1 } as const;

/** Parses the state of a checkpoint of a step. Throws CheckpointError that names the field. */
function parseState(bytes: Uint8Array, step: number, path: string): TrainState {
  let value: unknown;
  try {
    value = parseJSON(new TextDecoder().decode(bytes));
  } catch {
    throw new CheckpointError(path, 'must be JSON');
  }
  const state = (value ?? {}) as TrainState;
  const { bestValLoss, bestLoops = null } = state;
  const refuse = (field: keyof TrainState, rule: string): never => {
    throw new CheckpointError(path, `${field} must be ${rule}`, state[field]);
  };
  for (const [field, least] of Object.entries(LEAST) as [keyof typeof LEAST, number][]) {
    const number = state[field];
    if (!Number.isSafeInteger(number) || number < least) refuse(field, `a whole number of at least ${least}`);
  }
  if (state.step !== step) refuse('step', `${step}, as its folder is named`);
  for (const field of ['evaluatedAt', 'savedAt'] as const) {
    if (state[field] > step) refuse(field, `at most its step, ${step}`);
  }
  const loss = typeof bestValLoss === 'number' && bestValLoss >= 0 && bestValLoss < Number.POSITIVE_INFINITY;
  if (bestValLoss !== null && !loss) refuse('bestValLoss', 'a loss of at least 0, or null');
  const counted = Number.isSafeInteger(bestLoops) && Number(bestLoops) >= 1;
  if (bestLoops !== null && !counted) refuse('bestLoops', 'a whole number of at least 1, or null');
  const { tokensSeen, evaluatedAt, savedAt } = state;
  return { step, tokensSeen, bestValLoss, bestLoops, evaluatedAt, savedAt };
}
