/** In a browser's worker: what the trainings compute on its GPU. Posts it, or what went wrong. */
import type { Gpu } from '../../src/backend/webgpu/gpu.js';
import { openWebGpu } from '../../src/backend/webgpu/open.js';
import { type Trained, type Training, trained, trainings } from './small-trainings.js';

const self = globalThis as unknown as {
  readonly navigator: { readonly gpu?: Gpu };
  postMessage(message: unknown): void;
};
try {
  const backend = await openWebGpu(self.navigator.gpu);
  const found: Record<string, Trained> = {};
  for (const name of Object.keys(trainings) as Training[]) found[name] = await trained(backend, name);
  self.postMessage({ description: backend.description, found });
} catch (error) {
  self.postMessage({ error: String(error) });
}
