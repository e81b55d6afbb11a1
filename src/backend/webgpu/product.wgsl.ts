/**
 * Products of matrices on a GPU, out (M, N) = Σ_k A·B, in three layouts of the operands. Every element is summed over k
 * from 0 up in one float, however many rows there are and whoever computes it: a row's bits do not depend on the others.
 *
 * Every thread holds 4 or 8 rows of `out` by 4 or 8 columns in registers. In a team, 16×16 threads hold a tile and share
 * pieces of the operands, 16 along k.
 */
import type { Storage } from '../backend.js';
import type { Engine } from './engine.js';
import { gradientScale, rounding } from './half.wgsl.js';
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
  /** Into how many parts a sum is cut, which are computed side by side; 1 by default. Bits depend on it. */
  readonly parts?: number;
  /** Whether B is a weight, which is read again and again between writes. */
  readonly weight?: boolean;
  /** The operand that is a gradient, and of how many rows. */
  readonly gradient?: { readonly of: 'a' | 'b'; readonly rows: number };
}

/** What decides about a product's shader besides its constants. */
interface Shape {
  readonly layout: Layout;
  /** Whether both operands' rows are whole fours. */
  readonly fours: boolean;
  /** Whether B is packed as f16. */
  readonly packed: boolean;
  readonly team: boolean;
  /** Fours of rows and of columns that a thread holds. */
  readonly held: readonly [down: number, across: number];
}

/** Threads along an edge of a team, and how far along k it reads at a time. */
const [EDGE, DEPTH] = [16, 16];
/** Up to so many rows, tiles would be mostly empty. */
const FEW_ROWS = 16;
/** So many teams keep a GPU busy; where larger tiles make fewer of them, tiles are small. */
const ENOUGH_TEAMS = 128;

export function product(engine: Engine, layout: Layout, args: Product): void {
  const {
    a,
    bias = null,
    dbias = null,
    M,
    N,
    K,
    accumulate = false,
    parts = 1,
    weight = false,
    gradient,
  } = args;
  const cut = parts > 1;
  using sums = cut ? engine.scratch(parts * M * N) : null;
  const fours = (layout === 'sums' ? M : K) % 4 === 0 && (layout === 'dots' ? K : N) % 4 === 0;
  const { half } = engine.operands;
  const packed = half && weight && fours;
  const scale = gradient ? gradientScale(engine.operands, gradient.rows) : 1;
  const team = engine.teams && M > FEW_ROWS;
  const { held, count } = team ? tilesOf(M, N) : blocksOf(M, N);
  engine.run(programOf({ layout, fours, packed, team, held }), {
    arrays: { out: sums ?? args.out, a, b: packed ? engine.halves(args.b) : args.b, bias, dbias },
    numbers: { M, N, K, part: DEPTH * Math.ceil(K / parts / DEPTH), up: scale, down: 1 / scale },
    constants: {
      accumulate: accumulate && !cut,
      cut,
      gradient_a: half && gradient?.of === 'a',
      gradient_b: half && gradient?.of === 'b',
      ...engine.operands,
    },
    count: count * parts,
  });
  if (cut) {
    const arrays = { out: args.out, sums };
    engine.run(ADD_PARTS, { arrays, numbers: { parts }, constants: { accumulate }, count: M * N });
  }
}

const ADD_PARTS: Program = {
  name: 'parts of a product',
  arrays: { out: 'update f32', sums: 'f32' },
  numbers: { parts: 'u32' },
  runs: 'each',
  code: `fn each(i: u32) {
  var sum = 0.0;
  for (var part = 0u; part < p.parts; part++) { sum = sum + sums(part * p.count + i); }
  if (accumulate) { sum = sum + out(i); }
  set_out(i, sum);
}`,
};

/** What threads alone hold, and how many there are. */
function blocksOf(
  M: number,
  N: number,
): { readonly held: readonly [number, number]; readonly count: number } {
  const held = [M > 4 ? 2 : 1, N > 4 ? 2 : 1] as const;
  return { held, count: Math.ceil(M / (4 * held[0])) * Math.ceil(N / (4 * held[1])) };
}

