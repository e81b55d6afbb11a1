/**
 * Products of matrices on a GPU, out (M, N) = Σ_k A·B, in three layouts of the operands. Every element is summed over k
 * from 0 up in one float, however many rows there are and whoever computes it: a row's bits do not depend on the others.
 *
 * Threads alone hold 4×4 elements of `out` in registers. As teams, 16×16 threads hold a tile of 64×64 and share pieces of
 * the operands of 16 along k.
 */
import type { Storage } from '../backend.js';
import type { Engine } from './engine.js';
import type { Constants, Program } from './program.js';

/**
 * - `rows`: A (M, K), B (K, N)
 * - `dots`: A (M, K), B (N, K)
 * - `sums`: A (K, M), B (K, N)
 */
export type Layout = 'rows' | 'dots' | 'sums';

export interface Product {
  readonly out: Storage;
  readonly a: Storage;
  readonly b: Storage;
  /** Added to every row. */
  readonly bias?: Storage | null;
  /** Receives the sums of B's columns, added to what is there; with `sums` alone. */
  readonly dbias?: Storage | null;
  readonly M: number;
  readonly N: number;
  readonly K: number;
  readonly accumulate?: boolean;
}

/** Up to so many rows, tiles would be mostly empty. */
const FEW_ROWS = 16;

export function product(engine: Engine, layout: Layout, args: Product): void {
  const { out, a, b, bias = null, dbias = null, M, N, K, accumulate = false } = args;
  const fours = (layout === 'sums' ? M : K) % 4 === 0 && (layout === 'dots' ? K : N) % 4 === 0;
  const tiles = engine.teams && M > FEW_ROWS;
  const program = programs[tiles ? 'tiles' : 'alone'](layout, fours);
  const count = tiles ? Math.ceil(M / TILE) * Math.ceil(N / TILE) : Math.ceil(M / 4) * Math.ceil(N / 4);
  engine.run(program, {
    arrays: { out, a, b, bias, dbias },
    numbers: { M, N, K },
    constants: { accumulate, half: engine.half },
    count,
  });
}

/** Edge of a tile, and how far along k a team reads at a time. */
const [TILE, DEPTH] = [64, 16];

const known = new Map<string, Program>();
const programs = { alone: remember('alone', alone), tiles: remember('tiles', tiles) };

function remember(kind: string, make: (layout: Layout, half: boolean) => string) {
  return (layout: Layout, fours: boolean): Program => {
    const name = `product ${kind} ${layout}${fours ? ' by fours' : ''}`;
    let program = known.get(name);
    if (!program) {
      const type = fours ? 'vec4f' : 'f32';
      program = {
        name,
        arrays: { out: 'update f32', a: type, b: type, bias: 'f32', dbias: 'update f32' },
        numbers: { M: 'u32', N: 'u32', K: 'u32' },
        ...(kind === 'tiles' ? { runs: 'groups', size: 256 } : { runs: 'each' }),
        code: ({ half }: Constants) =>
          [rounding(half === true), operands(layout, fours), STORE, make(layout, half === true)].join('\n'),
      };
      known.set(name, program);
    }
    return program;
  };
}

/** What an operand is as a product reads it. */
function rounding(half: boolean): string {
  return half
    ? 'alias Operand = f16;\nfn rounded(x: vec4f) -> vec4f { return vec4f(vec4<f16>(x)); }'
    : 'alias Operand = f32;\nfn rounded(x: vec4f) -> vec4f { return x; }';
}

/**
 * `a4` and `b4`: four neighbours of an operand in memory, of row i from column 4·j on; zeros beyond its end. They are
 * neighbours along k, or along the rows and columns of `out`.
 */
function operands(layout: Layout, fours: boolean): string {
  const shapes = {
    a: layout === 'sums' ? ['K', 'M'] : ['M', 'K'],
    b: layout === 'dots' ? ['N', 'K'] : ['K', 'N'],
  };
  const text = Object.entries(shapes).map(([name, [rows, width]]) => {
    const read = fours
      ? `x = ${name}(i * (p.${width} / 4u) + j);`
      : `let at = i * p.${width} + c;
    x.x = ${name}(at);
    if (c + 1u < p.${width}) { x.y = ${name}(at + 1u); }
    if (c + 2u < p.${width}) { x.z = ${name}(at + 2u); }
    if (c + 3u < p.${width}) { x.w = ${name}(at + 3u); }`;
    return `fn ${name}4(i: u32, j: u32) -> vec4f {
  var x = vec4f();
  let c = 4u * j;
  if (i < p.${rows} && c < p.${width}) { ${read} }
  return x;
}`;
  });
  return text.join('\n');
}

/** Writes elements of a row of `out` from column n on. */
const STORE = `
fn store(m: u32, n: u32, x: vec4f) {
  if (m >= p.M) { return; }
  for (var j = 0u; j < 4u && n + j < p.N; j++) {
    let at = m * p.N + n + j;
    var y = x[j];
    if (has_bias) { y = y + bias(n + j); }
    if (accumulate) { y = y + out(at); }
    set_out(at, y);
  }
}
fn store_bias(n: u32, x: vec4f) {
  for (var j = 0u; j < 4u && n + j < p.N; j++) { set_dbias(n + j, dbias(n + j) + x[j]); }
}`;

