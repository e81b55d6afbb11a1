/**
 * Sums over rows into gradients on a GPU: threads over channels each walk a block of rows, then the blocks' sums are
 * added in order. Few rows make one block, whose sums go to the gradient at once.
 */
import type { Storage } from '../backend.js';
import type { Engine } from './engine.js';
import type { Program } from './program.js';

/** Blocks at most. */
const BLOCKS = 128;

export interface Blocks {
  /** Rows of a block. */
  readonly block: number;
  readonly blocks: number;
  /** Teams, each of whose lanes walks a block of a channel. */
  readonly walks: number;
}

export function blocksOf(engine: Engine, R: number, C: number): Blocks {
  const block = Math.max(engine.teams ? 32 : 256, Math.ceil(R / BLOCKS));
  const blocks = Math.ceil(R / block);
  return { block, blocks, walks: blocks * Math.ceil(C / engine.team.lanes) };
}

/**
 * What a lane of team `walk` of a program with the numbers R, C and `block` walks: channel x over the rows from y up to
 * z; block w. None where the channel is not below C.
 */
export const WALK = `
fn walk_of(walk: u32, lane: u32) -> vec4u {
  let chunks = (p.C + L - 1u) / L;
  let b = walk / chunks;
  return vec4u(walk % chunks * L + lane, b * p.block, min((b + 1u) * p.block, p.R), b);
}`;

const ADD: Program = {
  name: 'add sums of blocks',
  arrays: { first: 'update f32', second: 'update f32', sums: 'f32' },
  numbers: { C: 'u32', blocks: 'u32' },
  runs: 'each',
  code: `fn each(c: u32) {
  let step = select(p.C, 2u * p.C, has_second);
  var total = vec2f();
  for (var b = 0u; b < p.blocks; b++) {
    total.x += sums(b * step + c);
    if (has_second) { total.y += sums(b * step + p.C + c); }
  }
  set_first(c, first(c) + total.x);
  if (has_second) { set_second(c, second(c) + total.y); }
}`,
};

/** Adds what blocks have summed, `sums (blocks, 1 or 2, C)`, to one or two gradients of C channels. */
export function addSums(
  engine: Engine,
  { first, second, sums }: { first: Storage; second: Storage | null; sums: Storage },
  { C, blocks }: { C: number; blocks: number },
): void {
  engine.run(ADD, { arrays: { first, second, sums }, numbers: { C, blocks }, count: C });
}
