/** Opens a device for the engine: which adapter, with which features and limits, and what they mean here. */
import { BackendError, ConfigError } from '../../errors.js';
import { Engine } from './engine.js';
import type { Gpu, GpuAdapter, GpuLimit } from './gpu.js';
import { WebGpuBackend } from './webgpu.js';

export interface WebGpuOptions {
  /** How products read their operands; f32 by default. */
  readonly precision?: 'f32' | 'f16';
  /** Whether workgroups share memory; where the adapter is a processor they do not, by default. */
  readonly teams?: boolean;
  /** Whether teams add up by subgroups; where there are some they do, by default. */
  readonly subgroups?: boolean;
  /** Bytes of a binding at most; the device's own limit by default. */
  readonly largestBinding?: number;
  /** What must live as long as the device. */
  readonly owner?: unknown;
}

/** Features that the engine uses where the adapter has them. */
const FEATURES = ['shader-f16', 'subgroups', 'timestamp-query'];
/** Limits that are asked for as the adapter has them. */
const LIMITS: readonly GpuLimit[] = [
  'maxStorageBufferBindingSize',
  'maxBufferSize',
  'maxStorageBuffersPerShaderStage',
  'maxComputeWorkgroupStorageSize',
];

/**
 * A backend on the fastest adapter. Throws BackendError where there is none or its device cannot be had, and
 * ConfigError for a precision that it lacks.
 */
export async function openWebGpu(gpu: Gpu | undefined, options: WebGpuOptions = {}): Promise<WebGpuBackend> {
  const { precision = 'f32', owner = null, largestBinding } = options;
  const adapter = await adapterOf(gpu);
  const half = precision === 'f16';
  if (half && !adapter.features.has('shader-f16')) {
    const rule = `must be f32 on this adapter, ${nameOf(adapter)}, which lacks shader-f16`;
    throw new ConfigError('precision', rule, precision);
  }
  const requiredFeatures = FEATURES.filter((name) => adapter.features.has(name));
  const requiredLimits = Object.fromEntries(LIMITS.map((name) => [name, adapter.limits[name]]));
  const device = await adapter.requestDevice({ requiredFeatures, requiredLimits }).catch((error) => {
    throw new BackendError('webgpu', `must open a device of ${nameOf(adapter)}`, String(error));
  });
  const teams = options.teams ?? !isProcessor(adapter);
  const able = device.features.has('subgroups') && gpu?.wgslLanguageFeatures?.has('subgroup_id') === true;
  const subgroups = options.subgroups ?? able;
  const engine = new Engine(device, {
    teams,
    subgroups,
    half,
    ...(largestBinding ? { largestBinding } : {}),
  });
  const description = `webgpu (${nameOf(adapter)}, ${precision})`;
  return new WebGpuBackend(engine, description, owner);
}

async function adapterOf(gpu: Gpu | undefined): Promise<GpuAdapter> {
  const adapter = await gpu?.requestAdapter({ powerPreference: 'high-performance' });
  if (adapter) return adapter;
  throw new BackendError('webgpu', 'needs a WebGPU adapter', gpu ? 'none' : 'no WebGPU');
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
