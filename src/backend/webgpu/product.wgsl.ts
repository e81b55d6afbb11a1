/**
 * Products of matrices on a GPU, out (M, N) = Σ_k A·B, in three layouts of the operands. Every element is summed over k
 * from 0 up in one float, however many rows there are and whichever thread computes it: a row's bits do not depend on
 * the others.
 *
 * Every thread holds 4 or 8 rows of `out` by 4 or 8 columns in registers. In a team, 16×16 threads hold a tile and
 * share pieces of the operands, 16 along k.
 */
import type { Storage } from '../backend.js';
import type { Engine } from './engine.js';
import { gradientScale, rounding } from './half.wgsl.js';
import type { Constants, Program } from './program.js';
import {
  cutText,
  DEPTH,
  EDGE,
  type Layout,
  MATRIX_TILE,
  type Matrices,
  matrixText,
  tileText,
  upTo,
} from './product-tiles.wgsl.js';

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
  /** What matrix units multiply; null where a team's threads do. */
  readonly matrices: Matrices | null;
  /** Fours of rows and of columns that a thread holds. */
  readonly held: readonly [down: number, across: number];
}

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
  const matrices = team && half ? engine.matrices : null;
  const { held, count } = team ? tilesOf(M, N, matrices !== null) : blocksOf(M, N);
  engine.run(programOf({ layout, fours, packed, team, matrices, held }), {
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

/** The largest tiles of which there are enough; matrix units have one size. */
function tilesOf(
  M: number,
  N: number,
  byMatrices: boolean,
): { readonly held: readonly [number, number]; readonly count: number } {
  const sizes = byMatrices
    ? [MATRIX_TILE]
    : ([
        [2, 2],
        [2, 1],
        [1, 1],
      ] as const);
  const tiles = sizes.map((held) => {
    const [height, width] = held.map((fours) => 4 * EDGE * fours);
    return { held, count: Math.ceil(M / height) * Math.ceil(N / width) };
  });
  return tiles.find(({ count }) => count >= ENOUGH_TEAMS) ?? tiles[tiles.length - 1];
}

const programs = new Map<string, Program>();

function programOf(shape: Shape): Program {
  const { layout, fours, packed, team, matrices, held } = shape;
  const who = matrices ? `matrices (${Object.values(matrices).join()})` : team ? 'tiles' : 'blocks';
  const how = `${fours ? ', by fours' : ''}${packed ? ', of halves' : ''}`;
  const name = `product in ${layout}, ${who} of ${held.join('×')}${how}`;
  const known = programs.get(name);
  if (known) return known;
  const type = fours ? 'vec4f' : 'f32';
  const program: Program = {
    name,
    arrays: { out: 'update f32', a: type, b: packed ? 'vec4h' : type, bias: 'f32', dbias: 'update f32' },
    numbers: { M: 'u32', N: 'u32', K: 'u32', part: 'u32', up: 'f32', down: 'f32' },
    ...(team ? { runs: 'groups', size: EDGE * EDGE } : { runs: 'each' }),
    ...(matrices ? { matrices: true } : {}),
    code: (constants: Constants) =>
      [
        rounding(constants),
        // A thread alone reads whole fours along k, and does not store what lies beyond M and N.
        operands(layout, fours, team || !fours),
        STORE,
        matrices
          ? matrixText(layout, matrices)
          : team
            ? tileText(layout, constants.half === true, ...held)
            : threadText(layout, ...held),
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
