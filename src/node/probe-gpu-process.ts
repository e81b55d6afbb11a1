/** Looks for the GPU, for `probe-gpu.ts`: prints its facts, or why there is none, as JSON. */
import { factsOf, findAdapter } from '../backend/webgpu/adapter.js';
import { openAdapter } from '../backend/webgpu/open.js';
import type { ProbedGpu } from './probe-gpu.js';
import { nodeGpu } from './webgpu.js';

async function probe(): Promise<ProbedGpu> {
  try {
    const gpu = await nodeGpu();
    const adapter = await findAdapter(gpu);
    const facts = factsOf(adapter);
    // A driver that names an adapter may still refuse its device.
    const backend = await openAdapter(gpu, adapter, { owner: gpu });
    await backend.read(backend.allocate('f32', 1));
    return facts;
  } catch (error) {
    return { error: error instanceof Error ? error.message : String(error) };
  }
}

const found = JSON.stringify(await probe());
// A driver need not let the process end.
process.stdout.write(found, () => process.exit());
