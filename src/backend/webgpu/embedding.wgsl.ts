/** Token and position embeddings on a GPU. */
import { byFours } from './fours.js';
import type { Program } from './program.js';
import type { GpuKernels } from './kernels.js';

const FORWARD = byFours((type) => ({
  name: 'embedding',
  arrays: { out: `update ${type}`, tokens: 'i32', positions: 'i32', wte: type, wpe: type },
  numbers: { C: 'u32' },
  runs: 'each',
  code: `fn each(i: u32) {
  let r = i / p.C;
  let c = i % p.C;
  var x = wte(u32(tokens(r)) * p.C + c);
  if (has_wpe) { x = x + wpe(u32(positions(r)) * p.C + c); }
  set_out(i, x);
}`,
}));

/**
 * The gradient of a table's row is added up by the team of the first row that reads it, over the rows in order. Teams
 * have `span` channels each.
 */
const BACKWARD: Program = {
  name: 'embeddingBackward',
  arrays: { dwte: 'update f32', dwpe: 'update f32', dout: 'f32', tokens: 'i32', positions: 'i32' },
  numbers: { R: 'u32', C: 'u32', span: 'u32' },
  runs: 'rows',
  code: ['token', 'position']
    .map((what) => {
      const table = what === 'token' ? 'dwte' : 'dwpe';
      return `
fn add_${what}(r: u32, lane: u32, begin: u32, end: u32) {
  let own = ${what}s(r);
  var former = 0.0;
  for (var q = lane; q < r && former == 0.0; q += L) {
    if (${what}s(q) == own) { former = 1.0; }
  }
  if (team_max(former, lane) > 0.0) { return; }
  for (var q = r; q < p.R; q++) {
    if (${what}s(q) != own) { continue; }
    for (var c = begin + lane; c < end; c += L) {
      let at = u32(own) * p.C + c;
      set_${table}(at, ${table}(at) + dout(q * p.C + c));
    }
  }
}`;
    })
    .join('')
    .concat(`
fn row(i: u32, lane: u32) {
  let spans = (p.C + p.span - 1u) / p.span;
  let begin = p.span * (i % spans);
  let end = min(p.C, begin + p.span);
  add_token(i / spans, lane, begin, end);
  if (has_dwpe) { add_position(i / spans, lane, begin, end); }
}`),
};

/** Channels of a team: few enough that there are many teams, and enough to be worth finding the rows for. */
const SPAN = 256;

export const embedding = {
  embeddingForward(engine, { out, tokens, positions, wte, wpe, R, C }) {
    const four = C % 4 === 0;
    const width = four ? C / 4 : C;
    engine.run(four ? FORWARD.fours : FORWARD.elements, {
      arrays: { out, tokens, positions: wpe && positions, wte, wpe },
      numbers: { C: width },
      count: R * width,
    });
  },

  embeddingBackward(engine, { dwte, dwpe, dout, tokens, positions, R, C }) {
    const span = engine.teams ? SPAN : C;
    engine.run(BACKWARD, {
      arrays: { dwte, dwpe, dout, tokens, positions: dwpe && positions },
      numbers: { R, C, span },
      count: R * Math.ceil(C / span),
    });
  },
} satisfies Partial<GpuKernels>;
