/** Times dispatches by the device's own clock: each runs in a pass of its own, between two timestamps. */
import {
  type GpuBuffer,
  type GpuCommandEncoder,
  type GpuDevice,
  type GpuQuerySet,
  MAP_READ,
  USAGE,
} from './gpu.js';

/** Bytes of a timestamp, which is in nanoseconds. */
const STAMP = 8;

export class Profile {
  private readonly set: GpuQuerySet;
  private readonly resolved: GpuBuffer;
  /** The kernels of the dispatches of the submission that is being recorded. */
  private names: string[] = [];
  private readonly submitted: { readonly names: readonly string[]; readonly stamps: GpuBuffer }[] = [];

  /** `most`: dispatches of a submission at most. */
  constructor(
    private readonly device: GpuDevice,
    most: number,
  ) {
    this.set = device.createQuerySet({ type: 'timestamp', count: 2 * most });
    const usage = USAGE.queryResolve | USAGE.copySrc;
    this.resolved = device.createBuffer({ size: 2 * most * STAMP, usage });
  }

  /** The timestamps of the next dispatch, a part of a kernel. */
  next(kernel: string) {
    const first = 2 * this.names.length;
    this.names.push(kernel);
    return { querySet: this.set, beginningOfPassWriteIndex: first, endOfPassWriteIndex: first + 1 };
  }

  /** Follows the dispatches of a submission. */
  resolve(encoder: GpuCommandEncoder): void {
    const { device, names, set, resolved } = this;
    if (names.length === 0) return;
    const size = 2 * names.length * STAMP;
    const stamps = device.createBuffer({ size, usage: USAGE.mapRead | USAGE.copyDst });
    encoder.resolveQuerySet(set, 0, 2 * names.length, resolved, 0);
    encoder.copyBufferToBuffer(resolved, 0, stamps, 0, size);
    this.submitted.push({ names, stamps });
    this.names = [];
  }

  /** Milliseconds of each kernel, when everything has run. */
  async end(): Promise<ReadonlyMap<string, number>> {
    const times = new Map<string, number>();
    for (const { names, stamps } of this.submitted) {
      await stamps.mapAsync(MAP_READ);
      const ns = new BigInt64Array(stamps.getMappedRange());
      for (const [i, name] of names.entries()) {
        const ms = Math.max(0, Number(ns[2 * i + 1] - ns[2 * i]) / 1e6);
        times.set(name, (times.get(name) ?? 0) + ms);
      }
      stamps.destroy();
    }
    this.set.destroy();
    this.resolved.destroy();
    return times;
  }
}
