/**
 * What has gone wrong on a device. A GPU tells of it later than it happens, so that the next read throws it; where one
 * trouble brings others along, it is the cause that is told.
 */
import { DeviceError } from '../../errors.js';
import { byteSize } from '../../printable.js';
import { messageOf } from './adapter.js';
import type { GpuBuffer, GpuDevice, GpuError } from './gpu.js';

/** Kinds of trouble: each may be the cause of those before it. */
const CAUSES = ['error', 'lost', 'memory'] as const;
type Cause = (typeof CAUSES)[number];

/** What helps where a training ends early. */
const RESUME = 'a training that is resumed goes on from its last checkpoint, which is intact';
const LESS = 'smaller batches, a budget of activationMemory or a smaller model need less';

export class Failures {
  private cause: Cause | null = null;
  private told: DeviceError | null = null;
  /** Resolves when something has gone wrong, so that every read from then on throws. */
  readonly any: Promise<void>;
  private first!: () => void;
  /** What is not known yet of buffers that were asked for. */
  private readonly open = new Set<Promise<void>>();
  /** Bytes of the buffers in use. */
  bytes = 0;

  constructor(private readonly device: GpuDevice) {
    this.any = new Promise((resolve) => {
      this.first = resolve;
    });
    device.onuncapturederror = (event) => {
      event.preventDefault?.();
      const { error } = event;
      const { message } = error;
      if (error.constructor.name === 'GPUOutOfMemoryError') {
        this.note('memory', `must find memory beside the ${byteSize(this.bytes)} in use`, message, LESS);
      } else this.note('error', 'must run without errors', message);
    };
    void device.lost.then(({ reason, message }) => {
      if (reason === 'destroyed') this.note('error', 'must not be used after it was disposed of', reason);
      else this.note('lost', 'must keep its GPU until the work is done', message || reason, RESUME);
    });
  }

  /** Creates a buffer; that there is no memory for it is noted. */
  buffer(size: number, usage: number): GpuBuffer {
    const before = this.bytes;
    this.bytes += size;
    this.device.pushErrorScope('out-of-memory');
    const buffer = this.device.createBuffer({ size, usage });
    const rule = `must find ${byteSize(size)} for a buffer beside the ${byteSize(before)} in use`;
    const known: Promise<void> = this.device
      .popErrorScope()
      .then(
        (error: GpuError | null) => error && this.note('memory', rule, error.message, LESS),
        () => {}, // the device is lost, which is told elsewhere
      )
      .then(() => void this.open.delete(known));
    this.open.add(known);
    return buffer;
  }

  destroyed(buffer: GpuBuffer): void {
    this.bytes -= buffer.size;
  }

  /** A read that did not work: of what else has gone wrong, it is the least. */
  async refused(error: unknown): Promise<void> {
    this.note('error', 'must read what was computed', messageOf(error));
    // A device that is lost says so a moment later.
    await new Promise((resolve) => setTimeout(resolve));
  }

  /** Throws DeviceError where anything has gone wrong. */
  async check(): Promise<void> {
    if (this.open.size > 0) await Promise.all(this.open);
    if (this.told) throw this.told;
  }

  private note(cause: Cause, rule: string, got: string, hint?: string): void {
    if (this.cause && CAUSES.indexOf(cause) <= CAUSES.indexOf(this.cause)) return;
    this.cause = cause;
    const [line] = got.split('\n');
    this.told = new DeviceError('webgpu', rule, line, hint);
    this.first();
  }
}
