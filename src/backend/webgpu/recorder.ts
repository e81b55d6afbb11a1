/**
 * Commands of a GPU in order: dispatches, copies and values from the host are recorded and go to the device together,
 * at the latest when the host's turn ends or something is read. Knows no kernel and no storage of a model.
 */
import { Failures } from './failures.js';
import {
  type GpuBuffer,
  type GpuCommandEncoder,
  type GpuComputePass,
  type GpuDevice,
  MAP_READ,
  USAGE,
} from './gpu.js';
import { Profile } from './profile.js';

/** Bytes between the parameters of two dispatches, as uniform buffers' offsets ask for. */
const SLOT = 256;
/** Dispatches of a submission at most. */
const SLOTS = 1024;
/** Bytes of values from the host of a submission at most; more are written at once. */
const UPLOADS = 1 << 18;
/** Bytes that one read takes at a time. */
const READ = 1 << 26;

/** Counts of what has been recorded. */
export interface Counts {
  dispatches: number;
  /** Bytes that dispatches have bound. */
  bound: number;
  submissions: number;
  reads: number;
}

export class Recorder {
  /** Holds every dispatch's parameters of a submission. */
  readonly parameters: GpuBuffer;
  readonly counts: Counts = { dispatches: 0, bound: 0, submissions: 0, reads: 0 };
  /** The number of the submission that is being recorded. */
  submission = 0;
  /** The kernel that dispatches are part of, as a profile names them. */
  kernel = '';
  private profile: Profile | null = null;
  private readonly slots = new Uint32Array((SLOT * SLOTS) / 4);
  private used = 0;
  private readonly uploads: GpuBuffer;
  private uploaded = 0;
  private encoder: GpuCommandEncoder | null = null;
  private open: GpuComputePass | null = null;
  private readonly leaving: GpuBuffer[] = [];
  /** Buffers that values are read through, by size. */
  private readonly idle = new Map<number, GpuBuffer[]>();
  private scheduled = false;
  readonly failures: Failures;

  constructor(readonly device: GpuDevice) {
    this.failures = new Failures(device);
    this.parameters = this.buffer(SLOT * SLOTS, USAGE.uniform | USAGE.copyDst);
    this.uploads = this.buffer(UPLOADS, USAGE.copySrc | USAGE.copyDst);
  }

  /** Bytes of all buffers in use. */
  get bytes(): number {
    return this.failures.bytes;
  }

  buffer(size: number, usage: number): GpuBuffer {
    return this.failures.buffer(size, usage);
  }

  /** Gives a buffer's memory back when the commands recorded so far have run. */
  destroy(buffer: GpuBuffer): void {
    this.failures.destroyed(buffer);
    if (this.encoder) this.leaving.push(buffer);
    else buffer.destroy();
  }

  /** Place of a dispatch's parameters, to be filled before the next one is recorded. */
  slot(): Uint32Array {
    if (this.used === SLOTS) this.submit();
    const at = (this.used * SLOT) / 4;
    return this.slots.subarray(at, at + SLOT / 4);
  }

