/** What an adapter does at most, measured by programs that wait for nothing else; and the time of its kernels. */
import type { Limits, Precision } from '../backend.js';
import type { Engine } from './engine.js';
import type { Program } from './program.js';
import { gpuStorage } from './storage.js';

/** Chains of multiply-adds of a thread, each four numbers wide, which do not wait for each other. */
const CHAINS = 8;
/** Threads, and workgroups that read, on a processor and on a GPU. */
const THREADS = { alone: 1 << 10, teams: 1 << 18 };
const READERS = { alone: 64, teams: 4096 };
const LONG_READ = { alone: 1 << 20, teams: 64 << 20 };

const chains = (line: (i: number) => string) => Array.from({ length: CHAINS }, (_, i) => line(i)).join('\n');

const multiplyAdds: Program = {
  name: 'multiply_adds',
  arrays: { out: 'update f32' },
  numbers: { a: 'f32', b: 'f32', iterations: 'u32' },
  runs: 'each',
  code: ({ half }) => `
alias Four = vec4<${half ? 'f16' : 'f32'}>;
fn each(i: u32) {
  let a = Four(vec4f(p.a));
  let b = Four(vec4f(p.b));
  ${chains((c) => `var x${c} = Four(vec4f(f32(i % 7u + ${c}u)));`)}
  for (var k = 0u; k < p.iterations; k++) {
    ${chains((c) => `x${c} = fma(x${c}, a, b);`)}
  }
  var sum = Four();
  ${chains((c) => `sum = sum + x${c};`)}
  set_out(i, f32(sum.x + sum.y + sum.z + sum.w));
}`,
};

/** Every workgroup reads a run of its own, its threads side by side. */
const read: Program = {
  name: 'read',
  arrays: { out: 'update f32', src: 'vec4f' },
  numbers: { n: 'u32', run: 'u32' },
  runs: 'each',
  code: `
fn each(i: u32) {
  let first = (i / 64u) * p.run;
  let end = min(first + p.run, p.n);
  var sum = vec4f();
  for (var j = first + i % 64u; j < end; j += 64u) { sum = sum + src(j); }
  set_out(i, sum.x + sum.y + sum.z + sum.w);
}`,
};

export function gpuLimits(engine: Engine): Limits {
  const kind = engine.teams ? 'teams' : 'alone';
  const { features } = engine.device;
  const precisions: readonly Precision[] = features.has('shader-f16') ? ['f32', 'f16'] : ['f32'];
  return {
    precisions,
    longRead: LONG_READ[kind],
    async multiplyAdds(precision, iterations) {
      const count = THREADS[kind];
      using out = engine.scratch(count);
      engine.run(multiplyAdds, {
        arrays: { out },
        numbers: { a: 0.75, b: 0.5, iterations },
        constants: { half: precision === 'f16' },
        count,
      });
      await engine.recorder.done();
      return count * iterations * CHAINS * 4 * 2;
    },
    async read(src) {
      const count = READERS[kind] * 64;
      using out = engine.scratch(count);
      let rest = gpuStorage('read', src);
      while (rest.length > 0) {
        const part = rest.slice(0, rest.first);
        const n = Math.floor(part.length / 4);
        engine.run(read, {
          arrays: { out, src: part },
          numbers: { n, run: Math.ceil(n / READERS[kind]) },
          count,
        });
        rest = rest.slice(part.length, rest.length - part.length);
      }
      await engine.recorder.done();
    },
    ...(features.has('timestamp-query') ? { profile: (body) => engine.recorder.profiling(body) } : {}),
  };
}
