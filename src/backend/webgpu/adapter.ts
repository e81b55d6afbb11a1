/** Adapters: which one there is, and what it is and can do, for code that has to choose or to report. */
import { BackendError } from '../../errors.js';
import type { Gpu, GpuAdapter, GpuLimit } from './gpu.js';
import { type Matrices, matricesFit } from './product-tiles.wgsl.js';

/** Features that the engine uses where the adapter has them. */
export const FEATURES = [
  'shader-f16',
  'subgroups',
  'timestamp-query',
  'chromium-experimental-subgroup-matrix',
] as const;
/** Limits that are asked for as the adapter has them. */
export const LIMITS: readonly GpuLimit[] = [
  'maxStorageBufferBindingSize',
  'maxBufferSize',
  'maxStorageBuffersPerShaderStage',
  'maxComputeWorkgroupStorageSize',
];

/**
 * What an adapter's matrix units multiply, f16 in float32, where it has some and Dawn's unsafe options are allowed;
 * null where it has none of a size that tiles divide into, or its subgroups have no fixed size.
 */
export function matricesOf({ features, info }: GpuAdapter): Matrices | null {
  const { subgroupMinSize: lanes, subgroupMaxSize, subgroupMatrixConfigs = [] } = info;
  if (!features.has('chromium-experimental-subgroup-matrix') || !lanes || lanes !== subgroupMaxSize)
    return null;
  for (const { componentType, resultComponentType, M, N, K } of subgroupMatrixConfigs) {
    const matrices = { M, N, K, lanes };
    if (componentType === 'f16' && resultComponentType === 'f32' && matricesFit(matrices)) return matrices;
  }
  return null;
}

/** What an adapter is, as a document may say it. */
export interface AdapterFacts {
  readonly name: string;
  readonly vendor: string;
  readonly architecture: string;
  /** Whether a processor does its work: it is many times slower than the native backend. */
  readonly processor: boolean;
  /** All that it offers, of which the engine uses some. */
  readonly features: readonly string[];
  /** Lanes that exchange values without memory, fewest and most; null where it does not say. */
  readonly subgroups: readonly [number, number] | null;
  readonly limits: Readonly<Partial<Record<GpuLimit, number>>>;
}

/** The fastest adapter. Throws BackendError where there is none. */
export async function findAdapter(gpu: Gpu | undefined): Promise<GpuAdapter> {
  if (!gpu) {
    const hint = 'browsers have it on pages by https or of localhost';
    throw new BackendError('webgpu', 'needs WebGPU, which is missing here', undefined, hint);
  }
  const hint = 'it takes a GPU with a driver of Vulkan, Metal or Direct3D 12';
  const adapter = await gpu.requestAdapter({ powerPreference: 'high-performance' }).catch((error) => {
    throw new BackendError('webgpu', 'needs a WebGPU adapter', messageOf(error), hint);
  });
  if (adapter) return adapter;
  throw new BackendError('webgpu', 'needs a WebGPU adapter', 'none', hint);
}

/** Whether the adapter computes on the processor, where workgroups gain nothing from sharing. */
export function isProcessor({ info }: GpuAdapter): boolean {
  return (
    info.isFallbackAdapter === true ||
    /swiftshader|llvmpipe|basic render/i.test(`${info.device} ${info.description}`)
  );
}

/** What the adapter calls itself. */
export function nameOf({ info }: GpuAdapter): string {
  return (
    info.description ||
    info.device ||
    [info.vendor, info.architecture].filter(Boolean).join(' ') ||
    'unnamed adapter'
  );
}

export function factsOf(adapter: GpuAdapter): AdapterFacts {
  const { info, features, limits } = adapter;
  const { subgroupMinSize: least, subgroupMaxSize: most } = info;
  return {
    name: nameOf(adapter),
    vendor: info.vendor,
    architecture: info.architecture,
    processor: isProcessor(adapter),
    features: [...features].sort(),
    subgroups: least && most && features.has('subgroups') ? [least, most] : null,
    limits: Object.fromEntries(LIMITS.map((name) => [name, limits[name]])),
  };
}

/** The message of what was thrown, by its first line. */
export function messageOf(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split('\n')[0];
}
