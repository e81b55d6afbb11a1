/**
 * One body of an ONNX Loop from the recorded passes of a loop, which differ only in values that they take from outside.
 * It works on graphs, and must not import models or backends.
 */
import type { OnnxBody, OnnxNode, OnnxValue } from '../formats/onnx.js';

/** The number of the pass, and the state that it is given. */
const PASS = 'loop.pass';
export const STATE = 'loop.state';
const GOING = 'loop.going';
const SHAPE = ['batch', 'time', 'channels'];

/** One pass, as recorded: values made in it are named as those of every other pass. */
export class LoopPass {
  readonly nodes: OnnxNode[] = [];
  /** Its new content of each cache. */
  readonly caches: OnnxValue[] = [];
  /** The next state. */
  end = '';
  private names = 0;

  fresh(): string {
    return `loop.value.${this.names++}`;
  }

  /** The pass's part of a value (passes, …). */
  own(stacked: string): string {
    const output = this.fresh();
    this.nodes.push({ op: 'Gather', inputs: [stacked, PASS], outputs: [output], attributes: { axis: 0 } });
    return output;
  }
}

/** Values that the graph around a loop makes for it. */
export interface LoopSurroundings {
  /** A value (names, …) of these values. */
  stack(names: readonly string[]): string;
  integer(n: number): string;
}

/**
 * Values that differ from pass to pass are stacked outside, and each pass takes its own. Where they differ no longer
 * after some pass, later passes take that one's, however many run; otherwise more passes than were recorded are an
 * error.
 */
export function loopBody(passes: readonly LoopPass[], around: LoopSurroundings): OnnxBody {
  const [first] = passes;
  const choices = new Map<string, OnnxNode[]>();
  const choose = (names: readonly string[]): string => {
    const last = names[names.length - 1];
    let count = names.length;
    while (count > 1 && names[count - 2] === last) count--;
    if (count === 1) return last;
    const used = names.slice(0, count);
    const value = (nodes: readonly OnnxNode[]) => nodes[nodes.length - 1].outputs[0];
    const known = choices.get(used.join());
    if (known) return value(known);
    const at = choices.size;
    const endless = count < names.length;
    const place = endless ? `loop.place.${at}` : PASS;
    const nodes: OnnxNode[] = [
      {
        op: 'Gather',
        inputs: [around.stack(used), place],
        outputs: [`loop.own.${at}`],
        attributes: { axis: 0 },
      },
    ];
    if (endless) {
      const inputs = [PASS, around.integer(count - 1)];
      nodes.unshift({ op: 'Min', inputs, outputs: [place], attributes: {} });
    }
    choices.set(used.join(), nodes);
    return value(nodes);
  };
  const form = ({ op, inputs, outputs, attributes }: OnnxNode) =>
    JSON.stringify([op, inputs.length, outputs, attributes]);
  const nodes = first.nodes.map((node, i) => {
    const same = passes.map((pass) => pass.nodes[i]);
    if (same.some((other) => !other || form(other) !== form(node))) {
      throw new Error(`recording: the passes of a loop differ at ${node.op}, node ${i}`);
    }
    return { ...node, inputs: node.inputs.map((_, k) => choose(same.map(({ inputs }) => inputs[k]))) };
  });
  const going = { type: 'bool', shape: [] } as const;
  const state = { type: 'float32', shape: SHAPE } as const;
  return {
    inputs: [
      { name: PASS, type: 'int64', shape: [] },
      { name: GOING, ...going },
      { name: STATE, ...state },
    ],
    nodes: [
      { op: 'Identity', inputs: [GOING], outputs: [`${GOING}.on`], attributes: {} },
      ...[...choices.values()].flat(),
      ...nodes,
    ],
    outputs: [{ name: `${GOING}.on`, ...going }, { name: first.end, ...state }, ...first.caches],
  };
}
