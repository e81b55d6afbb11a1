/**
 * The tape: the ops of one forward pass in order of execution, walked backwards for the gradients. It must not import
 * ops. The walk is a loop, not a recursion, so that a looped network's depth needs no stack.
 */
import type { Storage } from '../backend/backend.js';
import type { Buffer } from './pool.js';
import { Parameter, type Runtime, type Tensor } from './tensor.js';

/** Turns the gradient of an op's output into the gradients of its inputs. */
export type Backward = (dout: Buffer) => void;

interface Node {
  readonly output: Tensor | null;
  readonly saved: readonly Buffer[];
  readonly backward: Backward | (() => void);
}

/** Where a backward kernel writes a gradient: it overwrites or adds to `storage`. */
export interface GradTarget {
  readonly storage: Storage;
  readonly accumulate: boolean;
}

export class Tape {
  private readonly nodes: Node[] = [];

  constructor(private readonly runtime: Runtime) {}

  /** Records an op; `saved` are the tensors whose values `backward` reads, kept alive until it has run. */
  record(output: Tensor, saved: readonly Tensor[], backward: Backward): void {
    this.nodes.push({ output, saved: saved.map((x) => x.buffer.retain()), backward });
  }

  /** Records the end of a loss: `backward` always runs, and provides its own gradient. */
  recordLoss(gradient: Tensor, backward: () => void): void {
    this.nodes.push({ output: null, saved: [gradient.buffer.retain()], backward });
  }

  /** Nodes still to walk. */
  get length(): number {
    return this.nodes.length;
  }

  /** Walks the tape backwards, emptying it. Gradients arrive in the parameters and in leaves' `grad`. */
  backward(): void {
    for (const _ of this.walk());
  }

  /** The same, node by node. */
  *walk(): Generator<void> {
    for (let node = this.nodes.pop(); node; node = this.nodes.pop()) {
      const { output, saved, backward } = node;
      const dout = output?.grad;
      if (output) output.grad = null;
      try {
        if (!output) (backward as () => void)();
        else if (dout) backward(dout);
      } finally {
        dout?.release();
        for (const buffer of saved) buffer.release();
      }
      yield;
    }
  }

  /** Drops what was recorded without walking it. */
  clear(): void {
    for (const { output, saved } of this.nodes.splice(0)) {
      output?.grad?.release();
      if (output) output.grad = null;
      for (const buffer of saved) buffer.release();
    }
  }

  /** Where to write the gradient of `x`: its parameter's buffer, its existing buffer, or a new one. */
  target(x: Tensor): GradTarget {
    if (x instanceof Parameter) return { storage: parameterGradient(x), accumulate: true };
    if (!x.grad) {
      x.grad = this.runtime.pool.take(x.storage.dtype, x.size);
      return { storage: x.grad.storage, accumulate: false };
    }
    if (x.grad.shared) {
      const own = this.runtime.pool.take(x.storage.dtype, x.size);
      this.runtime.backend.copy(own.storage, x.grad.storage);
      x.grad.release();
      x.grad = own;
    }
    return { storage: x.grad.storage, accumulate: true };
  }

  /** Adds `dout` as it is to the gradient of `x`, sharing the buffer where that saves a copy. */
  pass(x: Tensor, dout: Buffer): void {
    if (x instanceof Parameter || x.grad) {
      this.runtime.backend.accumulate({ out: this.target(x).storage, inp: dout.storage });
    } else {
      x.grad = dout.retain();
    }
  }
}

/** The gradient storage of a parameter that is being trained. */
export function parameterGradient(parameter: Parameter): Storage {
  if (!parameter.gradient)
    throw new Error(`${parameter.name}: recorded on a tape, but allocated without gradients`);
  parameter.runtime.learns?.(parameter.matrix ?? parameter);
  return parameter.gradient;
}
