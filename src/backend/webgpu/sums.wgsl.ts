/**
 * Sums on a GPU to more than a float: pairs (high, low) of which the second is what the rounding of the first leaves.
 * Teams add up runs of elements, then one team their pairs, each in one order.
 */
import type { Storage } from '../backend.js';
import type { Engine } from './engine.js';
import { MATH } from './math.wgsl.js';
import type { Program } from './program.js';
import { type GpuStorage, gpuStorage } from './storage.js';

/** Elements that one team adds up where there are several; of more than so many teams each gets more. */
const RUN = 1024;
const TEAMS = 512;
/** Up to so many elements, one team is enough. */
const FEW = 4096;

/**
 * `hidden` returns x by way of its bits, with a zero that only the host knows: a compiler that takes floats for real
 * numbers would otherwise find that nothing is left. Where a sum is not finite, it stays so, and nothing is left.
 */
const PAIRS = `${MATH}
fn hidden(x: f32) -> f32 { return bitcast<f32>(bitcast<u32>(x) ^ p.zero); }
fn plus(a: vec2f, high: f32, low: f32) -> vec2f {
  let sum = hidden(a.x + high);
  if (!is_finite(sum)) { return vec2f(sum, 0.0); }
  let part = hidden(sum - a.x);
  let left = (a.x - hidden(sum - part)) + (high - part) + (a.y + low);
  let rounded = hidden(sum + left);
  return vec2f(rounded, left - hidden(rounded - sum));
}
/** x² of a finite x: the square of its upper half is exact. */
fn plus_square(a: vec2f, x: f32) -> vec2f {
  if (!is_finite(x)) { return plus(a, x * x, 0.0); }
  let upper = bitcast<f32>(bitcast<u32>(x) & 0xfffff000u);
  let lower = x - upper;
  return plus(a, upper * upper, lower * (x + upper));
}`;

/** The sum of a team's pairs, for its first lane. */
const alone = 'fn team_pair(x: vec2f, lane: u32) -> vec2f { return x; }';
const together = `
var<workgroup> pairs: array<vec2f, L>;
fn team_pair(x: vec2f, lane: u32) -> vec2f {
  pairs[lane] = x;
  workgroupBarrier();
  for (var half = L / 2u; half > 0u; half /= 2u) {
    if (lane < half) {
      let other = pairs[lane + half];
      pairs[lane] = plus(pairs[lane], other.x, other.y);
    }
    workgroupBarrier();
  }
  return pairs[lane];
}`;

/** `squares`: of elements; `whole`: the sum in one float; `last`: of everything, so that `nonFinite` becomes known. */
function program(name: string, inp: 'vec4f' | 'f32', add: string): Program {
  return {
    name,
    arrays: { out: 'update f32', nonFinite: 'update f32', inp },
    numbers: { n: 'u32', run: 'u32', zero: 'u32' },
    runs: 'rows',
    code: ({ teams }) => `${PAIRS}
${teams ? together : alone}
fn row(r: u32, lane: u32) {
  let begin = r * p.run;
  let end = min(p.n, begin + p.run);
  ${add}
  let sum = team_pair(own, lane);
  if (lane > 0u) { return; }
  if (whole) { set_out(r, sum.x); } else { set_out(2u * r, sum.x); set_out(2u * r + 1u, sum.y); }
  if (last && !is_finite(sum.x)) { set_nonFinite(0u, 1.0); }
}`,
  };
}

/** The sums of runs of elements, read by fours; beyond the end of `inp` may lie anything. */
const ELEMENTS = program(
  'sumElements',
  'vec4f',
  `var sums: array<vec2f, 4>;
  for (var i = begin + 4u * lane; i < end; i += 4u * L) {
    let x = inp(i / 4u);
    for (var j = 0u; j < 4u && i + j < end; j++) {
      if (squares) { sums[j] = plus_square(sums[j], x[j]); } else { sums[j] = plus(sums[j], x[j], 0.0); }
    }
  }
  var own = sums[0];
  for (var j = 1u; j < 4u; j++) { own = plus(own, sums[j].x, sums[j].y); }`,
);
const PARTS = program(
  'sumParts',
  'f32',
  `var own = vec2f();
  for (var i = begin + lane; i < end; i += L) { own = plus(own, inp(2u * i), inp(2u * i + 1u)); }`,
);

/** Σ inp, or Σ inp² with `squares`, as the pair `out` or, if that has one element, as one float. */
export function sumOf(
  engine: Engine,
  { out, nonFinite, inp, squares }: Record<'out' | 'nonFinite' | 'inp', Storage> & { squares: boolean },
): void {
  const { teams } = engine;
  const storage = gpuStorage('sum', inp);
  const whole = out.length === 1;
  if (storage.whole && storage.length <= FEW) {
    engine.run(ELEMENTS, {
      arrays: { out, nonFinite, inp },
      numbers: { n: inp.length, run: FEW, zero: 0 },
      constants: { teams, squares, whole, last: true },
      count: 1,
    });
    return;
  }
  const run = Math.max(RUN, 4 * Math.ceil(inp.length / TEAMS / 4));
  const parts: { readonly inp: GpuStorage; readonly count: number }[] = [];
  for (let at = 0; at < storage.length; at += parts.at(-1)!.inp.length) {
    const rest = storage.slice(at, storage.length - at);
    parts.push({ inp: rest.slice(0, rest.first), count: Math.ceil(rest.first / run) });
  }
  const total = parts.reduce((sum, { count }) => sum + count, 0);
  using pairs = engine.scratch(2 * total);
  let first = 0;
  for (const part of parts) {
    engine.run(ELEMENTS, {
      arrays: { out: pairs.slice(2 * first, 2 * part.count), nonFinite: null, inp: part.inp },
      numbers: { n: part.inp.length, run, zero: 0 },
      constants: { teams, squares, whole: false, last: false },
      count: part.count,
    });
    first += part.count;
  }
  engine.run(PARTS, {
    arrays: { out, nonFinite, inp: pairs },
    numbers: { n: total, run: total, zero: 0 },
    constants: { teams, whole, last: true },
    count: 1,
  });
}
