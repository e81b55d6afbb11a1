/** AdamW, Muon, and the average of weights on a GPU. */
import type { Call, Engine } from './engine.js';
import { byFours } from './fours.js';
import type { Program } from './program.js';
import { sumOf } from './sums.wgsl.js';
import type { GpuKernels } from './kernels.js';

/** What clipping multiplies a gradient by. */
const CLIPPING = `fn clipping() -> f32 {
  if (p.gradClip == 0.0) { return 1.0; }
  return min(1.0, p.gradClip / (sqrt(squares(0u)) + 1e-6));
}`;

const ADAMW = byFours((type) => ({
  name: 'adamw',
  arrays: {
    param: `update ${type}`,
    m: `update ${type}`,
    v: `update ${type}`,
    grad: type,
    squares: 'f32',
    nonFinite: 'f32',
  },
  numbers: {
    lr: 'f32',
    beta1: 'f32',
    beta2: 'f32',
    rest1: 'f32',
    rest2: 'f32',
    correction1: 'f32',
    correction2: 'f32',
    eps: 'f32',
    weightDecay: 'f32',
    gradClip: 'f32',
  },
  runs: 'each',
  code: `${CLIPPING}
fn each(i: u32) {
  if (nonFinite(0u) != 0.0) { return; }
  let g = grad(i) * clipping();
  let newM = p.beta1 * m(i) + p.rest1 * g;
  let newV = p.beta2 * v(i) + p.rest2 * g * g;
  let step = newM / p.correction1 / (sqrt(newV / p.correction2) + p.eps);
  let former = param(i);
  set_m(i, newM);
  set_v(i, newV);
  set_param(i, former - p.lr * (step + p.weightDecay * former));
}`,
}));

const AVERAGE = byFours((type) => ({
  name: 'averageWeights',
  arrays: { average: `update ${type}`, param: type, nonFinite: 'f32' },
  numbers: { decay: 'f32', rest: 'f32' },
  runs: 'each',
  code: `fn each(i: u32) {
  if (nonFinite(0u) == 0.0) { set_average(i, p.decay * average(i) + p.rest * param(i)); }
}`,
}));

const MOMENTUM: Program = {
  name: 'muonMomentum',
  arrays: { out: 'update f32', momentum: 'update f32', grad: 'f32', squares: 'f32', nonFinite: 'f32' },
  numbers: { C: 'u32', first: 'u32', width: 'u32', beta: 'f32', gradClip: 'f32' },
  runs: 'each',
  code: `${CLIPPING}
fn each(i: u32) {
  if (nonFinite(0u) != 0.0) { set_out(i, 0.0); return; }
  let at = i / p.width * p.C + p.first + i % p.width;
  let g = grad(at) * clipping();
  let x = p.beta * momentum(at) + g;
  set_momentum(at, x);
  set_out(i, g + p.beta * x);
}`,
};

const UPDATE: Program = {
  name: 'muonUpdate',
  arrays: { param: 'update f32', change: 'f32', nonFinite: 'f32' },
  numbers: { C: 'u32', first: 'u32', width: 'u32', lr: 'f32', scale: 'f32', weightDecay: 'f32' },
  runs: 'each',
  code: `fn each(i: u32) {
  if (nonFinite(0u) != 0.0) { return; }
  let at = i / p.width * p.C + p.first + i % p.width;
  let x = param(at);
  set_param(at, x - p.lr * (p.scale * change(i) + p.weightDecay * x));
}`,
};

const SCALE: Program = {
  name: 'scaleByNorm',
  arrays: { x: 'update f32', squares: 'f32' },
  numbers: { eps: 'f32' },
  runs: 'each',
  code: 'fn each(i: u32) { set_x(i, x(i) / (sqrt(squares(0u)) + p.eps)); }',
};

const POLYNOMIAL: Program = {
  name: 'matrixPolynomial',
  arrays: { out: 'update f32', x: 'f32', square: 'f32' },
  numbers: { N: 'u32', a: 'f32', b: 'f32', c: 'f32' },
  runs: 'each',
  code: `fn each(i: u32) {
  let diagonal = select(0.0, p.a, i / p.N == i % p.N);
  set_out(i, diagonal + p.b * x(i) + p.c * square(i));
}`,
};

/** Runs a program over n elements, four at a time where it can. */
function each(
  engine: Engine,
  { elements, fours }: ReturnType<typeof byFours>,
  n: number,
  call: Omit<Call, 'count'>,
) {
  const four = n % 4 === 0;
  engine.run(four ? fours : elements, { ...call, count: four ? n / 4 : n });
}

export const optimizer = {
  sum: (engine, { out, nonFinite, inp }) => sumOf(engine, { out, nonFinite, inp, squares: false }),

  sumSquares: (engine, { out, nonFinite, inp }) => sumOf(engine, { out, nonFinite, inp, squares: true }),

  adamw(engine, { param, m, v, grad, squares, nonFinite, beta1, beta2, step, ...options }) {
    const { lr, eps, weightDecay, gradClip } = options;
    each(engine, ADAMW, param.length, {
      arrays: { param, m, v, grad, squares, nonFinite },
      numbers: {
        lr,
        beta1,
        beta2,
        rest1: 1 - beta1,
        rest2: 1 - beta2,
        correction1: 1 - beta1 ** step,
        correction2: 1 - beta2 ** step,
        eps,
        weightDecay,
        gradClip,
      },
    });
  },

  muonMomentum(engine, { out, momentum, grad, squares, nonFinite, R, C, first, count, beta, gradClip }) {
    engine.run(MOMENTUM, {
      arrays: { out, momentum, grad, squares, nonFinite },
      numbers: { C, first, width: count, beta, gradClip },
      count: R * count,
    });
  },

  scaleByNorm: (engine, { x, squares, eps }) =>
    engine.run(SCALE, { arrays: { x, squares }, numbers: { eps }, count: x.length }),

  matrixPolynomial: (engine, { out, x, square, N, a, b, c }) =>
    engine.run(POLYNOMIAL, { arrays: { out, x, square }, numbers: { N, a, b, c }, count: N * N }),

  muonUpdate(engine, { param, update, nonFinite, R, C, first, count, lr, scale, weightDecay }) {
    engine.run(UPDATE, {
      arrays: { param, change: update, nonFinite },
      numbers: { C, first, width: count, lr, scale, weightDecay },
      count: R * count,
    });
  },

  averageWeights: (engine, { average, param, nonFinite, decay }) =>
    each(engine, AVERAGE, average.length, {
      arrays: { average, param, nonFinite },
      numbers: { decay, rest: 1 - decay },
    }),
} satisfies Partial<GpuKernels>;
