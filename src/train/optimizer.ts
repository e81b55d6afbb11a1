/**
 * AdamW over the flat parameters (Loshchilov & Hutter 2019, arXiv 1711.05101), with nanoGPT's groups: matrices and
 * embeddings are decayed; biases, norms and coefficients are not; the configuration decides for gates. It may hold a
 * part of the parameters' moments, and then updates that part: with Muon, the parameters that Muon does not update.
 */
import type { Storage } from '../backend/backend.js';
import type { Parameters, RoleRange } from '../nn/parameters.js';
import type { Role } from '../tensor/tensor.js';
import type { Range } from './blocks.js';
import type { TrainConfig } from './config.js';
import { type HeldRange, heldInTurn } from './flat-values.js';
import { Muon } from './muon.js';

/** A run of parameters with the same treatment, and the offset of their moments. */
interface Group extends Range {
  readonly decayed: boolean;
  /** Offset in `m` and `v`. */
  readonly at: number;
}

/** Moments by their name in a checkpoint: those of the parameters in these ranges. */
export interface Moments {
  readonly prefix: 'm.' | 'v.';
  readonly held: readonly HeldRange[];
}

export interface Optimizer {
  readonly moments: readonly Moments[];
  /**
   * Updates the parameters, unless `nonFinite (1)` is set; `step` counts updates from 1. `squares` begins with the sum
   * of squares of the whole gradient.
   */
  update(step: number, lr: number, squares: Storage, nonFinite: Storage): void;
  dispose(): void;
}

/** The configuration's optimizer; `held` as for AdamW, and for AdamW only. */
export function createOptimizer(
  parameters: Parameters,
  config: TrainConfig,
  held?: readonly Range[],
): Optimizer {
  if (config.optimizer === 'adamw') return new AdamW(parameters, config, held);
  if (held) throw new Error('createOptimizer: Muon needs whole matrices');
  return new MuonAndAdamW(parameters, config);
}

/** Muon for the matrices of the blocks, at a rate that keeps its ratio to AdamW's, and AdamW for the rest. */
class MuonAndAdamW implements Optimizer {
  readonly moments: readonly Moments[];
  private readonly muon: Muon;
  private readonly rest: AdamW;

  constructor(
    private readonly parameters: Parameters,
    private readonly config: TrainConfig,
  ) {
    this.muon = new Muon(parameters, config);
    this.rest = new AdamW(parameters, config, between(this.muon.held, parameters.storage.length));
    const [m, v] = this.rest.moments;
    this.moments = [{ ...m, held: [...m.held, ...this.muon.held] }, v];
  }

  update(step: number, lr: number, squares: Storage, nonFinite: Storage): void {
    const whole = this.parameters.runtime.backend.slice(squares, 0, 1);
    this.muon.update((this.config.muonLr * lr) / this.config.lr, whole, nonFinite);
    this.rest.update(step, lr, squares, nonFinite);
  }

  dispose(): void {
    this.muon.dispose();
    this.rest.dispose();
  }
}

/** The gaps between ranges within `length` elements. */
function between(ranges: readonly Range[], length: number): Range[] {
  const left: Range[] = [];
  let end = 0;
  for (const next of [...ranges].sort((a, b) => a.offset - b.offset)) {
    if (next.offset > end) left.push({ offset: end, length: next.offset - end });
    end = next.offset + next.length;
  }
  return end < length ? [...left, { offset: end, length: length - end }] : left;
}

export class AdamW implements Optimizer {
  readonly moments: readonly Moments[];
  /** First and second moments of the ranges held, one after another. */
  private readonly m: Storage;
  private readonly v: Storage;
  private readonly groups: readonly Group[];

  /** `held` are the ranges of the flat parameters that it updates, in order; all by default. */
  constructor(
    private readonly parameters: Parameters,
    private readonly config: TrainConfig,
    private readonly held: readonly Range[] = [{ offset: 0, length: parameters.storage.length }],
  ) {
    const { backend } = parameters.runtime;
    const length = held.reduce((sum, range) => sum + range.length, 0);
    this.m = backend.allocate(backend.dtype, length);
    this.v = backend.allocate(backend.dtype, length);
    this.groups = this.grouped(parameters.ranges);
    this.moments = [
      { prefix: 'm.', held: heldInTurn(held, this.m) },
      { prefix: 'v.', held: heldInTurn(held, this.v) },
    ];
  }

  update(step: number, lr: number, squares: Storage, nonFinite: Storage): void {
    const { storage, gradient, runtime } = this.parameters;
    const { beta1, beta2, eps, weightDecay, gradClip } = this.config;
    if (!gradient) throw new Error('AdamW.update: the model was allocated without gradients');
    const whole = runtime.backend.slice(squares, 0, 1);
    for (const { decayed, offset, length, at } of this.groups) {
      runtime.backend.adamw({
        param: runtime.backend.slice(storage, offset, length),
        m: runtime.backend.slice(this.m, at, length),
        v: runtime.backend.slice(this.v, at, length),
        grad: runtime.backend.slice(gradient, offset, length),
        squares: whole,
        nonFinite,
        lr,
        beta1,
        beta2,
        eps,
        weightDecay: decayed ? weightDecay : 0,
        step,
        gradClip,
      });
    }
  }

  dispose(): void {
    const { backend } = this.parameters.runtime;
    backend.free(this.m);
    backend.free(this.v);
  }

  /** The held parts of the ranges of roles; neighbours with the same treatment form one group. */
  private grouped(ranges: readonly RoleRange[]): Group[] {
    const groups: { decayed: boolean; offset: number; length: number; at: number }[] = [];
    let before = 0;
    for (const { offset: first, length: whole } of this.held) {
      for (const { role, offset, length } of ranges) {
        const from = Math.max(first, offset);
        const to = Math.min(first + whole, offset + length);
        if (from >= to) continue;
        const decayed = this.decays(role);
        const last = groups.at(-1);
        if (last?.decayed === decayed && last.offset + last.length === from) last.length += to - from;
        else groups.push({ decayed, offset: from, length: to - from, at: before + from - first });
      }
      before += whole;
    }
    return groups;
  }

  private decays(role: Role): boolean {
    return (
      role === 'matrix' ||
      role === 'embedding' ||
      role === 'position' ||
      (role === 'gate' && this.config.decayGates)
    );
  }
}
