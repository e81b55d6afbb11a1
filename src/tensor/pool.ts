/**
 * The memory pool: storages are taken from it and given back to it, so that a training step allocates nothing
 * once the first one has run. Knows no shapes and no gradients.
 */
import type { Backend, DType, Storage } from '../backend/backend.js';

/** A reference-counted storage of the pool; the last `release` gives it back. */
export class Buffer {
  private refs = 1;

  constructor(
    readonly storage: Storage,
    private readonly giveBack: (() => void) | null,
  ) {}

  /** Whether somebody else holds this buffer too, so that it must not be written in place. */
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

/** Reuses storages by size class; sizes are rounded up by at most an eighth. */
export class Pool {
  private readonly idle = new Map<string, Storage[]>();
  private inUse = 0;
  private total = 0;

  constructor(private readonly backend: Backend) {}

  /** Buffers taken and not yet given back; 0 after a step that leaks nothing. */
  get live(): number {
    return this.inUse;
  }

  /** Bytes that the pool has allocated and not freed. */
  get bytes(): number {
    return this.total;
  }

  /** A buffer of `length` elements whose contents are left over from its last use. */
  take(dtype: DType, length: number): Buffer {
    const size = sizeClass(length);
    const key = `${dtype} ${size}`;
    const list = this.idle.get(key) ?? [];
    this.idle.set(key, list);
    const whole = list.pop() ?? this.allocate(dtype, size);
    this.inUse++;
    return new Buffer(this.backend.slice(whole, 0, length), () => {
      this.inUse--;
      list.push(whole);
    });
  }

  /** Frees every idle storage. */
  trim(): void {
    for (const list of this.idle.values()) {
      for (const storage of list.splice(0)) {
        this.total -= bytesOf(storage);
        this.backend.free(storage);
      }
    }
  }

  private allocate(dtype: DType, size: number): Storage {
    const storage = this.backend.allocate(dtype, size);
    this.total += bytesOf(storage);
    return storage;
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
