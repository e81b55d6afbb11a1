/** Activations of the reference backend, alone and in the halves of a gated MLP. */
import type { Activation } from '../backend.js';
import type { KERNELS } from '../kernel-table.js';
import type { HostKernels } from '../memory/arguments.js';
import { normalBelow } from './normal.js';

const GELU_SCALE = Math.sqrt(2 / Math.PI);
const GELU_CUBIC = 0.044715;
const QUICK_GELU_SCALE = 1.702;

/** σ(x) = 1/(1 + e^−x). */
const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));

/** x·σ(a·x) and its derivative. */
function swish(x: number, a: number): readonly [number, number] {
  const s = sigmoid(a * x);
  return [x * s, s + a * x * s * (1 - s)];
}

/** Value and derivative of each activation at x. */
const FUNCTIONS: Readonly<Record<Activation, (x: number) => readonly [value: number, derivative: number]>> = {
  gelu_new: (x) => {
    const t = Math.tanh(GELU_SCALE * (x + GELU_CUBIC * x * x * x));
    const slope = 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * GELU_SCALE * (1 + 3 * GELU_CUBIC * x * x);
    return [0.5 * x * (1 + t), slope];
  },
  gelu: (x) => {
    const p = normalBelow(x);
    return [x * p, p + (x * Math.exp((-x * x) / 2)) / Math.sqrt(2 * Math.PI)];
  },
  relu: (x) => (x > 0 ? [x, 1] : [0, 0]),
  relu2: (x) => (x > 0 ? [x * x, 2 * x] : [0, 0]),
  silu: (x) => swish(x, 1),
  quick_gelu: (x) => swish(x, QUICK_GELU_SCALE),
  tanh: (x) => [Math.tanh(x), 1 - Math.tanh(x) ** 2],
  sigmoid: (x) => {
    const s = sigmoid(x);
    return [s, s * (1 - s)];
  },
};

export const activation = {
  activationForward({ out, inp, kind }) {
    for (let i = 0; i < out.length; i++) out[i] = FUNCTIONS[kind](inp[i])[0];
  },

  // In the forward pass this was out = kind(inp).
  activationBackward({ dinp, dout, inp, kind, accumulate }) {
    for (let i = 0; i < dinp.length; i++) {
      dinp[i] = (accumulate ? dinp[i] : 0) + FUNCTIONS[kind](inp[i])[1] * dout[i];
    }
  },

  gatedActivationForward({ out, inp, R, I, kind }) {
    for (let r = 0; r < R; r++) {
      for (let i = 0; i < I; i++) {
        const gate = 2 * r * I + i;
        out[r * I + i] = FUNCTIONS[kind](inp[gate])[0] * inp[gate + I];
      }
    }
  },

  // In the forward pass this was out = kind(first half of inp) ⊙ its second half.
  gatedActivationBackward({ dinp, dout, inp, R, I, kind, accumulate }) {
    for (let r = 0; r < R; r++) {
      for (let i = 0; i < I; i++) {
        const gate = 2 * r * I + i;
        const [value, derivative] = FUNCTIONS[kind](inp[gate]);
        const d = dout[r * I + i];
        dinp[gate] = (accumulate ? dinp[gate] : 0) + d * inp[gate + I] * derivative;
        dinp[gate + I] = (accumulate ? dinp[gate + I] : 0) + d * value;
      }
    }
  },
} satisfies Partial<HostKernels<typeof KERNELS>>;
