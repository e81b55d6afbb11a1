/**
 * The memory pool: storages are taken from it and returned to it, so that no training step after the first allocates
 * memory. It handles no shapes and no gradients.
 */
import type { Backend, DType, Storage } from '../backend/backend.js';

/** A reference-counted storage of the pool; the last `release` returns it. */
export class Buffer {
  private refs = 1;

  constructor(
    readonly storage: Storage,
    private readonly giveBack: (() => void) | null,
  ) {}

  /** Whether this buffer has other holders, so that it must not be written in place. */
  get shared(): boolean {
    return this.refs > 1;
  }

  retain(): this {
    this.refs++;
    return this;
  }

  release(): void {
    this.refs--;
    if (this.refs === 0) this.giveBack?.();
    if (this.refs < 0) throw new Error('Buffer.release: called more often than retain');
  }
}

/** A storage of the pool, and the part of it that was used last: the next user mostly needs the same part. */
interface Place {
  readonly whole: Storage;
  part: Storage;
}

/** Reuses storages by size class; sizes are rounded up by at most an eighth. */
export class Pool {
  private readonly idle = { f32: new Map(), f64: new Map(), i32: new Map() } as Record<
    DType,
    Map<number, Place[]>
  >;
  private inUse = 0;
  private total = 0;

  constructor(private readonly backend: Backend) {}

  /** Buffers taken and not yet returned; 0 after a step without leaks. */
  get live(): number {
    return this.inUse;
  }

  /** Bytes that the pool has allocated and not freed. */
  get bytes(): number {
    return this.total;
  }

  /** A buffer of `length` elements with the contents of its last use. */
  take(dtype: DType, length: number): Buffer {
    const size = sizeClass(length);
    const list = this.idle[dtype].get(size) ?? [];
    if (list.length === 0) {
      this.idle[dtype].set(size, list);
      list.push(this.allocate(dtype, size));
    }
    const place = list.pop()!;
    if (place.part.length !== length) place.part = this.backend.slice(place.whole, 0, length);
    this.inUse++;
    return new Buffer(place.part, () => {
      this.inUse--;
      list.push(place);
    });
  }

  /** Frees every idle storage. */
  trim(): void {
    const lists = Object.values(this.idle).flatMap((bySize) => [...bySize.values()]);
    for (const { whole } of lists.flatMap((list) => list.splice(0))) {
      this.total -= bytesOf(whole);
      this.backend.free(whole);
    }
  }

  private allocate(dtype: DType, size: number): Place {
    const whole = this.backend.allocate(dtype, size);
    this.total += bytesOf(whole);
    return { whole, part: whole };
  }
}

function bytesOf(storage: Storage): number {
  return storage.length * (storage.dtype === 'f64' ? 8 : 4);
}

/** The next size with at most four significant bits, and at least one cache line. */
function sizeClass(length: number): number {
  if (length <= 16) return 16;
  const unit = 2 ** Math.max(0, Math.floor(Math.log2(length)) - 3);
  return Math.ceil(length / unit) * unit;
}
