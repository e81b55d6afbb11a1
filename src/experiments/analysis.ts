/**
 * What a trained model does from exit to exit: how its prediction sharpens, how its hidden state moves, what its gates
 * have learned, and, where tokens halt early, at which steps.
 */
import type { GPT } from '../models/gpt.js';
import { exitCount } from '../models/config.js';
import { depthOf } from '../models/depth/kinds.js';
import { batchAt, type TokenSource } from '../evaluate/batches.js';
import type { Clock } from '../platform.js';
import { evaluate, everyStep, total } from '../evaluate/evaluation.js';
import { type GateSummary, gateSummaries } from '../evaluate/gates.js';
import { type LoopParts, loopParts } from '../evaluate/loop-parts.js';

/** The movement of the hidden state in one step, means over tokens. */
export interface StateChange {
  /** ‖s_n − s_(n−1)‖ / ‖s_(n−1)‖. */
  readonly relative: number;
  /** cos(s_n, s_(n−1)). */
  readonly cosine: number;
}

/** The loss at some depth, or at some threshold. */
export interface DepthPoint {
  /** Mean steps a token. */
  readonly steps: number;
  readonly loss: number;
  /** The threshold; absent if the depth was fixed. */
  readonly threshold?: number;
}

export interface Analysis {
  /** Nats per token when the head reads each exit's state. */
  readonly lossByExit: readonly number[];
  readonly change: readonly StateChange[];
  /** Learned gates by parameter name, one summary a loop. */
  readonly gates: Readonly<Record<string, readonly GateSummary[]>>;
  /** Learned values of recipes for loops; absent in results of earlier versions. */
  readonly loopParts?: LoopParts;
  /** Root mean square of the state at each exit; absent likewise. */
  readonly stateRms?: readonly number[];
  /** The loss with 1, 2, … loops, layers or steps, beyond the trained count too; empty where the count is fixed. */
  readonly lossByLoops: readonly { readonly loops: number; readonly loss: number }[];
  /** Null if no token halts early. */
  readonly halting: Halting | null;
}

export interface Halting {
  readonly meanSteps: number;
  readonly loss: number;
  /** Tokens that took 1, 2, … steps. */
  readonly stepCounts: readonly number[];
  /** Loss against mean depth, for thresholds of the rule; empty where it has none. */
  readonly curve: readonly DepthPoint[];
  /** Input tokens with the most steps and with the fewest, of those that occur often enough. */
  readonly most: readonly TokenSteps[];
  readonly least: readonly TokenSteps[];
}

export interface TokenSteps {
  readonly id: number;
  readonly count: number;
  readonly meanSteps: number;
}

const THRESHOLDS = {
  confidence: [0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99],
  geometric: [0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9],
} as const;
/** A token is listed if it occurs at least so often. */
const LEAST_COUNT = 20;
const LISTED = 12;

/** Analyses a model on the first `tokens` tokens of held-out text. */
export async function analyse(
  model: GPT,
  source: TokenSource,
  tokens: number,
  B: number,
  clock: Clock,
): Promise<Analysis> {
  const part = firstTokens(source, tokens + 1);
  const trained = exitCount(model.config);
  const lossByLoops: { loops: number; loss: number }[] = [];
  if (trained > 1) {
    const most = depthOf(model.config).loopsFreely(model.config) ? 2 * trained : trained;
    for (let loops = 1; loops <= most; loops++) {
      const options = { B, loops, bytes: null, ...everyStep(model.config) };
      lossByLoops.push({ loops, loss: (await evaluate(model, part, options, clock)).loss });
    }
  }
  return {
    ...(await exitBehaviour(model, part, B, clock)),
    gates: await gateSummaries(model),
    loopParts: await loopParts(model),
    lossByLoops,
    halting: model.config.halting === 'none' ? null : await haltingBehaviour(model, part, B, clock),
  };
}

/** The first tokens of a source. */
export function firstTokens(source: TokenSource, count: number): TokenSource {
  return {
    name: source.name,
    length: Math.min(count, source.length),
    read: (offset, n) => source.read(offset, n),
  };
}

