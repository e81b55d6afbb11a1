/** What decides about rows, on a GPU: which halt, at which exit, and what that costs. */
import { MATH } from './math.wgsl.js';
import { ORACLE, ORACLE_OF_SEQUENCES, reachOf } from './oracle.wgsl.js';
import type { Program } from './program.js';
import type { GpuKernels } from './kernels.js';

/** A program for every row, of arrays, numbers and the statements for row r. */
function eachRow(
  name: string,
  arrays: Program['arrays'],
  code: string,
  numbers: NonNullable<Program['numbers']> = {},
): Program {
  return { name, arrays, numbers, runs: 'each', code: `fn each(r: u32) {\n${code}\n}` };
}

const ACT_FORWARD = eachRow(
  'actForward',
  {
    weight: 'update f32',
    nextSum: 'update f32',
    goingOn: 'update i32',
    h: 'f32',
    sum: 'f32',
    running: 'i32',
  },
  `let reached = sum(r) + h(r);
  let stops = last || reached >= p.limit;
  let runs = running(r) != 0;
  set_goingOn(r, select(0, 1, runs && !stops));
  set_weight(r, select(0.0, select(h(r), 1.0 - sum(r), stops), runs));
  set_nextSum(r, select(1.0, reached, runs && !stops));`,
  { limit: 'f32' },
);

const ACT_BACKWARD = eachRow(
  'actBackward',
  {
    dh: 'update f32',
    dsum: 'update f32',
    dweight: 'f32',
    dnextSum: 'f32',
    running: 'i32',
    goingOn: 'i32',
  },
  `if (goingOn(r) != 0) {
    set_dh(r, dh(r) + dweight(r) + dnextSum(r));
    set_dsum(r, dsum(r) + dnextSum(r));
  } else if (running(r) != 0) { set_dsum(r, dsum(r) - dweight(r)); }`,
);

const PONDER = eachRow(
  'ponder',
  { ponder: 'update f32', weight: 'f32', running: 'i32', goingOn: 'i32' },
  `if (running(r) != 0) { set_ponder(r, ponder(r) + 1.0 + select(weight(r), 0.0, goingOn(r) != 0)); }`,
);

const STOPPED = eachRow(
  'stopped',
  { out: 'update f32', running: 'i32', goingOn: 'i32' },
  'set_out(r, select(0.0, p.value, running(r) != 0 && goingOn(r) == 0));',
  { value: 'f32' },
);

/** A thread a channel walks the sequence. */
const CAUSAL_MEAN: Program = {
  name: 'causalMean',
  arrays: { out: 'update f32', sums: 'update f32', inp: 'f32' },
  numbers: { T: 'u32', C: 'u32', past: 'u32' },
  runs: 'each',
  code: `fn each(c: u32) {
  var sum = 0.0;
  if (p.past > 0u) { sum = sums(c); }
  for (var t = 0u; t < p.T; t++) {
    sum += inp(t * p.C + c);
    set_out(t * p.C + c, sum / f32(p.past + t + 1u));
  }
  set_sums(c, sum);
}`,
};

const STOP_ABOVE = eachRow(
  'stopAbove',
  { running: 'update i32', values: 'f32' },
  'if (values(r) > p.threshold) { set_running(r, 0); }',
  { threshold: 'f32' },
);
const STOP_BELOW = eachRow(
  'stopBelow',
  { running: 'update i32', values: 'f32' },
  'if (values(r) < p.threshold) { set_running(r, 0); }',
  { threshold: 'f32' },
);
const STOP_AT = eachRow(
  'stopAt',
  { running: 'update i32', exits: 'i32' },
  'if (u32(exits(r)) == p.depth) { set_running(r, 0); }',
  { depth: 'u32' },
);

const COUNT_RUNNING = eachRow(
  'countRunning',
  { counts: 'update i32', running: 'i32' },
  'set_counts(r, counts(r) + running(r));',
);

/**
 * Lanes sum words with their carries; the team adds the four pieces of 16 bits of those sums as floats, without
 * rounding. The whole, below 2^48, is left as two floats.
 */
const SUM_COUNTS: Program = {
  name: 'sumCounts',
  arrays: { out: 'update f32', counts: 'i32' },
  numbers: { n: 'u32' },
  runs: 'rows',
  code: `fn row(r: u32, lane: u32) {
  var low = 0u;
  var high = 0u;
  for (var i = lane; i < p.n; i += L) {
    let count = u32(counts(i));
    low += count;
    if (low < count) { high++; }
  }
  let piece0 = u32(team_sum(f32(low & 0xffffu), lane));
  let piece1 = u32(team_sum(f32(low >> 16u), lane)) + (piece0 >> 16u);
  let piece2 = u32(team_sum(f32(high), lane)) + (piece1 >> 16u);
  if (lane > 0u) { return; }
  let least = ((piece1 & 0xffu) << 16u) | (piece0 & 0xffffu); // 24 bits
  let rest = f32((piece2 << 8u) | ((piece1 & 0xff00u) >> 8u)) * 16777216.0;
  let total = rest + f32(least);
  set_out(0u, total);
  set_out(1u, f32(least) - (total - rest));
}`,
};

const ARGMAX = eachRow(
  'argmaxRows',
  { exits: 'update i32', z: 'f32' },
  `var best = 0u;
  for (var n = 1u; n < p.N; n++) { if (z(r * p.N + n) > z(r * p.N + best)) { best = n; } }
  set_exits(r, i32(best));`,
  { N: 'u32' },
);

