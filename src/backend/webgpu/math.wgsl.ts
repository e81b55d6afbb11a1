/**
 * Functions of one float in WGSL, which the language leaves loose and some devices get wrong: by exact bits and
 * polynomials, to about 1e-7 of their value. Towards the least normal numbers they become 0. What is not a number stays
 * so, and only what overflows becomes infinite.
 */

const LN2 = splitBy(Math.LN2, 0xffff_8000);
/** Beyond it, e^x is infinite. */
const LARGEST_EXPONENT = 88.72283;
/** Below it, e^x is no normal number. */
const LEAST_EXPONENT = -87.33654;
/** (1 + z)·Φ(−z)/φ(z) as a polynomial in (z − 2.5)/(z + 2.5), to 4e-9 for z from 0 to 14, φ being the density. */
const TAIL = [
  1.239927887916565, -0.22957579791545868, -0.09454161673784256, 0.11546319723129272, -0.02180738002061844,
  -0.015163466334342957, 0.0032178901601582766, 0.0031797823030501604, 0.000006792328349547461,
  -0.0005795899778604507, -0.00016530932043679059,
];
const INVERSE_FACTORIALS = [1, 1, 1 / 2, 1 / 6, 1 / 24, 1 / 120, 1 / 720, 1 / 5040];

/**
 * - `is_nan`, `is_finite`: by the bits
 * - `product_pair(a, b)`: a·b and what its rounding leaves, for |a|, |b| that neither overflow nor vanish when squared
 * - `precise_exp`, `precise_exp_pair` (of a sum of two, the second small), `precise_expm1`
 * - `exp_below_0`: without branches, for numbers from −∞ to 0
 * - `precise_log`, `precise_log1p`
 * - `precise_tanh`, `sigmoid`, `softplus`
 * - `normal_density`; `normal_below`: the probability of a standard normal variable to be at most x
 */
export const MATH = `
fn float_of_bits(bits: u32) -> f32 { return bitcast<f32>(bits); }
fn is_nan(x: f32) -> bool { return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u; }
fn is_finite(x: f32) -> bool { return (bitcast<u32>(x) & 0x7f800000u) != 0x7f800000u; }

fn product_pair(a: f32, b: f32) -> vec2f {
  let a1 = bitcast<f32>(bitcast<u32>(a) & 0xfffff000u);
  let b1 = bitcast<f32>(bitcast<u32>(b) & 0xfffff000u);
  let a0 = a - a1;
  let b0 = b - b1;
  let product = a * b;
  return vec2f(product, ((a1 * b1 - product) + a1 * b0 + a0 * b1) + a0 * b0);
}

fn precise_exp(x: f32) -> f32 {
  if (is_nan(x)) { return x; }
  if (x > ${LARGEST_EXPONENT}) { return float_of_bits(0x7f800000u); }
  if (x < ${LEAST_EXPONENT}) { return 0.0; }
  let n = floor(x * ${Math.LOG2E} + 0.5);
  let r = (x - n * ${LN2.high}) - n * ${LN2.low};
  // 2^n in two factors, each a normal number.
  let first = i32(n) / 2;
  let second = i32(n) - first;
  let scale = bitcast<f32>(u32(first + 127) << 23u);
  return ${horner('r', INVERSE_FACTORIALS)} * scale * bitcast<f32>(u32(second + 127) << 23u);
}
fn exp_below_0(x: f32) -> f32 {
  let y = max(x, ${LEAST_EXPONENT});
  let n = floor(y * ${Math.LOG2E} + 0.5);
  let r = (y - n * ${LN2.high}) - n * ${LN2.low};
  return select(${horner('r', INVERSE_FACTORIALS)} * bitcast<f32>(u32(i32(n) + 127) << 23u), 0.0, x < y);
}
fn precise_exp_pair(x: f32, more: f32) -> f32 {
  let y = precise_exp(x);
  return y + y * more;
}
fn precise_expm1(x: f32) -> f32 {
  if (abs(x) < 0.35) { return x * ${horner('x', INVERSE_FACTORIALS.slice(1))}; }
  return precise_exp(x) - 1.0;
}

// log((1 + s)/(1 - s)) for |s| up to 0.18
fn log_of_ratio(s: f32) -> f32 {
  let square = s * s;
  return 2.0 * s * ${horner('square', [1, 1 / 3, 1 / 5, 1 / 7, 1 / 9, 1 / 11])};
}
fn precise_log(x: f32) -> f32 {
  if (is_nan(x) || x < 0.0) { return float_of_bits(0x7fc00000u); }
  if (!is_finite(x)) { return x; }
  let bits = bitcast<u32>(abs(x)); // −0 too
  if (bits < 0x00800000u) { return float_of_bits(0xff800000u); }
  // x = m·2^n, m from 1/√2 to √2.
  let n = i32((bits + ${0x3f80_0000 - 0x3f35_04f3}u) >> 23u) - 127;
  let m = bitcast<f32>(bits - (u32(n) << 23u));
  return f32(n) * ${LN2.high} + (f32(n) * ${LN2.low} + log_of_ratio((m - 1.0) / (m + 1.0)));
}
fn precise_log1p(x: f32) -> f32 {
  if (abs(x) < 0.3) { return log_of_ratio(x / (2.0 + x)); }
  return precise_log(1.0 + x);
}

fn precise_tanh(x: f32) -> f32 {
  let e = precise_expm1(-2.0 * abs(x));
  let y = -e / (2.0 + e);
  return select(y, -y, x < 0.0);
}
fn sigmoid(x: f32) -> f32 {
  let e = precise_exp(-abs(x));
  return select(1.0, e, x < 0.0) / (1.0 + e);
}
fn softplus(x: f32) -> f32 { return max(x, 0.0) + precise_log1p(precise_exp(-abs(x))); }

fn normal_density(x: f32) -> f32 {
  let z = min(abs(x), 16.0); // where it is 0
  let square = product_pair(z, z);
  let y = ${1 / Math.sqrt(2 * Math.PI)} * precise_exp_pair(-0.5 * square.x, -0.5 * square.y);
  return select(y, x, is_nan(x));
}
fn normal_below(x: f32) -> f32 {
  let z = min(abs(x), 16.0);
  let t = (z - 2.5) / (z + 2.5);
  let above = normal_density(x) * ${horner('t', TAIL)} / (1.0 + z);
  return select(1.0 - above, above, x < 0.0);
}`;

/** The polynomial of these coefficients, the constant first, at the variable. */
function horner(variable: string, coefficients: readonly number[]): string {
  return coefficients
    .slice(0, -1)
    .reduceRight((text, c) => `(${text} * ${variable} + ${c})`, `${coefficients.at(-1)}`);
}

/** x as a float whose last bits are zeros, and the rest of it. */
function splitBy(x: number, mask: number): { readonly high: number; readonly low: number } {
  const bits = new Uint32Array(Float32Array.of(x).buffer);
  bits[0] &= mask;
  const high = new Float32Array(bits.buffer)[0];
  return { high, low: x - high };
}
