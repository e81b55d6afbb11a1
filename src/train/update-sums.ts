/**
 * The sums of one update: losses and the gradient's squares. They stay in the backend's memory until all are read at
 * once, so that an update waits for only one read.
 */
import type { Storage } from '../backend/backend.js';
import type { LossOutput } from '../models/losses.js';
import { microStepsOf, ownerOfMicroStep } from './micro-step-tree.js';
import { gatherNumbers, type Peers } from './peers.js';
import type { Runtime, Tensor } from '../tensor/tensor.js';

/** The result of a micro-step: means over its tokens, unscaled. */
export interface MicroStep {
  /** Nats per token. */
  readonly loss: number;
  /** See StepEvent; null if absent. */
  readonly auxLoss: number | null;
  readonly meanSteps: number | null;
}

/** Rows to average, and the number of rows that count. */
type Mean = { readonly at: number; readonly count: number } | null;
/** Each sum of the kernel `sum` is two numbers. */
const PARTS = 2;
/** Where the sums of the micro-steps begin: after the gradient's squares, and whether something is not finite. */
const FIRST = PARTS + 1;
/** Sums of a micro-step. */
const SUMS = 3;
/** Encodes an absent mean among numbers that are sent; means are not negative. */
const ABSENT = -1;

export class UpdateSums implements Disposable {
  /** The gradient's squares, whether something is not finite, then the sums of each micro-step. */
  private readonly values: Tensor;
  private readonly means: { loss: Mean; auxLoss: Mean; meanSteps: Mean }[] = [];

  constructor(
    private readonly runtime: Runtime,
    microSteps: number,
  ) {
    this.values = runtime.empty([FIRST + microSteps * SUMS * PARTS]);
    runtime.backend.fill(this.values.storage, 0);
  }

  /** The sum of squares of the gradient (2), the second number being the rounding error of the first. */
  get squares(): Storage {
    return this.part(0, PARTS);
  }

  /** 1 if a loss or the gradient is not finite, else 0 (1). */
  get nonFinite(): Storage {
    return this.part(PARTS, 1);
  }

  /** Sums the rows of the next micro-step, `counted` of which have a target. */
  add({ losses, auxLoss, stepsPerRow }: LossOutput, counted: number): void {
    const { backend } = this.runtime;
    const first = FIRST + this.means.length * SUMS * PARTS;
    const sum = (x: Tensor | null, place: number, count: number | undefined = x?.size): Mean => {
      if (!x || count === undefined) return null;
      const at = first + place * PARTS;
      const out = this.part(at, PARTS);
      if (x === stepsPerRow) backend.sumCounts({ out, counts: x.storage });
      else backend.sum({ out, nonFinite: this.nonFinite, inp: x.storage });
      return { at, count };
    };
    this.means.push({
      loss: sum(losses, 0, counted),
      auxLoss: sum(auxLoss, 1),
      meanSteps: sum(stepsPerRow, 2),
    });
  }

  /** The results of the micro-steps, the norm of the gradient, and whether everything was finite. */
  async read(): Promise<{ microSteps: MicroStep[]; gradNorm: number; finite: boolean }> {
    const values = await this.values.read();
    const mean = (of: Mean) => of && (values[of.at] + values[of.at + 1]) / of.count;
    return {
      microSteps: this.means.map(({ loss, auxLoss, meanSteps }) => ({
        loss: mean(loss)!,
        auxLoss: mean(auxLoss),
        meanSteps: mean(meanSteps),
      })),
      gradNorm: Math.sqrt(values[0]),
      finite: values[PARTS] === 0,
    };
  }

  /**
   * The results of the micro-steps of all processes, in order. If something is not finite on one process, `nonFinite`
   * becomes 1 on all.
   */
  async readTogether(peers: Peers, microSteps: number): ReturnType<UpdateSums['read']> {
    const own = await this.read();
    const { from } = microStepsOf(peers.rank, peers.size, microSteps);
    const numbers = new Array<number>(1 + SUMS * microSteps).fill(ABSENT);
    numbers[0] = Number(own.finite);
    for (const [i, { loss, auxLoss, meanSteps }] of own.microSteps.entries()) {
      numbers.splice(1 + SUMS * (from + i), SUMS, loss, auxLoss ?? ABSENT, meanSteps ?? ABSENT);
    }
    const all = await gatherNumbers(peers, numbers);
    const finite = all.every(([of]) => of === 1);
    if (!finite) this.runtime.backend.fill(this.nonFinite, 1);
    const orNull = (x: number) => (x === ABSENT ? null : x);
    const found = Array.from({ length: microSteps }, (_, microStep) => {
      const rank = ownerOfMicroStep(microStep, peers.size, microSteps);
      const [loss, auxLoss, meanSteps] = all[rank].subarray(1 + SUMS * microStep);
      return { loss, auxLoss: orNull(auxLoss), meanSteps: orNull(meanSteps) };
    });
    return { microSteps: found, gradNorm: own.gradNorm, finite };
  }

  [Symbol.dispose](): void {
    this.values.dispose();
  }

  private part(offset: number, length: number): Storage {
    return this.runtime.backend.slice(this.values.storage, offset, length);
  }
}