  /** A dispatch with the parameters in the slot. */
  dispatch(pipeline: object, group: object, x: number, y: number): void {
    const pass = this.pass();
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, group, [this.used * SLOT]);
    pass.dispatchWorkgroups(x, y);
    this.used++;
    this.counts.dispatches++;
  }

  copy(src: GpuBuffer, from: number, dst: GpuBuffer, to: number, bytes: number): void {
    this.commands().copyBufferToBuffer(src, from, dst, to, bytes);
  }

  clear(buffer: GpuBuffer, offset: number, bytes: number): void {
    this.commands().clearBuffer(buffer, offset, bytes);
  }

  /** Values from the host; `fresh` where no command that waits uses the place. */
  write(buffer: GpuBuffer, offset: number, values: ArrayBufferView, fresh: boolean): void {
    const { byteLength } = values;
    if (!fresh && this.uploaded + byteLength > UPLOADS) this.submit();
    if (fresh || byteLength > UPLOADS || !this.encoder) {
      this.device.queue.writeBuffer(
        buffer,
        offset,
        values.buffer as ArrayBuffer,
        values.byteOffset,
        byteLength,
      );
      return;
    }
    this.device.queue.writeBuffer(
      this.uploads,
      this.uploaded,
      values.buffer as ArrayBuffer,
      values.byteOffset,
      byteLength,
    );
    this.copy(this.uploads, this.uploaded, buffer, offset, byteLength);
    this.uploaded += byteLength;
  }

  /** Hands everything recorded to the device. */
  submit(): void {
    const { encoder, device } = this;
    if (!encoder) return;
    this.open?.end();
    this.open = null;
    this.profile?.resolve(encoder);
    if (this.used > 0) {
      device.queue.writeBuffer(this.parameters, 0, this.slots.buffer as ArrayBuffer, 0, this.used * SLOT);
    }
    device.queue.submit([encoder.finish()]);
    this.encoder = null;
    this.used = 0;
    this.uploaded = 0;
    this.submission++;
    this.counts.submissions++;
    for (const buffer of this.leaving.splice(0)) buffer.destroy();
  }

  /** Copies bytes to `into` when all commands so far have run. Rejects with what has gone wrong. */
  async read(buffer: GpuBuffer, offset: number, into: Uint8Array): Promise<void> {
    this.counts.reads++;
    for (let at = 0; at < into.length; at += READ) {
      const bytes = Math.min(READ, into.length - at);
      await this.readPiece(buffer, offset + at, into.subarray(at, at + bytes));
    }
  }

  /** Resolves when all commands so far have run; rejects with what has gone wrong. */
  async done(): Promise<void> {
    this.submit();
    await this.device.queue.onSubmittedWorkDone();
    await this.failures.check();
  }

  /** Milliseconds of the kernels that `body` calls, by name. */
  async profiling(body: () => Promise<void>): Promise<ReadonlyMap<string, number>> {
    this.submit();
    const profile = new Profile(this.device, SLOTS);
    this.profile = profile;
    try {
      await body();
    } finally {
      this.submit();
      this.profile = null;
    }
    return profile.end();
  }

  dispose(): void {
    this.device.destroy();
  }

  private async readPiece(buffer: GpuBuffer, offset: number, into: Uint8Array): Promise<void> {
    const size = 2 ** Math.ceil(Math.log2(Math.max(into.length, 256)));
    const list = this.idle.get(size) ?? [];
    this.idle.set(size, list);
    const staging = list.pop() ?? this.buffer(size, USAGE.mapRead | USAGE.copyDst);
    this.copy(buffer, offset, staging, 0, into.length);
    this.submit();
    try {
      await staging.mapAsync(MAP_READ, 0, into.length).catch((error) => this.failures.refused(error));
      await this.failures.check();
    } catch (error) {
      this.destroy(staging);
      throw error;
    }
    into.set(new Uint8Array(staging.getMappedRange(0, into.length)));
    staging.unmap();
    if (size <= READ / 16) list.push(staging);
    else this.destroy(staging);
  }

  private commands(): GpuCommandEncoder {
    this.open?.end();
    this.open = null;
    return this.recording();
  }

  private pass(): GpuComputePass {
    const { profile } = this;
    if (profile) {
      this.open?.end();
      this.open = this.recording().beginComputePass({ timestampWrites: profile.next(this.kernel) });
    }
    this.open ??= this.recording().beginComputePass();
    return this.open;
  }

  private recording(): GpuCommandEncoder {
    this.encoder ??= this.device.createCommandEncoder();
    if (!this.scheduled) {
      this.scheduled = true;
      afterPromises(() => {
        this.scheduled = false;
        this.submit();
      });
    }
    return this.encoder;
  }
}

/**
 * Calls back when the host's turn has ended, with all promises that follow each other: a micro-step, whose parts are
 * awaited, becomes one submission.
 */
function afterPromises(body: () => void): void {
  const { setImmediate } = globalThis as { setImmediate?: (body: () => void) => void };
  if (setImmediate) {
    setImmediate(body);
    return;
  }
  // Of what browsers have, a message arrives soonest.
  const { port1, port2 } = new MessageChannel();
  const arrived = () => {
    port1.close();
    body();
  };
  port1.addEventListener('message', arrived, { once: true });
  port1.start();
  port2.postMessage(null);
}
