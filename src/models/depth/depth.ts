/** The contract of a depth rule: how the hidden state passes through the blocks. Each rule is a file in this folder. */
import { type Block, PreNormBlock } from '../../nn/block.js';
import type { ParameterScope } from '../../nn/parameters.js';
import { alias } from '../../tensor/ops.js';
import type { Tensor } from '../../tensor/tensor.js';
import type { ForwardContext } from '../context.js';
import { initialStd, type ModelConfig } from '../model-fields.js';

/**
 * The properties of a depth rule that the rest of a model reads: what it needs from other parts, and what it supports.
 */
export interface DepthKind {
  /** Fields of the configuration that not all depths read. */
  readonly reads: readonly (keyof ModelConfig)[];
  /** Throws ConfigError when valid fields do not fit together; `input` has the fields that the user gave. */
  check(config: ModelConfig, input: Partial<ModelConfig>, where: string): void;
  /** Number of states that the head can read, including the last. */
  exits(config: ModelConfig): number;
  /** Block applications in one forward pass, with `loops` loops or steps if there is a choice. */
  applications(config: ModelConfig, loops?: number): number;
  /** Whether its updates have gates. */
  hasGates(config: ModelConfig): boolean;
  /** Whether it can run any number of loops. */
  loopsFreely(config: ModelConfig): boolean;
  /** Whether positions are embedded by learned weights; otherwise the depth signals them. */
  readonly learnsPositions: boolean;
  /** The token embedding's initial standard deviation, and the factor on its output. */
  embedding(config: ModelConfig): { readonly std: number; readonly scale: number };
  /** The kind of block, and whether a norm comes before the head. */
  block(config: ModelConfig): { readonly Block: typeof PreNormBlock; readonly finalNorm: boolean };
  /** The MLP's default activation. */
  readonly activation: ModelConfig['activation'];
  /** The model type under which Hugging Face's transformers run it if it has GPT-2's parts; null for none. */
  readonly huggingFace: 'gpt2' | 'loopnn' | null;
  create(scope: ParameterScope, blocks: readonly Block[], config: ModelConfig): Depth;
}

/** The properties of GPT-2's depth, and the defaults of the others. */
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
  /** Carries `x (R, C)` through the blocks, through `walk` if the depth has exits. */
  run(x: Tensor, ctx: ForwardContext, walk: Walk): DepthOutput;
}

/** Takes a state from exit to exit in `count` steps; some rows may take fewer. */
export type Walk = (x: Tensor, count: number, step: Step) => DepthOutput;

/**
 * One step between two exits: step n, counted from 0, on the state (R, C), for the rows of `ctx`; the caller owns the
 * result.
 */
export type Step = (x: Tensor, n: number, ctx: ForwardContext) => Tensor;

/** The result of a pass through the blocks. */
export class DepthOutput implements Disposable {
  /** The state that the head reads (R, C); the last exit if exits were requested. */
  readonly x: Tensor;
  /** The states at each exit in order, including the last; empty unless requested. */
  readonly exits: readonly Tensor[];
  /** The input of the first step (R, C), if exits were requested. */
  readonly entry: Tensor | null;
  /** If the state is several streams: the streams (R, n·C) whose means `entry` and `exits` are, in this order. */
  readonly streams: readonly Tensor[];
  /** ACT's ponder cost of each row, in steps (R); null for none. Its gradient is already on the tape. */
  readonly auxLoss: Tensor | null;
  /** Steps that each row took before it halted (R), i32; null when all rows took every step. */
  readonly stepsPerRow: Tensor | null;
  /** Finishes an exit's state for the head; the caller owns the result. */
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