/** Four rows of `out` by four columns: acc0 to acc3. */
const ROWS = [0, 1, 2, 3];
const COMPONENTS = ['x', 'y', 'z', 'w'];

function alone(layout: Layout): string {
  const step: Record<Layout, string> = {
    rows: [
      ...ROWS.map((i) => `let a${i} = rounded(a4(m + ${i}u, k));`),
      ...COMPONENTS.flatMap((c, j) => [
        `let b${j} = rounded(b4(4u * k + ${j}u, n / 4u));`,
        ...ROWS.map((i) => `acc${i} = acc${i} + a${i}.${c} * b${j};`),
      ]),
    ].join('\n'),
    dots: [
      ...ROWS.map((i) => `let a${i} = rounded(a4(m + ${i}u, k));`),
      ...COMPONENTS.flatMap((c, j) => [
        `let b${j} = rounded(b4(n + ${j}u, k));`,
        ...ROWS.flatMap((i) =>
          COMPONENTS.map((d) => `acc${i}.${c} = acc${i}.${c} + a${i}.${d} * b${j}.${d};`),
        ),
      ]),
    ].join('\n'),
    sums: [
      'let a0 = rounded(a4(k, m / 4u));',
      'let b0 = b4(k, n / 4u);',
      'let b = rounded(b0);',
      ...COMPONENTS.map((c, i) => `acc${i} = acc${i} + a0.${c} * b;`),
      'if (has_dbias && m == 0u) { sum = sum + b0; }',
    ].join('\n'),
  };
  return `fn each(i: u32) {
  let across = (p.N + 3u) / 4u;
  let m = 4u * (i / across);
  let n = 4u * (i % across);
  var acc0 = vec4f(); var acc1 = vec4f(); var acc2 = vec4f(); var acc3 = vec4f();
  var sum = vec4f();
  let end = ${layout === 'sums' ? 'p.K' : '(p.K + 3u) / 4u'};
  for (var k = 0u; k < end; k++) {
    ${step[layout]}
  }
  store(m, n, acc0); store(m + 1u, n, acc1); store(m + 2u, n, acc2); store(m + 3u, n, acc3);
  if (has_dbias && m == 0u) { store_bias(n, sum); }
}`;
}

/**
 * 256 threads, thread (y, x) of 16×16 with rows 4·y and columns 4·x of the tile. `tile_a[k][m]` and `tile_b[k][n]` hold
 * fours along m and n.
 */
function tiles(layout: Layout, half: boolean): string {
  // Each of 256 threads brings one four of each operand: 16×64 elements.
  const along = `let row = lane / 4u; let four = lane % 4u; // a four along k
      for (var j = 0u; j < 4u; j++) { NAME[(4u * four + j) * 64u + row] = Operand(x[j]); }`;
  const across = `let row = lane / 16u; let four = lane % 16u; // a four along the edge
      for (var j = 0u; j < 4u; j++) { NAME[row * 64u + 4u * four + j] = Operand(x[j]); }`;
  const bring = (name: 'a' | 'b', alongK: boolean, first: string) =>
    alongK
      ? `{ let x = ${name}4(${first} + lane / 4u, k / 4u + lane % 4u);
      ${along.replace('NAME', `tile_${name}`)} }`
      : `{ let x = ${name}4(k + lane / 16u, ${first} / 4u + lane % 16u);
      ${across.replace('NAME', `tile_${name}`)} }`;
  return `var<workgroup> tile_a: array<Operand, ${TILE * DEPTH}>;
var<workgroup> tile_b: array<Operand, ${TILE * DEPTH}>;
fn group(g: u32, lane: u32) {
  let wide = (p.N + ${TILE - 1}u) / ${TILE}u;
  let m0 = ${TILE}u * (g / wide);
  let n0 = ${TILE}u * (g % wide);
  let m = 4u * (lane / 16u);
  let n = 4u * (lane % 16u);
  var acc0 = vec4f(); var acc1 = vec4f(); var acc2 = vec4f(); var acc3 = vec4f();
  var sum = vec4f();
  for (var k = 0u; k < p.K; k += ${DEPTH}u) {
    workgroupBarrier();
    ${bring('a', layout !== 'sums', 'm0')}
    ${bring('b', layout === 'dots', 'n0')}
    workgroupBarrier();
    for (var i = 0u; i < ${DEPTH}u; i++) {
      let a0 = i * ${TILE}u + m;
      let b0 = i * ${TILE}u + n;
      let b = vec4f(f32(tile_b[b0]), f32(tile_b[b0 + 1u]), f32(tile_b[b0 + 2u]), f32(tile_b[b0 + 3u]));
      acc0 = acc0 + f32(tile_a[a0]) * b;
      acc1 = acc1 + f32(tile_a[a0 + 1u]) * b;
      acc2 = acc2 + f32(tile_a[a0 + 2u]) * b;
      acc3 = acc3 + f32(tile_a[a0 + 3u]) * b;
      if (has_dbias && m == 0u && m0 == 0u) { sum = sum + ${half ? 'b4(k + i, (n0 + n) / 4u)' : 'b'}; }
    }
  }
  store(m0 + m, n0 + n, acc0);
  store(m0 + m + 1u, n0 + n, acc1);
  store(m0 + m + 2u, n0 + n, acc2);
  store(m0 + m + 3u, n0 + n, acc3);
  if (has_dbias && m == 0u && m0 == 0u) { store_bias(n0 + n, sum); }
}`;
}
