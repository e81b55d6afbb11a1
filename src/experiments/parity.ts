/**
 * Adaptive computation time on Graves's parity test (Graves 2016, arXiv 1603.08983, section 3.1): a recurrent network
 * that may ponder over its input learns a function that the same network does not learn with a single step.
 *
 * An input is one vector of 0, +1 and −1: k of its elements, k uniform in 1..size, are ±1 at random, the others 0. The
 * class is whether the number of +1 is odd; k is the difficulty. How much longer the network ponders over harder inputs
 * depends on the seed, and small sizes need not show it. It is no language model: it uses no file of `models/` and
 * `train/`, and shows how to build and train a network out of ops, tape and parameters.
 */
import { ParameterScope, type ParameterSlot, Parameters } from '../nn/parameters.js';
import { hashWords, uniform } from '../random.js';
import { activation, actStep, add, addToLoss, detach, headLoss, linear, scaleRows } from '../tensor/ops.js';
import { Tape } from '../tensor/tape.js';
import type { Runtime, Tensor } from '../tensor/tensor.js';

export interface ParitySettings {
  /** Elements of an input vector. */
  readonly size: number;
  /** Units of the recurrent network. */
  readonly hidden: number;
  /** The step limit; 1 turns adaptive computation time off. */
  readonly maxPonder: number;
  /** τ: what the ponder cost N + R counts in the loss. */
  readonly ponderCost: number;
  readonly batchSize: number;
  readonly maxSteps: number;
  readonly lr: number;
  readonly seed: number;
  /** Inputs of each difficulty in the evaluation. */
  readonly evalSamples: number;
}

/** Means over a batch, or over several. */
export interface Score {
  /** Cross-entropy in nats, without the ponder cost. */
  readonly loss: number;
  /** Share of inputs whose more probable class is the wrong one. */
  readonly error: number;
  /** N, the steps that an input took. */
  readonly ponderSteps: number;
}

export interface ParityResult {
  readonly settings: ParitySettings;
  /** Over the training batches since the point before. */
  readonly curve: readonly (Score & { readonly step: number })[];
  /** Of the trained network, over inputs drawn for this. */
  readonly byDifficulty: readonly (Score & { readonly k: number })[];
  /** Mean over the difficulties. */
  readonly overall: Score;
  /** The first inputs of each difficulty, and what the trained network makes of them. */
  readonly guesses: readonly ParityGuess[];
  readonly seconds: number;
}

/** One input, and the class that a network finds more probable. */
export interface ParityGuess {
  readonly k: number;
  /** `size` elements of −1, 0 and 1. */
  readonly input: readonly number[];
  /** Whether the number of +1 is odd. */
  readonly odd: boolean;
  readonly guessedOdd: boolean;
  /** Steps that it took. */
  readonly steps: number;
}

/** A batch on the host. */
export interface ParityBatch {
  /** (B, size) */
  readonly x: Float64Array;
  /** (B), 1 where the number of +1 is odd. */
  readonly targets: Int32Array;
}

/** Graves's ε: an input may stop once its halting probabilities reach 1 − ε. */
const EPSILON = 0.01;
const ADAM = { beta1: 0.9, beta2: 0.98, eps: 1e-8, weightDecay: 0 };
const GRAD_CLIP = 1;
const WARMUP_STEPS = 200;
/** The learning rate falls linearly to 0 over this share of the training, at its end. */
const COOLDOWN = 0.3;
const CURVE_POINTS = 60;
/** Inputs of each difficulty whose guesses are kept. */
const GUESSES = 2;

/** The command's training: minutes. */
export const PARITY: ParitySettings = {
  size: 16,
  hidden: 128,
  maxPonder: 20,
  ponderCost: 5e-4,
  batchSize: 128,
  maxSteps: 20000,
  lr: 3e-3,
  seed: 2,
  evalSamples: 2000,
};
/** Eight elements: seconds. */
export const QUICK_PARITY: ParitySettings = {
  ...PARITY,
  size: 8,
  hidden: 64,
  maxPonder: 10,
  batchSize: 64,
  maxSteps: 4000,
  lr: 4e-3,
};

/** `B` inputs of difficulty `k`, or each of a random one: a function of (seed, step, k). */
export function parityBatch(
  size: number,
  B: number,
  seed: number,
  step: number,
  k: number | null = null,
): ParityBatch {
  const [a, b] = [hashWords(seed, step, k ?? 0, 1), hashWords(seed, step, k ?? 0, 2)];
  let counter = 0;
  const random = () => uniform(a, b, counter++);
  const x = new Float64Array(B * size);
  const targets = new Int32Array(B);
  for (let r = 0; r < B; r++) {
    let left = k ?? 1 + Math.floor(random() * size);
    for (let i = 0; i < size; i++) {
      // Selection sampling: of the size − i elements still to come, `left` are to be set.
      if (random() * (size - i) >= left) continue;
      left--;
      const one = random() < 0.5;
      x[r * size + i] = one ? 1 : -1;
      if (one) targets[r] ^= 1;
    }
  }
  return { x, targets };
}

