/** One device for all models of a process or a page: they share its compiled programs. */
import type { Gpu } from './gpu.js';
import type { WebGpuBackend } from './webgpu.js';

const open = new WeakMap<Gpu, Map<string, Promise<WebGpuBackend>>>();

/** The backend of a precision that `gpu` has open and nothing has befallen, or the one that `create` opens. */
export function sharedBackend(
  gpu: Gpu,
  precision: string,
  create: () => Promise<WebGpuBackend>,
): Promise<WebGpuBackend> {
  const backends = open.get(gpu) ?? new Map<string, Promise<WebGpuBackend>>();
  open.set(gpu, backends);
  const known = backends.get(precision);
  if (known) return known;
  const backend = create();
  backends.set(precision, backend);
  backend
    .then(({ engine }) => engine.recorder.failures.any)
    .catch(() => {})
    .then(() => backends.delete(precision));
  return backend;
}
