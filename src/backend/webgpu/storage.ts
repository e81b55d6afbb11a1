/**
 * Storage in a GPU's memory: runs of elements of an allocation, whose buffers each fit into one binding. Knows no
 * kernel.
 */
import { BackendError, ShapeError } from '../../errors.js';
import type { Storage } from '../backend.js';
import type { GpuBuffer } from './gpu.js';

/** Bytes of an element, which all have. */
export const ELEMENT = 4;

/** What all slices of one allocation share. */
export class GpuAllocation {
  /** Number of writes to it. */
  version = 0;
  /** The last submission whose commands use it. */
  lastUse = -1;
  /** What products read in place of its weights, by place and shape. */
  readonly packings = new Map<string, { version: number; readonly storage: GpuStorage }>();

  constructor(
    readonly buffers: readonly GpuBuffer[],
    /** Elements of each buffer but the last. */
    readonly perBuffer: number,
  ) {}
}

/** A run of elements of one buffer. */
export interface Piece {
  readonly buffer: GpuBuffer;
  /** Elements of the buffer before it. */
  readonly offset: number;
  readonly length: number;
}

export class GpuStorage implements Storage {
  constructor(
    readonly dtype: 'f32' | 'i32',
    readonly allocation: GpuAllocation,
    readonly offset: number,
    readonly length: number,
  ) {}

  slice(offset: number, length: number): GpuStorage {
    if (offset < 0 || length < 0 || offset + length > this.length) {
      throw new ShapeError('slice', `must lie within ${this.length} elements`, [offset, offset + length]);
    }
    return new GpuStorage(this.dtype, this.allocation, this.offset + offset, length);
  }

  /** Elements from the beginning up to the end of the first buffer. */
  get first(): number {
    const { perBuffer } = this.allocation;
    return Math.min(this.length, perBuffer - (this.offset % perBuffer));
  }

  /** Whether all of it lies in one buffer. */
  get whole(): boolean {
    return this.first === this.length;
  }

  /** Its runs, one a buffer. */
  *pieces(): Generator<Piece> {
    const { buffers, perBuffer } = this.allocation;
    let at = this.offset;
    const end = this.offset + this.length;
    while (at < end) {
      const offset = at % perBuffer;
      const length = Math.min(end - at, perBuffer - offset);
      yield { buffer: buffers[Math.floor(at / perBuffer)], offset, length };
      at += length;
    }
  }
}

/** The storage, if it is of this engine. */
export function gpuStorage(where: string, storage: Storage): GpuStorage {
  if (storage instanceof GpuStorage) return storage;
  throw new BackendError(where, 'must be given storage of this backend');
}