const DIFFER = eachRow(
  'differ',
  { out: 'update f32', a: 'i32', b: 'i32' },
  'set_out(r, select(1.0, 0.0, a(r) == b(r)));',
);

const WEIGHTS_AT = eachRow(
  'weightsAt',
  { weights: 'update f32', exits: 'i32', targets: 'i32' },
  `let exit = exits(r);
  let here = exit == i32(p.depth) || (last && exit > i32(p.depth));
  set_weights(r, select(0.0, p.value, here && targets(r) >= 0));`,
  { depth: 'u32', value: 'f32' },
);

const EXIT_HERE: Program = {
  name: 'exitHereLoss',
  arrays: { loss: 'update f32', dz: 'update f32', z: 'f32', exits: 'i32' },
  numbers: { depth: 'u32', weight: 'f32' },
  runs: 'each',
  code: `${MATH}
fn each(r: u32) {
  let exit = exits(r);
  var d = 0.0;
  if (exit >= i32(p.depth)) {
    let toward = select(1.0, -1.0, exit == i32(p.depth)); // the loss is softplus(toward·z)
    set_loss(r, loss(r) + softplus(toward * z(r)));
    d = p.weight * toward * sigmoid(toward * z(r));
  }
  set_dz(r, d);
}`,
};

const EXIT_CHOICE: Program = {
  name: 'exitChoiceLoss',
  arrays: { loss: 'update f32', dz: 'update f32', z: 'f32', exits: 'i32' },
  numbers: { N: 'u32', weight: 'f32' },
  runs: 'each',
  code: `${MATH}
fn each(r: u32) {
  let at = r * p.N;
  var most = z(at);
  for (var n = 1u; n < p.N; n++) { most = max(most, z(at + n)); }
  var total = 0.0;
  for (var n = 0u; n < p.N; n++) { total += precise_exp(z(at + n) - most); }
  let exit = u32(exits(r));
  set_loss(r, loss(r) + precise_log(total) - (z(at + exit) - most));
  for (var n = 0u; n < p.N; n++) {
    let probability = precise_exp(z(at + n) - most) / total;
    set_dz(at + n, p.weight * (probability - select(0.0, 1.0, n == exit)));
  }
}`,
};

export const exitKernels = {
  actForward: (engine, { p, nextSum, goingOn, h, sum, running, epsilon, last }) =>
    engine.run(ACT_FORWARD, {
      arrays: { weight: p, nextSum, goingOn, h, sum, running },
      numbers: { limit: 1 - epsilon },
      constants: { last },
      count: h.length,
    }),

  actBackward: (engine, { dh, dsum, dp, dnextSum, running, goingOn }) =>
    engine.run(ACT_BACKWARD, {
      arrays: { dh, dsum, dweight: dp, dnextSum, running, goingOn },
      count: dh.length,
    }),

  ponder: (engine, { ponder, p, running, goingOn }) =>
    engine.run(PONDER, { arrays: { ponder, weight: p, running, goingOn }, count: ponder.length }),

  stopped: (engine, { out, running, goingOn, value }) =>
    engine.run(STOPPED, { arrays: { out, running, goingOn }, numbers: { value }, count: out.length }),

  causalMean: (engine, { out, sums, inp, T, C, past }) =>
    engine.run(CAUSAL_MEAN, { arrays: { out, sums, inp }, numbers: { T, C, past }, count: C }),

  stopAbove: (engine, { running, values, threshold }) =>
    engine.run(STOP_ABOVE, { arrays: { running, values }, numbers: { threshold }, count: running.length }),

  stopBelow: (engine, { running, values, threshold }) =>
    engine.run(STOP_BELOW, { arrays: { running, values }, numbers: { threshold }, count: running.length }),

  stopAt: (engine, { running, exits, depth }) =>
    engine.run(STOP_AT, { arrays: { running, exits }, numbers: { depth }, count: running.length }),

  countRunning: (engine, { counts, running }) =>
    engine.run(COUNT_RUNNING, { arrays: { counts, running }, count: counts.length }),

  sumCounts: (engine, { out, counts }) =>
    engine.run(SUM_COUNTS, { arrays: { out, counts }, numbers: { n: counts.length }, count: 1 }),

  argmaxRows: (engine, { exits, z, N }) =>
    engine.run(ARGMAX, { arrays: { exits, z }, numbers: { N }, count: exits.length }),

  differ: (engine, { out, a, b }) => engine.run(DIFFER, { arrays: { out, a, b }, count: out.length }),

  weightsAt: (engine, { weights, exits, targets, depth, last, value }) =>
    engine.run(WEIGHTS_AT, {
      arrays: { weights, exits, targets },
      numbers: { depth, value },
      constants: { last },
      count: weights.length,
    }),

  oracle(engine, { exits, costs, B, T, N, lambda, sigma, perSequence }) {
    const numbers = { B, T, N, lambda, sigma, reach: reachOf(sigma, T) };
    if (perSequence) engine.run(ORACLE_OF_SEQUENCES, { arrays: { exits, costs }, numbers, count: B });
    else engine.run(ORACLE, { arrays: { exits, costs }, numbers, count: B * T });
  },

  exitHereLoss: (engine, { loss, dz, z, exits, depth, weight }) =>
    engine.run(EXIT_HERE, {
      arrays: { loss, dz, z, exits },
      numbers: { depth, weight },
      count: z.length,
    }),

  exitChoiceLoss: (engine, { loss, dz, z, exits, N, weight }) =>
    engine.run(EXIT_CHOICE, {
      arrays: { loss, dz, z, exits },
      numbers: { N, weight },
      count: loss.length,
    }),
} satisfies Partial<GpuKernels>;