/** The result of a forward pass; the caller disposes of the tensors. All are (B). */
export interface ParityOutput {
  /** Cross-entropy in nats. */
  readonly losses: Tensor;
  /** The more probable class. */
  readonly argmax: Tensor;
  /** N, the number of steps. */
  readonly steps: Tensor;
  /** ρ = N + R, the ponder cost before its factor τ. */
  readonly ponder: Tensor;
}

/**
 * A recurrent network that reads one vector several times: s_n = tanh(W·[x, flag] + U·s_(n−1) + b), s_0 = 0, the flag
 * being 1 at the first step and 0 later. ACT mixes the states, and a softmax over {even, odd} reads the mixture.
 */
export class ParityNet {
  readonly parameters: Parameters;
  private readonly input: ParameterSlot;
  private readonly inputBias: ParameterSlot;
  private readonly recurrent: ParameterSlot;
  private readonly halting: ParameterSlot;
  private readonly haltingBias: ParameterSlot;
  private readonly head: ParameterSlot;

  constructor(
    private readonly runtime: Runtime,
    private readonly settings: ParitySettings,
  ) {
    const { size, hidden: H } = settings;
    const scope = new ParameterScope();
    const std = 1 / Math.sqrt(H);
    this.input = scope.declare('input.weight', 'matrix', [size + 1, H], { std: 1 / Math.sqrt(size) });
    this.inputBias = scope.declare('input.bias', 'bias', [H], { value: 0 });
    this.recurrent = scope.declare('recurrent.weight', 'matrix', [H, H], { std });
    this.halting = scope.declare('halting.weight', 'matrix', [H, 1], { std: 0.1 * std });
    // Graves starts the bias at 1, for few steps at first.
    this.haltingBias = scope.declare('halting.bias', 'bias', [1], { value: 1 });
    this.head = scope.declare('head.weight', 'matrix', [2, H], { std });
    this.parameters = new Parameters(runtime, scope.slots, true);
    this.parameters.initialise(settings.seed);
  }

  /** The loss of a batch; a recording tape ends in its mean plus τ times the mean ponder cost. */
  forward({ x, targets }: ParityBatch): ParityOutput {
    const { runtime } = this;
    const { maxPonder, ponderCost } = this.settings;
    const { backend } = runtime;
    const B = targets.length;
    using first = this.drive(x, B, 1);
    using later = this.drive(x, B, 0);
    const steps = runtime.from(new Int32Array(B), [B]);
    const ponder = runtime.from(new Float64Array(B), [B]);
    let running = runtime.from(new Int32Array(B).fill(1), [B]);
    using zeros = runtime.from(new Float64Array(B), [B]);
    let sum = detach(zeros);
    let state = activation(first, 'tanh');
    let output: Tensor | null = null;
    for (let n = 1; ; n++) {
      backend.countRunning({ counts: steps.storage, running: running.storage });
      using z = linear(state, this.halting.value, this.haltingBias.value);
      using h = activation(z, 'sigmoid');
      const act = actStep(h, sum, running, { epsilon: EPSILON, last: n === maxPonder });
      using p = act.p;
      sum.dispose();
      sum = act.nextSum;
      const mixed: Tensor = scaleRows(state, p, output);
      output?.dispose();
      output = mixed;
      const stopping = { running: running.storage, goingOn: act.goingOn.storage };
      backend.ponder({ ponder: ponder.storage, p: p.storage, ...stopping });
      if (runtime.tape) {
        // At its last step the weight p of an input is its remainder R, the part of ρ that has a gradient.
        using weights = runtime.empty([B]);
        backend.stopped({ out: weights.storage, ...stopping, value: ponderCost / B });
        addToLoss(p, weights);
      }
      running.dispose();
      running = act.goingOn;
      if (n === maxPonder || backend.compact(running.storage)?.length === 0) break;
      using recurrent = linear(state, this.recurrent.value, null);
      using driven = add(recurrent, later);
      state.dispose();
      state = activation(driven, 'tanh');
    }
    for (const done of [running, sum, state]) done.dispose();
    using mixture = output;
    using classes = runtime.from(targets, [B]);
    using weights = runtime.from(new Float64Array(B).fill(1 / B), [B]);
    const argmax = runtime.empty([B], 'i32');
    const losses = headLoss(mixture, this.head.value, classes, weights, argmax);
    return { losses, argmax, steps, ponder };
  }

