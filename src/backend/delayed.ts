/**
 * A test double: another backend's kernels, which run only when something is read, as a GPU's may. Shapes are checked
 * at once, and the host's arrays are copied, so that a program that works here does not rely on kernels having run. It
 * finds errors of order and of contract without a GPU.
 */
import type { Backend, DType, HostArray, Kernels, Storage } from './backend.js';
import { ALL_KERNELS } from './kernel-table.js';
import { checkShapes } from './memory/arguments.js';
import { classWith } from './methods.js';
import { signaturesOf } from './signature.js';

type Arguments = Readonly<Record<string, unknown>>;

const METHODS = Object.fromEntries(
  Object.entries(signaturesOf(ALL_KERNELS)).map(([name, signature]) => [
    name,
    function (this: DelayedBackend, args: Arguments) {
      checkShapes(signature, args, (KV, HS) => this.cachePageLength(KV, HS));
      const copy = { ...args };
      this.later((backend) => backend[name as keyof Kernels](copy as never));
    },
  ]),
) as unknown as Kernels;

export class DelayedBackend extends classWith(METHODS) implements Backend {
  readonly name = 'delayed';
  readonly limits = null;
  readonly packer = null;
  readonly synchronous = false;
  readonly dtype: Backend['dtype'];
  readonly precision: Backend['precision'];
  readonly description: string;
  private queue: ((backend: Backend) => void)[] = [];

  constructor(private readonly backend: Backend) {
    super();
    this.dtype = backend.dtype;
    this.precision = backend.precision;
    this.description = `delayed ${backend.description}`;
  }

  /**
   * Queues work.
   * @internal
   */
  later(work: (backend: Backend) => void): void {
    this.queue.push(work);
  }

  allocate(dtype: DType, length: number): Storage {
    return this.backend.allocate(dtype, length);
  }

  free(storage: Storage): void {
    this.later((backend) => backend.free(storage));
  }

  slice(storage: Storage, offset: number, length: number): Storage {
    return this.backend.slice(storage, offset, length);
  }

  write(dst: Storage, values: HostArray): void {
    const copy = values.slice();
    this.later((backend) => backend.write(dst, copy));
  }

  async receive(dst: Storage, fill: (values: Float32Array) => Promise<void>): Promise<void> {
    const values = new Float32Array(dst.length);
    await fill(values);
    this.write(dst, values);
  }

  async read(src: Storage, into?: HostArray): Promise<HostArray> {
    const queue = this.queue;
    this.queue = [];
    await Promise.resolve();
    for (const work of queue) work(this.backend);
    return this.backend.read(src, into);
  }

  fill(dst: Storage, value: number): void {
    this.later((backend) => backend.fill(dst, value));
  }

  copy(dst: Storage, src: Storage): void {
    this.later((backend) => backend.copy(dst, src));
  }

  copyWithin(storage: Storage, to: number, from: number, length: number): void {
    this.later((backend) => backend.copyWithin(storage, to, from, length));
  }

  cachePageLength(KV: number, HS: number): number {
    return this.backend.cachePageLength(KV, HS);
  }

  /** Unknown before the kernels have run. */
  compact(_running: Storage): null {
    return null;
  }
}
