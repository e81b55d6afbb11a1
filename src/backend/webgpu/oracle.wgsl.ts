/** The oracle of exits (Elbayad et al. 2019, arXiv 1910.10073) in WGSL; see `oracle` in the kernel table. */
import { MATH } from './math.wgsl.js';
import type { Program } from './program.js';

/** How far neighbours count: beyond this distance their weights are below 1e-7. */
export function reachOf(sigma: number, T: number): number {
  return Math.max(0, Math.min(T - 1, Math.floor(Math.sqrt(16 * sigma))));
}

const SHARED: Pick<Program, 'arrays' | 'numbers'> = {
  arrays: { exits: 'update i32', costs: 'f32' },
  numbers: { B: 'u32', T: 'u32', N: 'u32', lambda: 'f32', sigma: 'f32', reach: 'u32' },
};

/** A thread a position: the weighted mean of the costs around it. */
export const ORACLE: Program = {
  ...SHARED,
  name: 'oracle',
  runs: 'each',
  code: `${MATH}
fn each(r: u32) {
  let t = r % p.T;
  let first = t - min(t, p.reach);
  let end = min(t + p.reach + 1u, p.T);
  var weights = 0.0;
  for (var u = first; u < end; u++) { weights += weight_of(t, u); }
  var best = 0u;
  var least = 3.4e38;
  for (var n = 0u; n < p.N; n++) {
    var sum = 0.0;
    for (var u = first; u < end; u++) { sum += weight_of(t, u) * costs((n * p.B * p.T + r - t) + u); }
    let total = sum / weights + p.lambda * f32(n);
    if (total < least) {
      best = n;
      least = total;
    }
  }
  set_exits(r, i32(best));
}
fn weight_of(t: u32, u: u32) -> f32 {
  if (t == u) { return 1.0; }
  let distance = f32(max(t, u) - min(t, u));
  return precise_exp(-distance * distance / p.sigma);
}`,
};

/** A team a sequence: the mean of its costs. */
export const ORACLE_OF_SEQUENCES: Program = {
  ...SHARED,
  name: 'oracle of sequences',
  runs: 'rows',
  code: `fn row(b: u32, lane: u32) {
  var best = 0u;
  var least = 3.4e38;
  for (var n = 0u; n < p.N; n++) {
    var sum = 0.0;
    for (var t = lane; t < p.T; t += L) { sum += costs((n * p.B + b) * p.T + t); }
    let total = team_sum(sum, lane) / f32(p.T) + p.lambda * f32(n);
    if (total < least) {
      best = n;
      least = total;
    }
  }
  for (var t = lane; t < p.T; t += L) { set_exits(b * p.T + t, i32(best)); }
}`,
};
