/** A GPU that computes nothing, and fails when it is told to. */
import type { Gpu, GpuAdapter, GpuBuffer, GpuDevice, GpuError } from '../../src/backend/webgpu/gpu.js';

/** The class by whose name a browser, or Dawn, tells what kind of error it is. */
class GPUOutOfMemoryError {
  constructor(readonly message: string) {}
}

const nothing = () => ({}) as never;

export class FakeGpu implements Gpu {
  /** Features of its adapter. */
  features = new Set<string>();
  description = 'Fake 9000';
  /** Bytes that it has. */
  memory = Infinity;
  /** Whether it says of which buffer there was no memory for. */
  scoped = true;
  refusal: Error | null = null;
  device!: GpuDevice;
  /** Called when a read waits; rejects it where it returns an error. */
  onRead: () => Error | undefined = () => undefined;
  private lose: (info: { reason: string; message: string }) => void = () => {};
  private scope: GpuError | null = null;

  async requestAdapter(): Promise<GpuAdapter> {
    const most = 2 ** 30;
    const limits = {
      maxStorageBufferBindingSize: most,
      maxBufferSize: most,
      maxStorageBuffersPerShaderStage: 8,
      maxComputeWorkgroupStorageSize: 16_384,
    } as GpuAdapter['limits'];
    const info = { vendor: 'acme', architecture: 'fake', device: '', description: this.description };
    const requestDevice = async () => {
      if (this.refusal) throw this.refusal;
      this.device = this.newDevice(limits);
      return this.device;
    };
    return { features: this.features, limits, info, requestDevice };
  }

  loseDevice(reason: string, message: string): void {
    this.lose({ reason, message });
  }

  /** What the device notices outside of any scope. */
  fail(error: GpuError): void {
    this.device.onuncapturederror?.({ error });
  }

  private newDevice(limits: GpuAdapter['limits']): GpuDevice {
    const lost = new Promise<{ reason: string; message: string }>((resolve) => {
      this.lose = resolve;
    });
    return {
      features: this.features,
      limits,
      lost,
      onuncapturederror: null,
      queue: { writeBuffer() {}, submit() {}, onSubmittedWorkDone: async () => {} },
      createBuffer: ({ size }) => this.newBuffer(size),
      pushErrorScope: () => {
        this.scope = null;
      },
      popErrorScope: async () => this.scope,
      createCommandEncoder: () => ({
        beginComputePass: () => ({ setPipeline() {}, setBindGroup() {}, dispatchWorkgroups() {}, end() {} }),
        copyBufferToBuffer() {},
        clearBuffer() {},
        resolveQuerySet() {},
        finish: nothing,
      }),
      createShaderModule: nothing,
      createBindGroupLayout: nothing,
      createPipelineLayout: nothing,
      createComputePipeline: nothing,
      createBindGroup: nothing,
      createQuerySet: nothing,
      destroy: () => this.lose({ reason: 'destroyed', message: '' }),
    };
  }

  private newBuffer(size: number): GpuBuffer {
    this.memory -= size;
    if (this.memory < 0) {
      const error = new GPUOutOfMemoryError('Buffer allocation failed.\n - While calling CreateBuffer');
      if (this.scoped) this.scope = error;
      else queueMicrotask(() => this.fail(error));
      // What uses the buffer fails too, and is told first.
      queueMicrotask(() => this.fail(new Error('[Invalid Buffer] is invalid')));
    }
    return {
      size,
      mapAsync: async () => {
        const error = this.onRead();
        if (error) throw error;
      },
      getMappedRange: (_offset, length = size) => new ArrayBuffer(length),
      unmap() {},
      destroy: () => {
        this.memory += size;
      },
    };
  }
}
