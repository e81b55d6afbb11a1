/**
 * When a parameter's gradient is complete: after which node of the backward pass no further one adds to it. This is
 * observed in one pass, and then expected of other passes with the same number of nodes, so that blocks can be
 * exchanged before such a pass ends.
 */
import type { Parameters } from '../nn/parameters.js';
import type { Parameter } from '../tensor/tensor.js';
import type { Range } from './blocks.js';

/** For each block, how many nodes of a backward pass have run when it is complete. */
export type ReadyAfter = readonly number[];

export class GradientSchedule {
  /** By the number of nodes, and whether rows are separate. */
  private readonly known = new Map<string, { readonly blocks: ReadyAfter; readonly lastNode: LastNodes }>();

  constructor(
    private readonly parameters: Parameters,
    private readonly blocks: readonly Range[],
  ) {}

  /** The schedule of passes over `nodes` nodes, with or without separate rows; null before the first such pass. */
  of(nodes: number, rowsApart: boolean): ReadyAfter | null {
    return this.known.get(key(nodes, rowsApart))?.blocks ?? null;
  }

  /**
   * Runs the nodes of a backward pass, and calls `after` with the number that have run after each one. Throws if a node
   * adds to a gradient that was complete in the observed pass.
   */
  async follow(
    nodes: number,
    rowsApart: boolean,
    pass: Iterable<void>,
    after: (ran: number) => Promise<void> | void,
  ): Promise<void> {
    const { runtime } = this.parameters;
    const expected = this.known.get(key(nodes, rowsApart))?.lastNode;
    const lastNode: Map<Parameter, number> = new Map();
    let ran = 0;
    runtime.learns = (parameter) => {
      if (expected && !((expected.get(parameter) ?? -1) >= ran)) {
        throw new Error(
          `${parameter.name}: its gradient was complete, and node ${ran} of ${nodes} adds to it`,
        );
      }
      lastNode.set(parameter, ran);
    };
    try {
      for (const _ of pass) await after(++ran);
    } finally {
      runtime.learns = null;
    }
    if (!expected) this.known.set(key(nodes, rowsApart), { blocks: this.readyAfter(lastNode), lastNode });
  }

  private readyAfter(lastNode: LastNodes): ReadyAfter {
    const ready = new Array<number>(this.blocks.length).fill(0);
    const [{ length: blockLength }] = this.blocks;
    for (const [parameter, node] of lastNode) {
      const offset = this.parameters.offsetOf(parameter);
      const last = Math.floor((offset + parameter.size - 1) / blockLength);
      for (let i = Math.floor(offset / blockLength); i <= last; i++) ready[i] = Math.max(ready[i], node + 1);
    }
    return ready;
  }
}

const key = (nodes: number, rowsApart: boolean): string => `${nodes} ${rowsApart}`;

/** The last node that adds to each parameter's gradient. */
type LastNodes = ReadonlyMap<Parameter, number>;
