/** Opens a device for the engine: with which features and limits, and how work is shared on it. */
import { BackendError, ConfigError } from '../../errors.js';
import { FEATURES, findAdapter, isProcessor, LIMITS, matricesOf, messageOf, nameOf } from './adapter.js';
import { Engine } from './engine.js';
import type { Gpu, GpuAdapter } from './gpu.js';
import type { Matrices } from './product-tiles.wgsl.js';
import { WebGpuBackend } from './webgpu.js';

export interface WebGpuOptions {
  /** How products read their operands; f32 by default. */
  readonly precision?: 'f32' | 'f16';
  /** Whether f16 is emulated, so that every adapter has it. */
  readonly emulated?: boolean;
  /** Whether workgroups share memory; where the adapter is a processor they do not, by default. */
  readonly teams?: boolean;
  /** Whether teams add up by subgroups; where there are some they do, by default. */
  readonly subgroups?: boolean;
  /** What matrix units multiply; what the adapter says of its own, by default. */
  readonly matrices?: Matrices;
  /** Bytes of a binding at most; the device's own limit by default. */
  readonly largestBinding?: number;
  /** What must live as long as the device. */
  readonly owner?: unknown;
}

/**
 * A backend on the fastest adapter. Throws BackendError where there is none or its device cannot be had, and
 * ConfigError for a precision that it lacks.
 */
export async function openWebGpu(gpu: Gpu | undefined, options: WebGpuOptions = {}): Promise<WebGpuBackend> {
  return openAdapter(gpu, await findAdapter(gpu), options);
}

/** The same on an adapter that was found. */
export async function openAdapter(
  gpu: Gpu | undefined,
  adapter: GpuAdapter,
  options: WebGpuOptions = {},
): Promise<WebGpuBackend> {
  const { precision = 'f32', emulated = false, owner = null, largestBinding } = options;
  const name = nameOf(adapter);
  const half = precision === 'f16';
  if (half && !emulated && !adapter.features.has('shader-f16')) {
    const hint = 'the adapter lacks shader-f16';
    throw new ConfigError('precision', `must be f32 on ${name}`, precision, hint);
  }
  const requiredFeatures = FEATURES.filter((feature) => adapter.features.has(feature));
  const requiredLimits = Object.fromEntries(LIMITS.map((limit) => [limit, adapter.limits[limit]]));
  const device = await adapter.requestDevice({ requiredFeatures, requiredLimits }).catch((error) => {
    const hint = 'another program may hold the GPU, or its driver be too old';
    throw new BackendError('webgpu', `must be given a device of ${name}`, messageOf(error), hint);
  });
  const teams = options.teams ?? !isProcessor(adapter);
  const able = device.features.has('subgroups') && gpu?.wgslLanguageFeatures?.has('subgroup_id') === true;
  const subgroups = options.subgroups ?? able;
  const matrices = options.matrices ?? (able ? matricesOf(adapter) : null);
  const limit = largestBinding ? { largestBinding } : {};
  const engine = new Engine(device, { teams, subgroups, operands: { half, emulated }, matrices, ...limit });
  return new WebGpuBackend(engine, `webgpu (${name}, ${precision})`, owner);
}