/** The largest tiles of which there are enough. */
function tilesOf(M: number, N: number): { readonly held: readonly [number, number]; readonly count: number } {
  const sizes = [
    [2, 2],
    [2, 1],
    [1, 1],
  ] as const;
  const tiles = sizes.map((held) => {
    const [height, width] = held.map((fours) => 4 * EDGE * fours);
    return { held, count: Math.ceil(M / height) * Math.ceil(N / width) };
  });
  return tiles.find(({ count }) => count >= ENOUGH_TEAMS) ?? tiles[2];
}

const programs = new Map<string, Program>();

function programOf(shape: Shape): Program {
  const { layout, fours, packed, team, held } = shape;
  const name = `product in ${layout}, ${team ? 'tiles' : 'blocks'} of ${held.join('×')}${fours ? ', by fours' : ''}${packed ? ', of halves' : ''}`;
  const known = programs.get(name);
  if (known) return known;
  const type = fours ? 'vec4f' : 'f32';
  const program: Program = {
    name,
    arrays: { out: 'update f32', a: type, b: packed ? 'vec4h' : type, bias: 'f32', dbias: 'update f32' },
    numbers: { M: 'u32', N: 'u32', K: 'u32', part: 'u32', up: 'f32', down: 'f32' },
    ...(team ? { runs: 'groups', size: EDGE * EDGE } : { runs: 'each' }),
    code: (constants: Constants) =>
      [
        rounding(constants),
        // A thread alone reads whole fours along k, and does not store what lies beyond M and N.
        operands(layout, fours, team || !fours),
        STORE,
        team ? teamText(layout, constants.half === true, ...held) : threadText(layout, ...held),
      ].join('\n'),
  };
  programs.set(name, program);
  return program;
}

/**
 * `a4` and `b4`: four neighbours of an operand in memory, of row i from column 4·j on; zeros beyond its end, where that
 * is checked. They are neighbours along k, or along the rows and columns of `out`. `read_a` and `read_b` give them as
 * the product reads them.
 */
function operands(layout: Layout, fours: boolean, checked: boolean): string {
  const shapes = {
    a: layout === 'sums' ? ['K', 'M'] : ['M', 'K'],
    b: layout === 'dots' ? ['N', 'K'] : ['K', 'N'],
  };
  const text = Object.entries(shapes).map(([name, [rows, width]]) => {
    const head = `fn ${name}4(i: u32, j: u32) -> vec4f {`;
    const four = `${name}(i * (p.${width} / 4u) + j)`;
    if (!checked) return `${head} return ${four}; }`;
    const read = fours
      ? `x = ${four};`
      : `let at = i * p.${width} + c;
    x.x = ${name}(at);
    if (c + 1u < p.${width}) { x.y = ${name}(at + 1u); }
    if (c + 2u < p.${width}) { x.z = ${name}(at + 2u); }
    if (c + 3u < p.${width}) { x.w = ${name}(at + 3u); }`;
    return `${head}
  var x = vec4f();
  let c = 4u * j;
  if (i < p.${rows} && c < p.${width}) { ${read} }
  return x;
}`;
  });
  const scaled = ['a', 'b'].map(
    (name) => `fn read_${name}(i: u32, j: u32) -> vec4f {
  if (gradient_${name}) { return rounded(${name}4(i, j) * p.up); }
  return rounded(${name}4(i, j));
}`,
  );
  return [...text, ...scaled].join('\n');
}

/** Which of the `pieces` of `out` number i is, and of which part of the sum, which begins and ends along k. */
const cutText = (i: string): string => `
  let piece = select(${i}, ${i} % pieces, cut);
  let begin = select(0u, ${i} / pieces * p.part, cut);
  let end = select(p.K, min(p.K, begin + p.part), cut);
  base = select(0u, ${i} / pieces * p.M * p.N, cut);`;

