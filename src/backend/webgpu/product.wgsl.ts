/**
 * Products of matrices on a GPU, out (M, N) = Σ_k A·B, in three layouts of the operands. Every element is summed over k
 * from 0 up in one float, however many rows there are and whoever computes it: a row's bits do not depend on the others.
 *
 * Threads alone hold some rows of `out` by some columns in registers. As teams, 16×16 threads hold a tile of 64×64 and
 * share pieces of the operands of 16 along k.
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
  /** Whether B is a weight, which is read again and again between writes. */
  readonly weight?: boolean;
}

/** What decides about a product's shader besides its constants. */
interface Shape {
  readonly layout: Layout;
  /** Whether both operands' rows are whole fours. */
  readonly fours: boolean;
  /** Whether B is packed as f16. */
  readonly packed: boolean;
  /** Fours of rows and of columns of a thread alone; null for teams. */
  readonly alone: readonly [down: number, across: number] | null;
}

/** Edge of a team's tile, and how far along k it reads at a time. */
const [TILE, DEPTH] = [64, 16];
/** Up to so many rows, tiles would be mostly empty. */
const FEW_ROWS = 16;

export function product(engine: Engine, layout: Layout, args: Product): void {
  const { out, a, bias = null, dbias = null, M, N, K, accumulate = false, weight = false } = args;
  const fours = (layout === 'sums' ? M : K) % 4 === 0 && (layout === 'dots' ? K : N) % 4 === 0;
  const packed = engine.half && weight && fours;
  const alone = engine.teams && M > FEW_ROWS ? null : ([M > 4 ? 2 : 1, N > 4 ? 2 : 1] as const);
  const [height, width] = alone ? [4 * alone[0], 4 * alone[1]] : [TILE, TILE];
  engine.run(programOf({ layout, fours, packed, alone }), {
    arrays: { out, a, b: packed ? engine.halves(args.b) : args.b, bias, dbias },
    numbers: { M, N, K },
    constants: { accumulate, half: engine.half },
    count: Math.ceil(M / height) * Math.ceil(N / width),
  });
}

const programs = new Map<string, Program>();

function programOf(shape: Shape): Program {
  const { layout, fours, packed, alone } = shape;
  const who = alone ? `by ${alone.join('×')} fours` : 'by tiles';
  const name = `product in ${layout} ${who}${fours ? ' of fours' : ''}${packed ? ' and halves' : ''}`;
  const known = programs.get(name);
  if (known) return known;
  const type = fours ? 'vec4f' : 'f32';
  const program: Program = {
    name,
    arrays: { out: 'update f32', a: type, b: packed ? 'vec4h' : type, bias: 'f32', dbias: 'update f32' },
    numbers: { M: 'u32', N: 'u32', K: 'u32' },
    ...(alone ? { runs: 'each' } : { runs: 'groups', size: 256 }),
    code: ({ half }: Constants) =>
      [
        rounding(half === true),
        // A thread alone reads whole fours along k, and does not store what lies beyond M and N.
        operands(layout, fours, !(alone && fours)),
        STORE,
        alone ? threadText(layout, ...alone) : teamText(layout, half === true),
      ].join('\n'),
  };
  programs.set(name, program);
  return program;
}

/** What an operand is as a product reads it. */
function rounding(half: boolean): string {
  return half
    ? 'alias Operand = f16;\nfn rounded(x: vec4f) -> vec4f { return vec4f(vec4<f16>(x)); }'
    : 'alias Operand = f32;\nfn rounded(x: vec4f) -> vec4f { return x; }';
}

/**
 * `a4` and `b4`: four neighbours of an operand in memory, of row i from column 4·j on; zeros beyond its end, where that
 * is checked. They are neighbours along k, or along the rows and columns of `out`.
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
  return text.join('\n');
}

/** Writes four elements of a row of `out` from column n on. */
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

const COMPONENTS = ['x', 'y', 'z', 'w'];
const upTo = (n: number): number[] => Array.from({ length: n }, (_, i) => i);

