/**
 * 5,000 dispatches on WebGPU with forced collections in between; prints their sum, and the resident memory on the way.
 */
import { openNodeWebGpu } from '../../src/node/webgpu.js';

const collect = (globalThis as unknown as { gc(): void }).gc;
const backend = await openNodeWebGpu();
const [sum, one] = [backend.allocate('f32', 256), backend.allocate('f32', 256)];
backend.fill(one, 1);
const resident: number[] = [];
for (let i = 1; i <= 5000; i++) {
  backend.accumulate({ out: sum, inp: one });
  if (i % 100 > 0) continue;
  // Storage that comes and goes, as where a batch's shape changes.
  const some = backend.allocate('f32', 1 << 20);
  backend.fill(some, i);
  backend.free(some);
  await backend.read(sum);
  collect();
  resident.push(process.memoryUsage.rss());
}
const [value] = await backend.read(sum);
console.log(JSON.stringify({ sum: value, early: resident[24], late: resident[49] }));
