/** The contract of a depth rule: how the hidden state passes through the blocks. Each rule is one file beside this. */
import { type Block, PreNormBlock } from '../../nn/block.js';
import type { ParameterScope } from '../../nn/parameters.js';
import { alias } from '../../tensor/ops.js';
import type { Tensor } from '../../tensor/tensor.js';
import type { ForwardContext } from '../context.js';
import { initialStd, type ModelConfig } from '../model-fields.js';

/** A depth rule as the rest of a model sees it: what it asks of the parts around it, and what can be done with it. */
export interface DepthKind {
  /** Fields of the configuration that not all depths read. */
  readonly reads: readonly (keyof ModelConfig)[];
  /** Throws ConfigError where fields that are right on their own do not fit together; `input` is what was given of them. */
  check(config: ModelConfig, input: Partial<ModelConfig>, where: string): void;
  /** States that the head could read, the last one included. */
  exits(config: ModelConfig): number;
  /** Runs of a block in one forward pass, with `loops` loops or steps where there is a choice. */
  applications(config: ModelConfig, loops?: number): number;
  /** Whether its updates have gates. */
  hasGates(config: ModelConfig): boolean;
  /** Whether it can loop as often as one likes. */
  loopsFreely(config: ModelConfig): boolean;
  /** Whether positions are embedded by learned weights; otherwise the depth signals them. */
  readonly learnsPositions: boolean;
  /** The token embedding's initial standard deviation, and the factor on what it gives. */
  embedding(config: ModelConfig): { readonly std: number; readonly scale: number };
  /** The kind of block, and whether a norm comes before the head. */
  block(config: ModelConfig): { readonly Block: typeof PreNormBlock; readonly finalNorm: boolean };
  /** The MLP's activation where a configuration names none. */
  readonly activation: ModelConfig['activation'];
  /** The model type that Hugging Face's transformers run it as with GPT-2's parts; null for none. */
  readonly huggingFace: 'gpt2' | 'loopnn' | null;
  create(scope: ParameterScope, blocks: readonly Block[], config: ModelConfig): Depth;
}

/** The properties of GPT-2's depth, and of others where they say nothing else. */
export const AS_GPT2: Omit<DepthKind, 'create'> = {
  reads: [],
  check() {},
  exits: () => 1,
  applications: ({ nLayer }) => nLayer,
  hasGates: () => false,
  loopsFreely: () => false,
  learnsPositions: true,
  embedding: (config) => ({ std: initialStd(config), scale: 1 }),
  block: () => ({ Block: PreNormBlock, finalNorm: true }),
  activation: 'gelu_new',
  huggingFace: null,
};

export interface Depth {
  /** Throws ConfigError for a loop count that this depth cannot run. */
  requireLoops(loops: number): void;
  /** Carries `x (R, C)` through the blocks, by way of `walk` where the depth has exits. */
  run(x: Tensor, ctx: ForwardContext, walk: Walk): DepthOutput;
}

/** Takes a state from exit to exit in so many steps, some rows perhaps in fewer. */
export type Walk = (x: Tensor, count: number, step: Step) => DepthOutput;

/** One step between two exits: step n, counted from 0, on the state (R, C), for the rows of `ctx`; the caller owns the result. */
export type Step = (x: Tensor, n: number, ctx: ForwardContext) => Tensor;

/** What a pass through the blocks leaves. */
export class DepthOutput implements Disposable {
  /** The state that the head reads (R, C); where exits were asked for, the last of them. */
  readonly x: Tensor;
  /** The states at each exit in order, the last one included; empty where nobody asked for them. */
  readonly exits: readonly Tensor[];
  /** The state that the first step was given (R, C), where exits were asked for. */
  readonly entry: Tensor | null;
  /** Where the state is several streams: those that `entry` and `exits` are the means of (R, n·C), in this order. */
  readonly streams: readonly Tensor[];
  /** ACT's ponder cost of each row, in steps (R); null for none. Its gradient is on the tape already. */
  readonly auxLoss: Tensor | null;
  /** Steps that each row took before it halted (R), i32; null where all took every step. */
  readonly stepsPerRow: Tensor | null;
  /** What is left to do to an exit's state before the head reads it; the caller owns the result. */
  readonly finish: (state: Tensor) => Tensor;

  constructor({
    x,
    exits = [],
    entry = null,
    streams = [],
    auxLoss = null,
    stepsPerRow = null,
    finish = alias,
  }: Pick<DepthOutput, 'x'> & Partial<DepthOutput>) {
    this.x = x;
    this.exits = exits;
    this.entry = entry;
    this.streams = streams;
    this.auxLoss = auxLoss;
    this.stepsPerRow = stepsPerRow;
    this.finish = finish;
  }

  [Symbol.dispose](): void {
    const { x, exits, entry, streams, auxLoss, stepsPerRow } = this;
    for (const tensor of [x, ...exits, entry, ...streams, auxLoss, stepsPerRow]) tensor?.dispose();
  }
}
