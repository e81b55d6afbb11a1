/** Checks by checksums whether processes that train together have the same weights. */
import type { GPT } from '../models/gpt.js';
import type { Store } from '../platform.js';
import { TrainingError } from './errors.js';
import { gatherNumbers, type Peers, throwTogether } from './peers.js';

/** Elements that are read at a time. */
const PIECE = 1 << 20;

/** Throws TrainingError, on rank 0 and for all, if a process has different weights; the error names the ranks. */
export async function requireSameWeights(
  peers: Peers,
  model: GPT,
  store: Pick<Store, 'crc32c'>,
  step: number,
): Promise<void> {
  const sums = (await gatherNumbers(peers, [await weightsSum(model, store)])).map(([sum]) => sum);
  const others = [...sums.keys()].filter((rank) => sums[rank] !== sums[0]);
  if (others.length === 0) return;
  const rule = 'weights must have the same bits on every rank';
  const found = `others than rank 0's on rank ${others.join(', ')}`;
  await throwTogether(
    peers,
    new TrainingError(`step ${step}`, rule, found, 'is the memory of that machine sound?'),
  );
}

/** CRC-32C of a model's weights in the order of the flat storage. */
async function weightsSum({ parameters, runtime }: GPT, store: Pick<Store, 'crc32c'>): Promise<number> {
  const { backend } = runtime;
  const { storage } = parameters;
  const HostArray = backend.dtype === 'f32' ? Float32Array : Float64Array;
  const into = new HostArray(Math.min(PIECE, storage.length));
  let sum = 0;
  for (let offset = 0; offset < storage.length; offset += PIECE) {
    const length = Math.min(PIECE, storage.length - offset);
    await backend.read(backend.slice(storage, offset, length), into);
    sum = store.crc32c(new Uint8Array(into.buffer, 0, length * into.BYTES_PER_ELEMENT), sum);
  }
  return sum;
}
