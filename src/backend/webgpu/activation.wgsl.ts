/** Activations on a GPU, alone and in the halves of a gated MLP. */
import type { Activation } from '../options.js';
import { MATH } from './math.wgsl.js';
import type { Program } from './program.js';
import type { GpuKernels } from './kernels.js';

/**
 * `value(x)` and `slope(x)` of each activation. x·σ(u) is precise to the relative error of σ, which grows with that of
 * u: so u is a sum of two floats there.
 */
const FUNCTIONS: Readonly<Record<Activation, string>> = {
  gelu_new: swish(
    `
// 2·√(2/π)·(x + 0.044715·x³), where it decides
fn argument(x: f32) -> vec2f {
  let y = clamp(x, -16.0, 16.0);
  let square = product_pair(y, y);
  let cubic = product_pair(CUBIC.x, square.x);
  let sum = SCALE.x + cubic.x;
  let left = cubic.x - (sum - SCALE.x);
  let product = product_pair(y, sum);
  return vec2f(
    product.x,
    product.y + y * (left + cubic.y + CUBIC.x * square.y + CUBIC.y * square.x + SCALE.y),
  );
}
fn argument_slope(x: f32) -> f32 {
  let y = clamp(x, -16.0, 16.0);
  return SCALE.x + 3.0 * CUBIC.x * y * y;
}`,
    { SCALE: 2 * Math.sqrt(2 / Math.PI), CUBIC: 2 * Math.sqrt(2 / Math.PI) * 0.044715 },
  ),
  gelu: `
fn value(x: f32) -> f32 { return x * normal_below(x); }
fn slope(x: f32) -> f32 { return normal_below(x) + clamp(x, -16.0, 16.0) * normal_density(x); }`,
  relu: `
fn value(x: f32) -> f32 { return select(0.0, x, x > 0.0); }
fn slope(x: f32) -> f32 { return select(0.0, 1.0, x > 0.0); }`,
  relu2: `
fn value(x: f32) -> f32 { return select(0.0, x * x, x > 0.0); }
fn slope(x: f32) -> f32 { return select(0.0, 2.0 * x, x > 0.0); }`,
  silu: swish(`
fn argument(x: f32) -> vec2f { return vec2f(x, 0.0); }
fn argument_slope(x: f32) -> f32 { return 1.0; }`),
  quick_gelu: swish(
    `
fn argument(x: f32) -> vec2f {
  let y = clamp(x, -64.0, 64.0);
  let product = product_pair(SCALE.x, y);
  return vec2f(product.x, product.y + SCALE.y * y);
}
fn argument_slope(x: f32) -> f32 { return SCALE.x; }`,
    { SCALE: 1.702 },
  ),
  tanh: `
fn value(x: f32) -> f32 { return precise_tanh(x); }
fn slope(x: f32) -> f32 {
  let e = precise_exp(-2.0 * abs(x));
  return 4.0 * e / ((1.0 + e) * (1.0 + e));
}`,
  sigmoid: `
fn value(x: f32) -> f32 { return sigmoid(x); }
fn slope(x: f32) -> f32 { return sigmoid(x) * sigmoid(-x); }`,
};

/** x·σ(u) by `argument(x)`, u in two floats, and `argument_slope(x)`; each constant in two floats too. */
function swish(argument: string, constants: Readonly<Record<string, number>> = {}): string {
  const lines = Object.entries(constants).map(([name, x]) => {
    const high = Math.fround(x);
    return `const ${name} = vec2f(${high}, ${x - high});`;
  });
  return `${lines.join('\n')}${argument}
// σ(u) and 1 − σ(u)
fn logistic(u: vec2f) -> vec2f {
  let e = precise_exp_pair(-abs(u.x), select(-u.y, u.y, u.x < 0.0));
  return select(vec2f(1.0, e), vec2f(e, 1.0), u.x < 0.0) / (1.0 + e);
}
fn value(x: f32) -> f32 {
  // As what is no number may not outlast being clamped, it comes in by x.
  return x * logistic(argument(x)).x;
}
fn slope(x: f32) -> f32 {
  let s = logistic(argument(x));
  return select(s.x + clamp(x, -128.0, 128.0) * s.x * s.y * argument_slope(x), x, is_nan(x));
}`;
}

const KINDS = Object.keys(FUNCTIONS) as Activation[];

/** A program for each activation. */
function each(program: Program): Readonly<Record<Activation, Program>> {
  const entries = KINDS.map((kind) => [
    kind,
    { ...program, name: `${program.name} ${kind}`, code: `${MATH}${FUNCTIONS[kind]}${program.code}` },
  ]);
  return Object.fromEntries(entries) as Record<Activation, Program>;
}

const FORWARD = each({
  name: 'activationForward',
  arrays: { out: 'update f32', inp: 'f32' },
  runs: 'each',
  code: `
fn each(i: u32) { set_out(i, value(inp(i))); }`,
});

const BACKWARD = each({
  name: 'activationBackward',
  arrays: { dinp: 'update f32', dout: 'f32', inp: 'f32' },
  runs: 'each',
  code: `
fn each(i: u32) {
  var d = slope(inp(i)) * dout(i);
  if (accumulate) { d += dinp(i); }
  set_dinp(i, d);
}`,
});

const GATED_FORWARD = each({
  name: 'gatedActivationForward',
  arrays: { out: 'update f32', inp: 'f32' },
  numbers: { I: 'u32' },
  runs: 'each',
  code: `
fn each(i: u32) {
  let gate = i + i / p.I * p.I;
  set_out(i, value(inp(gate)) * inp(gate + p.I));
}`,
});

const GATED_BACKWARD = each({
  name: 'gatedActivationBackward',
  arrays: { dinp: 'update f32', dout: 'f32', inp: 'f32' },
  numbers: { I: 'u32' },
  runs: 'each',
  code: `
fn each(i: u32) {
  let gate = i + i / p.I * p.I;
  let x = inp(gate);
  var by_gate = dout(i) * inp(gate + p.I) * slope(x);
  var by_other = dout(i) * value(x);
  if (accumulate) {
    by_gate += dinp(gate);
    by_other += dinp(gate + p.I);
  }
  set_dinp(gate, by_gate);
  set_dinp(gate + p.I, by_other);
}`,
});

export const activation = {
  activationForward: (engine, { out, inp, kind }) =>
    engine.run(FORWARD[kind], { arrays: { out, inp }, count: out.length }),

  activationBackward: (engine, { dinp, dout, inp, kind, accumulate }) =>
    engine.run(BACKWARD[kind], {
      arrays: { dinp, dout, inp },
      constants: { accumulate },
      count: dinp.length,
    }),

  gatedActivationForward: (engine, { out, inp, R, I, kind }) =>
    engine.run(GATED_FORWARD[kind], { arrays: { out, inp }, numbers: { I }, count: R * I }),

  gatedActivationBackward: (engine, { dinp, dout, inp, R, I, kind, accumulate }) =>
    engine.run(GATED_BACKWARD[kind], {
      arrays: { dinp, dout, inp },
      numbers: { I },
      constants: { accumulate },
      count: R * I,
    }),
} satisfies Partial<GpuKernels>;
