/**
 * What the engine uses of WebGPU (https://www.w3.org/TR/webgpu), as types. The objects are those of a browser's
 * `navigator.gpu`, or of a package that has them under Node.
 */

/** `navigator.gpu`. */
export interface Gpu {
  readonly wgslLanguageFeatures?: ReadonlySet<string>;
  requestAdapter(options?: {
    readonly powerPreference?: 'high-performance' | 'low-power';
  }): Promise<GpuAdapter | null>;
}

export type GpuLimit =
  | 'maxStorageBufferBindingSize'
  | 'maxBufferSize'
  | 'maxStorageBuffersPerShaderStage'
  | 'maxComputeWorkgroupStorageSize'
  | 'maxComputeInvocationsPerWorkgroup'
  | 'maxComputeWorkgroupSizeX'
  | 'maxComputeWorkgroupsPerDimension'
  | 'minStorageBufferOffsetAlignment'
  | 'minUniformBufferOffsetAlignment';
export type GpuLimits = Readonly<Record<GpuLimit, number>>;

export interface GpuAdapterInfo {
  readonly vendor: string;
  readonly architecture: string;
  readonly device: string;
  readonly description: string;
  readonly isFallbackAdapter?: boolean;
  readonly subgroupMinSize?: number;
  readonly subgroupMaxSize?: number;
  /** Of the experimental feature that Dawn has. */
  readonly subgroupMatrixConfigs?: Iterable<{
    readonly componentType: string;
    readonly resultComponentType: string;
    readonly M: number;
    readonly N: number;
    readonly K: number;
  }>;
}

export interface GpuAdapter {
  readonly features: ReadonlySet<string>;
  readonly limits: GpuLimits;
  readonly info: GpuAdapterInfo;
  requestDevice(options?: {
    readonly requiredFeatures?: readonly string[];
    readonly requiredLimits?: Readonly<Partial<Record<GpuLimit, number>>>;
  }): Promise<GpuDevice>;
}

export interface GpuDevice {
  readonly features: ReadonlySet<string>;
  readonly limits: GpuLimits;
  readonly queue: GpuQueue;
  readonly lost: Promise<{ readonly reason: string; readonly message: string }>;
  onuncapturederror: ((event: { readonly error: GpuError; preventDefault?(): void }) => void) | null;
  createBuffer(descriptor: {
    readonly size: number;
    readonly usage: number;
    readonly mappedAtCreation?: boolean;
  }): GpuBuffer;
  createShaderModule(descriptor: { readonly label?: string; readonly code: string }): GpuShaderModule;
  createBindGroupLayout(descriptor: { readonly entries: readonly unknown[] }): object;
  createPipelineLayout(descriptor: { readonly bindGroupLayouts: readonly object[] }): object;
  createComputePipeline(descriptor: {
    readonly label?: string;
    readonly layout: object;
    readonly compute: { readonly module: GpuShaderModule; readonly entryPoint: string };
  }): object;
  createBindGroup(descriptor: { readonly layout: object; readonly entries: readonly unknown[] }): object;
  pushErrorScope(filter: 'out-of-memory'): void;
  popErrorScope(): Promise<GpuError | null>;
  createQuerySet(descriptor: { readonly type: 'timestamp'; readonly count: number }): GpuQuerySet;
  createCommandEncoder(): GpuCommandEncoder;
  destroy(): void;
}

export interface GpuError {
  readonly message: string;
}

export interface GpuShaderModule {
  getCompilationInfo(): Promise<{
    readonly messages: readonly {
      readonly type: string;
      readonly lineNum: number;
      readonly message: string;
    }[];
  }>;
}

export interface GpuQuerySet {
  destroy(): void;
}

export interface GpuQueue {
  writeBuffer(
    buffer: GpuBuffer,
    offset: number,
    data: ArrayBufferView | ArrayBuffer,
    dataOffset?: number,
    size?: number,
  ): void;
  submit(commands: readonly object[]): void;
  onSubmittedWorkDone(): Promise<unknown>;
}

export interface GpuBuffer {
  readonly size: number;
  mapAsync(mode: number, offset?: number, size?: number): Promise<unknown>;
  getMappedRange(offset?: number, size?: number): ArrayBuffer;
  unmap(): void;
  destroy(): void;
}

export interface GpuCommandEncoder {
  beginComputePass(descriptor?: {
    readonly timestampWrites?: {
      readonly querySet: GpuQuerySet;
      readonly beginningOfPassWriteIndex?: number;
      readonly endOfPassWriteIndex?: number;
    };
  }): GpuComputePass;
  copyBufferToBuffer(
    src: GpuBuffer,
    srcOffset: number,
    dst: GpuBuffer,
    dstOffset: number,
    size: number,
  ): void;
  clearBuffer(buffer: GpuBuffer, offset: number, size: number): void;
  resolveQuerySet(set: GpuQuerySet, first: number, count: number, dst: GpuBuffer, offset: number): void;
  finish(): object;
}

export interface GpuComputePass {
  setPipeline(pipeline: object): void;
  setBindGroup(index: number, group: object, dynamicOffsets: readonly number[]): void;
  dispatchWorkgroups(x: number, y?: number): void;
  end(): void;
}

/** GPUBufferUsage and GPUMapMode, which have no global under Node. */
export const USAGE = {
  mapRead: 0x0001,
  copySrc: 0x0004,
  copyDst: 0x0008,
  uniform: 0x0040,
  storage: 0x0080,
  queryResolve: 0x0200,
} as const;
export const MAP_READ = 0x0001;
/** GPUShaderStage.COMPUTE. */
export const COMPUTE = 0x4;