async function exitBehaviour(
  model: GPT,
  source: TokenSource,
  B: number,
  clock: Clock,
): Promise<Pick<Analysis, 'lossByExit' | 'change' | 'stateRms'>> {
  const { blockSize: T, vocabSize, nEmbd: C } = model.config;
  const nats: number[] = [];
  const moved: { relative: number; cosine: number }[] = [];
  const squares: number[] = [];
  let rows = 0;
  for (let first = 0; first + B * T < source.length; first += B * T) {
    const offsets = Array.from({ length: B }, (_, b) => first + b * T);
    const batch = await batchAt(source, offsets, T, vocabSize);
    const { entry, exits } = await model.readings(batch.tokens, batch.targets, B);
    let former = entry;
    for (const [n, { losses, state }] of exits.entries()) {
      nats[n] = (nats[n] ?? 0) + total(losses);
      squares[n] = (squares[n] ?? 0) + state.reduce((sum, x) => sum + x * x, 0);
      if (former) {
        moved[n] ??= { relative: 0, cosine: 0 };
        for (let r = 0; r < B * T; r++) {
          const { relative, cosine } = changeOf(former, state, r * C, C);
          moved[n].relative += relative;
          moved[n].cosine += cosine;
        }
      }
      former = state;
    }
    rows += B * T;
    await clock.yield();
  }
  return {
    lossByExit: nats.map((sum) => sum / rows),
    stateRms: squares.map((sum) => Math.sqrt(sum / (rows * C))),
    change: moved.map(({ relative, cosine }) => ({ relative: relative / rows, cosine: cosine / rows })),
  };
}

/** How a row of C channels from `start` on moved between two states. */
export function changeOf(before: Float32Array, after: Float32Array, start: number, C: number): StateChange {
  let [difference, old, young, product] = [0, 0, 0, 0];
  for (let i = start; i < start + C; i++) {
    difference += (after[i] - before[i]) ** 2;
    old += before[i] ** 2;
    young += after[i] ** 2;
    product += before[i] * after[i];
  }
  return {
    relative: old === 0 ? 0 : Math.sqrt(difference / old),
    cosine: old === 0 || young === 0 ? 0 : product / Math.sqrt(old * young),
  };
}

async function haltingBehaviour(model: GPT, source: TokenSource, B: number, clock: Clock): Promise<Halting> {
  const { halting, blockSize: T, vocabSize } = model.config;
  const { stepCounts, meanSteps, loss } = await evaluate(model, source, { B, bytes: null }, clock);
  const curve: DepthPoint[] = [];
  for (const threshold of halting in THRESHOLDS ? THRESHOLDS[halting as keyof typeof THRESHOLDS] : []) {
    const options = { B, exit: { threshold }, bytes: null };
    const found = await evaluate(model, source, options, clock);
    curve.push({ threshold, steps: found.meanSteps!, loss: found.loss });
  }
  const byToken = new Map<number, { count: number; steps: number }>();
  for (let first = 0; first + B * T < source.length; first += B * T) {
    const offsets = Array.from({ length: B }, (_, b) => first + b * T);
    const { tokens, targets } = await batchAt(source, offsets, T, vocabSize);
    using output = model.score(tokens, targets, B);
    const steps = (await output.stepsPerRow!.read()) as Int32Array;
    for (const [r, id] of tokens.entries()) {
      const entry = byToken.get(id) ?? { count: 0, steps: 0 };
      byToken.set(id, { count: entry.count + 1, steps: entry.steps + steps[r] });
    }
  }
  const often = Array.from(byToken, ([id, { count, steps }]) => ({ id, count, meanSteps: steps / count }))
    .filter(({ count }) => count >= LEAST_COUNT)
    .sort((a, b) => b.meanSteps - a.meanSteps);
  return {
    meanSteps: meanSteps!,
    loss,
    stepCounts: stepCounts!,
    curve,
    most: often.slice(0, LISTED),
    least: often.slice(-LISTED).reverse(),
  };
}