  /** W·[x, flag] + b, which every step but the first has in common: computed once. */
  private drive(x: Float64Array, B: number, flag: number): Tensor {
    const { size } = this.settings;
    const values = new Float64Array(B * (size + 1)).fill(flag);
    for (let r = 0; r < B; r++) values.set(x.subarray(r * size, (r + 1) * size), r * (size + 1));
    using given = this.runtime.from(values, [B, size + 1]);
    using input = detach(given);
    return linear(input, this.input.value, this.inputBias.value);
  }
}

/** Trains a network on fresh inputs, then tests it at every difficulty. Deterministic but for `seconds`. */
export async function trainParity(
  settings: ParitySettings,
  runtime: Runtime,
  onPoint: (point: Score & { readonly step: number }) => void = () => {},
): Promise<ParityResult> {
  const { size, batchSize, maxSteps, seed, evalSamples } = settings;
  const { backend } = runtime;
  const start = performance.now();
  const net = new ParityNet(runtime, settings);
  const { storage, gradient } = net.parameters;
  const moments = [0, 1].map(() => backend.allocate(backend.dtype, storage.length));
  try {
    const curve: (Score & { step: number })[] = [];
    const every = Math.max(1, Math.floor(maxSteps / CURVE_POINTS));
    let since: Score[] = [];
    for (let step = 1; step <= maxSteps; step++) {
      const batch = parityBatch(size, batchSize, seed, step);
      net.parameters.zeroGradients();
      const tape = new Tape(runtime);
      const output = runtime.recording(tape, () => net.forward(batch));
      tape.backward();
      using squares = runtime.empty([1]);
      using nonFinite = runtime.from(new Float32Array(1), [1]);
      const clipping = { squares: squares.storage, nonFinite: nonFinite.storage };
      backend.sumSquares({ out: squares.storage, nonFinite: nonFinite.storage, inp: gradient! });
      backend.adamw({
        param: storage,
        m: moments[0],
        v: moments[1],
        grad: gradient!,
        ...clipping,
        ...ADAM,
        lr: learningRate(step, settings),
        step,
        gradClip: GRAD_CLIP,
      });
      since.push(scoreOf(await reading(output), batch));
      if (step % every === 0) {
        curve.push({ step, ...mean(since) });
        onPoint(curve.at(-1)!);
        since = [];
      }
    }
    const byDifficulty: (Score & { k: number })[] = [];
    const guesses: ParityGuess[] = [];
    for (let k = 1; k <= size; k++) {
      const batch = parityBatch(size, evalSamples, seed, 0, k);
      const found = await reading(net.forward(batch));
      byDifficulty.push({ k, ...scoreOf(found, batch) });
      for (let r = 0; r < Math.min(GUESSES, evalSamples); r++) {
        const input = Array.from(batch.x.subarray(r * size, (r + 1) * size));
        const [odd, guessedOdd] = [batch.targets[r] === 1, found.argmax[r] === 1];
        guesses.push({ k, input, odd, guessedOdd, steps: found.steps[r] });
      }
    }
    const seconds = (performance.now() - start) / 1000;
    return { settings, curve, byDifficulty, overall: mean(byDifficulty), guesses, seconds };
  } finally {
    net.parameters.dispose();
    for (const moment of moments) backend.free(moment);
    runtime.pool.trim();
  }
}

/** Warm-up, plateau and cool-down; `step` counts from 1. */
function learningRate(step: number, { lr, maxSteps }: ParitySettings): number {
  const left = (maxSteps + 1 - step) / (COOLDOWN * maxSteps);
  return lr * Math.min(1, step / WARMUP_STEPS, left);
}

/** An output on the host. All are (B). */
interface Found {
  readonly losses: ArrayLike<number>;
  readonly argmax: ArrayLike<number>;
  readonly steps: ArrayLike<number>;
}

/** Reads an output and disposes of it. */
async function reading(output: ParityOutput): Promise<Found> {
  const tensors = [output.losses, output.argmax, output.steps, output.ponder];
  const [losses, argmax, steps] = await Promise.all(tensors.map((x) => x.read()));
  for (const x of tensors) x.dispose();
  return { losses, argmax, steps };
}

function scoreOf({ losses, argmax, steps }: Found, { targets }: ParityBatch): Score {
  const average = (value: (r: number) => number) =>
    targets.reduce((sum, _, r) => sum + value(r), 0) / targets.length;
  return {
    loss: average((r) => losses[r]),
    error: average((r) => (argmax[r] === targets[r] ? 0 : 1)),
    ponderSteps: average((r) => steps[r]),
  };
}

function mean(scores: readonly Score[]): Score {
  const average = (value: (s: Score) => number) =>
    scores.reduce((sum, s) => sum + value(s), 0) / scores.length;
  return {
    loss: average((s) => s.loss),
    error: average((s) => s.error),
    ponderSteps: average((s) => s.ponderSteps),
  };
}