/** A thread with 4·down rows by 4·across columns: `acc_i_j` is row i, four j of its columns. */
function threadText(layout: Layout, down: number, across: number): string {
  const [rows, fours] = [upTo(4 * down), upTo(across)];
  const each = (line: (i: number, j: number) => string) => rows.flatMap((i) => fours.map((j) => line(i, j)));
  const bringRows = rows.map((i) => `let x${i} = rounded(a4(m + ${i}u, k));`);
  const step: Record<Layout, () => string[]> = {
    rows: () => [
      ...bringRows,
      ...COMPONENTS.flatMap((c, q) => [
        ...fours.map((j) => `let y${q}_${j} = rounded(b4(4u * k + ${q}u, n / 4u + ${j}u));`),
        ...each((i, j) => `acc${i}_${j} = acc${i}_${j} + x${i}.${c} * y${q}_${j};`),
      ]),
    ],
    dots: () => [
      ...bringRows,
      ...fours.flatMap((j) =>
        COMPONENTS.flatMap((c, q) => [
          `let y${j}_${q} = rounded(b4(n + ${4 * j + q}u, k));`,
          ...rows.flatMap((i) =>
            COMPONENTS.map((d) => `acc${i}_${j}.${c} = acc${i}_${j}.${c} + x${i}.${d} * y${j}_${q}.${d};`),
          ),
        ]),
      ),
    ],
    sums: () => [
      ...upTo(down).map((i) => `let x${i} = rounded(a4(k, m / 4u + ${i}u));`),
      ...fours.flatMap((j) => [
        `let raw${j} = b4(k, n / 4u + ${j}u);`,
        `let y${j} = rounded(raw${j});`,
        `if (has_dbias && m == 0u) { sum${j} = sum${j} + raw${j}; }`,
      ]),
      ...each((i, j) => `acc${i}_${j} = acc${i}_${j} + x${i >> 2}.${COMPONENTS[i % 4]} * y${j};`),
    ],
  };
  return `
fn each(i: u32) {
  let wide = (p.N + ${4 * across - 1}u) / ${4 * across}u;
  let m = ${4 * down}u * (i / wide);
  let n = ${4 * across}u * (i % wide);
  ${each((i, j) => `var acc${i}_${j} = vec4f();`).join(' ')}
  ${fours.map((j) => `var sum${j} = vec4f();`).join(' ')}
  let end = ${layout === 'sums' ? 'p.K' : '(p.K + 3u) / 4u'};
  for (var k = 0u; k < end; k++) {
    ${step[layout]().join('\n    ')}
  }
  ${each((i, j) => `store(m + ${i}u, n + ${4 * j}u, acc${i}_${j});`).join('\n  ')}
  if (has_dbias && m == 0u) { ${fours.map((j) => `store_bias(n + ${4 * j}u, sum${j});`).join(' ')} }
}`;
}

/**
 * 256 threads, of which (y, x) has rows 4·y and columns 4·x of the tile. tile_a[k][m] and tile_b[k][n] lie k by k: each
 * thread brings one four of each operand.
 */
function teamText(layout: Layout, half: boolean): string {
  const bring = (name: 'a' | 'b', alongK: boolean, first: string) => {
    const [row, four] = alongK ? ['lane / 4u', 'lane % 4u'] : ['lane / 16u', 'lane % 16u'];
    const place = alongK ? `(4u * four + j) * ${TILE}u + row` : `row * ${TILE}u + 4u * four + j`;
    const read = alongK
      ? `${name}4(${first} + row, k / 4u + four)`
      : `${name}4(k + row, ${first} / 4u + four)`;
    return `{
      let row = ${row}; let four = ${four};
      let x = ${read};
      for (var j = 0u; j < 4u; j++) { tile_${name}[${place}] = Operand(x[j]); }
    }`;
  };
  return `
var<workgroup> tile_a: array<Operand, ${TILE * DEPTH}>;
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
      if (has_dbias && m0 == 0u && m == 0u) { sum = sum + ${half ? 'b4(k + i, (n0 + n) / 4u)' : 'b'}; }
    }
  }
  ${[0, 1, 2, 3].map((i) => `store(m0 + m + ${i}u, n0 + n, acc${i});`).join('\n  ')}
  if (has_dbias && m0 == 0u && m == 0u) { store_bias(n0 + n, sum); }
}`;
}