/** Writes four elements of a row of `out` from column n on. */
const STORE = `
var<private> base: u32;
fn store(m: u32, n: u32, x: vec4f) {
  if (m >= p.M) { return; }
  for (var j = 0u; j < 4u && n + j < p.N; j++) {
    let at = base + m * p.N + n + j;
    var y = x[j];
    if (gradient_a || gradient_b) { y = y * p.down; }
    if (has_bias) { y = y + bias(n + j); }
    if (accumulate) { y = y + out(at); }
    set_out(at, y);
  }
}
fn store_bias(n: u32, x: vec4f) {
  for (var j = 0u; j < 4u && n + j < p.N; j++) { set_dbias(n + j, dbias(n + j) + x[j]); }
}`;

const COMPONENTS = ['x', 'y', 'z', 'w'];
const upTo = (n: number): number[] => Array.from({ length: n }, (_, i) => i);

/** A thread with 4·down rows by 4·across columns: `acc_i_j` is row i, four j of its columns. */
function threadText(layout: Layout, down: number, across: number): string {
  const [rows, fours] = [upTo(4 * down), upTo(across)];
  const each = (line: (i: number, j: number) => string) => rows.flatMap((i) => fours.map((j) => line(i, j)));
  const bringRows = rows.map((i) => `let x${i} = read_a(m + ${i}u, k);`);
  const steps: Record<Layout, () => string[]> = {
    rows: () => [
      ...bringRows,
      ...COMPONENTS.flatMap((c, q) => [
        ...fours.map((j) => `let y${q}_${j} = read_b(4u * k + ${q}u, n / 4u + ${j}u);`),
        ...each((i, j) => `acc${i}_${j} = acc${i}_${j} + x${i}.${c} * y${q}_${j};`),
      ]),
    ],
    dots: () => [
      ...bringRows,
      ...fours.flatMap((j) =>
        COMPONENTS.flatMap((c, q) => [
          `let y${j}_${q} = read_b(n + ${4 * j + q}u, k);`,
          ...rows.flatMap((i) =>
            COMPONENTS.map((d) => `acc${i}_${j}.${c} = acc${i}_${j}.${c} + x${i}.${d} * y${j}_${q}.${d};`),
          ),
        ]),
      ),
    ],
    sums: () => [
      ...upTo(down).map((i) => `let x${i} = read_a(k, m / 4u + ${i}u);`),
      ...fours.flatMap((j) => [
        `let y${j} = read_b(k, n / 4u + ${j}u);`,
        `if (has_dbias && m == 0u) { sum${j} = sum${j} + b4(k, n / 4u + ${j}u); }`,
      ]),
      ...each((i, j) => `acc${i}_${j} = acc${i}_${j} + x${i >> 2}.${COMPONENTS[i % 4]} * y${j};`),
    ],
  };
  const step = layout === 'sums' ? 1 : 4;
  return `
fn each(i: u32) {
  let wide = (p.N + ${4 * across - 1}u) / ${4 * across}u;
  let pieces = wide * ((p.M + ${4 * down - 1}u) / ${4 * down}u);${cutText('i')}
  let m = ${4 * down}u * (piece / wide);
  let n = ${4 * across}u * (piece % wide);
  ${each((i, j) => `var acc${i}_${j} = vec4f();`).join(' ')}
  ${fours.map((j) => `var sum${j} = vec4f();`).join(' ')}
  for (var k = begin / ${step}u; k < (end + ${step - 1}u) / ${step}u; k++) {
    ${steps[layout]().join('\n    ')}
  }
  ${each((i, j) => `store(m + ${i}u, n + ${4 * j}u, acc${i}_${j});`).join('\n  ')}
  if (has_dbias && m == 0u) { ${fours.map((j) => `store_bias(n + ${4 * j}u, sum${j});`).join(' ')} }
}`;
}

