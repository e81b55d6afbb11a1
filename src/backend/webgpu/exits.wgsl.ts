/**
 * Measures of rows that may exit, on a GPU: movement of a state, entropy and change of a prediction. Where they come
 * from what is no number, they are none.
 */
import { MATH } from './math.wgsl.js';
import type { Program } from './program.js';
import type { GpuKernels } from './kernels.js';

/** x, or no number where `broken` of some lane is above 0. */
const MEASURED = `${MATH}
fn measured(x: f32, broken: f32, lane: u32) -> f32 {
  let lost = team_max(broken, lane) > 0.0;
  return select(x, float_of_bits(select(0u, 0x7fc00000u, lost)), lost);
}`;

const CHANGE: Program = {
  name: 'rowChange',
  arrays: { out: 'update f32', x: 'f32', former: 'f32', before: 'f32' },
  numbers: { C: 'u32' },
  runs: 'rows',
  code: `${MEASURED}
fn row(r: u32, lane: u32) {
  var moved = 0.0;
  var size = 0.0;
  for (var c = lane; c < p.C; c += L) {
    let i = r * p.C + c;
    let y = former(i);
    var d = x(i) - y;
    if (has_before) { d = d - (y - before(i)); }
    moved += d * d;
    size += y * y;
  }
  moved = team_sum(moved, lane);
  size = team_sum(size, lane);
  let nowhere = size == 0.0 && moved == 0.0;
  let ratio = measured(moved / size, select(0.0, 1.0, nowhere || is_nan(moved) || is_nan(size)), lane);
  if (lane == 0u) { set_out(r, select(sqrt(ratio), ratio, !is_finite(ratio))); }
}`,
};

/** `most_of_NAME(first, lane)`: the largest of a row's logits, finite; and whether one is no number or infinite. */
const mostOf = (name: string) => `
fn most_of_${name}(first: u32, lane: u32) -> vec2f {
  var most = -3.4e38;
  var broken = 0.0;
  for (var v = lane; v < p.V; v += L) {
    let x = ${name}(first + v);
    broken = select(broken, 1.0, is_nan(x));
    most = select(max(most, x), most, is_nan(x));
  }
  if (!is_finite(most)) { broken = 1.0; }
  return vec2f(team_max(most, lane), broken);
}`;

const ENTROPY: Program = {
  name: 'rowEntropy',
  arrays: { out: 'update f32', logits: 'f32' },
  numbers: { V: 'u32' },
  runs: 'rows',
  code: `${MEASURED}${mostOf('logits')}
fn row(r: u32, lane: u32) {
  let most = most_of_logits(r * p.V, lane);
  var sum = 0.0;
  var weighted = 0.0;
  for (var v = lane; v < p.V; v += L) {
    // Below, its part is 0.
    let d = max(logits(r * p.V + v) - most.x, -100.0);
    let e = exp_below_0(d);
    sum += e;
    weighted += e * d;
  }
  sum = team_sum(sum, lane);
  weighted = team_sum(weighted, lane);
  let entropy = measured(precise_log(sum) - weighted / sum, most.y, lane);
  if (lane == 0u) { set_out(r, entropy); }
}`,
};

/** KL(p ‖ q) = Σ p·(x − y) − log Σ e^x + log Σ e^y, for logits x and y of which the largest are taken away. */
const DIVERGENCE: Program = {
  name: 'rowDivergence',
  arrays: { out: 'update f32', logits: 'f32', former: 'f32', rows: 'i32' },
  numbers: { V: 'u32' },
  runs: 'rows',
  code: `${MEASURED}${mostOf('logits')}${mostOf('former')}
fn row(r: u32, lane: u32) {
  var from_row = r;
  if (has_rows) { from_row = u32(rows(r)); }
  let first = r * p.V;
  let second = from_row * p.V;
  let most = most_of_logits(first, lane);
  let formerly = most_of_former(second, lane);
  var sum = 0.0;
  var sum_formerly = 0.0;
  var weighted = 0.0;
  for (var v = lane; v < p.V; v += L) {
    let x = logits(first + v) - most.x;
    let y = former(second + v) - formerly.x;
    let e = exp_below_0(x);
    sum += e;
    sum_formerly += exp_below_0(y);
    weighted += select(0.0, e * (x - y), e > 0.0);
  }
  sum = team_sum(sum, lane);
  sum_formerly = team_sum(sum_formerly, lane);
  weighted = team_sum(weighted, lane);
  let difference = weighted / sum + (precise_log(sum_formerly) - precise_log(sum));
  let divergence = measured(max(0.0, difference), max(most.y, formerly.y), lane);
  if (lane == 0u) { set_out(r, divergence); }
}`,
};

export const exits = {
  rowChange: (engine, { out, x, former, before, R, C }) =>
    engine.run(CHANGE, { arrays: { out, x, former, before }, numbers: { C }, count: R }),

  rowEntropy: (engine, { out, logits, R, V }) =>
    engine.run(ENTROPY, { arrays: { out, logits }, numbers: { V }, count: R }),

  rowDivergence: (engine, { out, logits, former, rows, V }) =>
    engine.run(DIVERGENCE, { arrays: { out, logits, former, rows }, numbers: { V }, count: out.length }),
} satisfies Partial<GpuKernels>;
