/**
 * The order in which the gradients of an update's micro-steps are added. Each run of micro-steps is halved; the first
 * half is longer if the number is odd. A run's sum is the sum of its halves' sums. The order depends only on the number
 * of micro-steps, so an update has the same bits on any number of processes.
 */

/** The micro-steps [from, to). */
export interface Run {
  readonly from: number;
  readonly to: number;
}

/** The halves of a run of two or more. */
export function halves({ from, to }: Run): readonly [Run, Run] {
  const middle = from + Math.ceil((to - from) / 2);
  return [
    { from, to: middle },
    { from: middle, to },
  ];
}

/** The micro-steps of a rank; ranks differ by at most one, and rank 0 has at least one. */
export function microStepsOf(rank: number, ranks: number, microSteps: number): Run {
  const first = (r: number) => Math.ceil((r * microSteps) / ranks);
  return { from: first(rank), to: first(rank + 1) };
}

/** The rank that computes a micro-step. */
export function ownerOfMicroStep(microStep: number, ranks: number, microSteps: number): number {
  let rank = 0;
  while (microStepsOf(rank, ranks, microSteps).to <= microStep) rank++;
  return rank;
}

/** The fewest runs of the tree over `microSteps` micro-steps that make up `within`, in order. */
export function runsWithin(within: Run, microSteps: number): Run[] {
  const found: Run[] = [];
  const visit = (run: Run): void => {
    if (run.to <= within.from || run.from >= within.to) return;
    if (run.from >= within.from && run.to <= within.to) found.push(run);
    else halves(run).forEach(visit);
  };
  visit({ from: 0, to: microSteps });
  return found;
}

/** Sums the values of the runs in `given` in the order of the tree over `microSteps`; `add` returns the sum. */
export function sumOverTree<Value>(
  microSteps: number,
  given: (run: Run) => Value | undefined,
  add: (left: Value, right: Value) => Value,
): Value {
  const sum = (run: Run): Value => {
    const value = given(run);
    if (value !== undefined) return value;
    const [left, right] = halves(run);
    return add(sum(left), sum(right));
  };
  return sum({ from: 0, to: microSteps });
}