/**
 * 256 threads, of which (y, x) has rows 4·y and columns 4·x of the tile, and of its other quarters where there are some.
 * tile_a[k][m] and tile_b[k][n] lie k by k.
 */
function teamText(layout: Layout, half: boolean, down: number, across: number): string {
  const [height, width] = [4 * EDGE * down, 4 * EDGE * across];
  const [rows, fours] = [upTo(4 * down), upTo(across)];
  const each = (line: (i: number, j: number) => string) => rows.flatMap((i) => fours.map((j) => line(i, j)));
  const bring = (name: 'a' | 'b', alongK: boolean, first: string, edge: number, quarter: number) => {
    const place = alongK ? `(4u * four + j) * ${edge}u + row` : `row * ${edge}u + 4u * four + j`;
    const read = alongK
      ? `read_${name}(${first} + row, k / 4u + four)`
      : `read_${name}(k + row, ${first} / 4u + four)`;
    return `{
      let row = ${alongK ? `lane / 4u + ${64 * quarter}u` : 'lane / 16u'};
      let four = ${alongK ? 'lane % 4u' : `lane % 16u + ${16 * quarter}u`};
      let x = ${read};
      for (var j = 0u; j < 4u; j++) { tile_${name}[${place}] = Operand(x[j]); }
    }`;
  };
  const bringAll = (name: 'a' | 'b', alongK: boolean, first: string, edge: number, quarters: number) =>
    upTo(quarters).map((quarter) => bring(name, alongK, first, edge, quarter));
  const rowOf = (i: number) => `m + ${64 * (i >> 2) + (i % 4)}u`;
  const fourOf = (j: number) => [0, 1, 2, 3].map((c) => `f32(tile_b[b0 + ${64 * j + c}u])`).join(', ');
  const first = 'has_dbias && m0 == 0u && m == 0u';
  const columns = (j: number) => `n0 + n + ${64 * j}u`;
  return `
var<workgroup> tile_a: array<Operand, ${height * DEPTH}>;
var<workgroup> tile_b: array<Operand, ${width * DEPTH}>;
fn group(g: u32, lane: u32) {
  let wide = (p.N + ${width - 1}u) / ${width}u;
  let pieces = wide * ((p.M + ${height - 1}u) / ${height}u);${cutText('g')}
  let m0 = ${height}u * (piece / wide);
  let n0 = ${width}u * (piece % wide);
  let m = 4u * (lane / ${EDGE}u);
  let n = 4u * (lane % ${EDGE}u);
  ${each((i, j) => `var acc${i}_${j} = vec4f();`).join(' ')}
  ${fours.map((j) => `var sum${j} = vec4f();`).join(' ')}
  for (var k = begin; k < end; k += ${DEPTH}u) {
    workgroupBarrier();
    ${bringAll('a', layout !== 'sums', 'm0', height, down).join('\n    ')}
    ${bringAll('b', layout === 'dots', 'n0', width, across).join('\n    ')}
    workgroupBarrier();
    for (var i = 0u; i < ${DEPTH}u; i++) {
      let a0 = i * ${height}u;
      let b0 = i * ${width}u + n;
      ${fours.map((j) => `let y${j} = vec4f(${fourOf(j)});`).join('\n      ')}
      ${rows.map((i) => `let x${i} = f32(tile_a[a0 + ${rowOf(i)}]);`).join('\n      ')}
      ${each((i, j) => `acc${i}_${j} = acc${i}_${j} + x${i} * y${j};`).join('\n      ')}
      if (${first}) {
        ${fours.map((j) => `sum${j} = sum${j} + ${half ? `b4(k + i, (${columns(j)}) / 4u)` : `y${j}`};`).join(' ')}
      }
    }
  }
  ${each((i, j) => `store(m0 + ${rowOf(i)}, ${columns(j)}, acc${i}_${j});`).join('\n  ')}
  if (${first}) { ${fours.map((j) => `store_bias(${columns(j)}, sum${j});`).join(' ')} }
}`;
}
