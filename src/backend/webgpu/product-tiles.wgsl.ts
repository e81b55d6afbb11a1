/**
 * Products of matrices by workgroups that share memory, in WGSL: tiles of `out`, for which its threads bring pieces of
 * the operands, and how these are multiplied: by every thread for itself, or by the matrix units of a GPU.
 */

/**
 * - `rows`: A (M, K), B (K, N)
 * - `dots`: A (M, K), B (N, K)
 * - `sums`: A (K, M), B (K, N)
 */
export type Layout = 'rows' | 'dots' | 'sums';

/** Threads along an edge of a team, and how far along k it reads at a time. */
export const [EDGE, DEPTH] = [16, 16];

export const upTo = (n: number): number[] => Array.from({ length: n }, (_, i) => i);

/** Which of the `pieces` of `out` number i is, and of which part of the sum, which begins and ends along k. */
export const cutText = (i: string): string => `
  let piece = select(${i}, ${i} % pieces, cut);
  let begin = select(0u, ${i} / pieces * p.part, cut);
  let end = select(p.K, min(p.K, begin + p.part), cut);
  base = select(0u, ${i} / pieces * p.M * p.N, cut);`;

/**
 * 256 threads bring pieces of both operands for a tile of `out` at (m0, n0): tile_a[k][m] and tile_b[k][n], which lie k
 * by k, of k and the 15 that follow. Edges are multiples of 64.
 */
function bringTiles(layout: Layout, [height, width]: readonly [number, number]): string {
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
  return [
    ...upTo(height / 64).map((quarter) => bring('a', layout !== 'sums', 'm0', height, quarter)),
    ...upTo(width / 64).map((quarter) => bring('b', layout === 'dots', 'n0', width, quarter)),
  ].join('\n    ');
}

/**
 * 256 threads, of which (y, x) has rows 4·y and columns 4·x of the tile, and of its other quarters where there are
 * some. tile_a[k][m] and tile_b[k][n] lie k by k.
 */
export function tileText(layout: Layout, half: boolean, down: number, across: number): string {
  const [height, width] = [4 * EDGE * down, 4 * EDGE * across];
  const [rows, fours] = [upTo(4 * down), upTo(across)];
  const each = (line: (i: number, j: number) => string) => rows.flatMap((i) => fours.map((j) => line(i, j)));
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
    ${bringTiles(layout, [height, width])}
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

/** Matrices that a subgroup multiplies at once, f16 by f16 in float32, and its lanes. */
export interface Matrices {
  readonly M: number;
  readonly N: number;
  readonly K: number;
  readonly lanes: number;
}

/** Fours of rows and columns of a tile, over 16, that matrix units compute. */
export const MATRIX_TILE = [2, 1] as const;
/** Columns of it that a subgroup has. */
const HALF_WIDTH = 32;

/** Whether a tile of these matrices comes out even. */
export function matricesFit({ M, N, K, lanes }: Matrices): boolean {
  const pairs = (EDGE * EDGE) / lanes / 2; // of subgroups, side by side
  const rows = (4 * EDGE * MATRIX_TILE[0]) / pairs;
  return Number.isInteger(pairs) && pairs > 0 && rows % M === 0 && HALF_WIDTH % N === 0 && DEPTH % K === 0;
}

/** The same tile by subgroups in pairs side by side, each of which has some rows by 32 columns. */
export function matrixText(layout: Layout, { M, N, K, lanes }: Matrices): string {
  const [height, width] = [4 * EDGE * MATRIX_TILE[0], 4 * EDGE * MATRIX_TILE[1]];
  const rows = (2 * height * lanes) / (EDGE * EDGE);
  const [down, across] = [upTo(rows / M), upTo(HALF_WIDTH / N)];
  const each = (line: (i: number, j: number) => string) => down.flatMap((i) => across.map((j) => line(i, j)));
  const subgroups = (EDGE * EDGE) / lanes;
  return `
var<workgroup> tile_a: array<f16, ${height * DEPTH}>;
var<workgroup> tile_b: array<f16, ${width * DEPTH}>;
var<workgroup> sums: array<f32, ${subgroups * M * N}>;
fn group(g: u32, lane: u32) {
  let wide = (p.N + ${width - 1}u) / ${width}u;
  let pieces = wide * ((p.M + ${height - 1}u) / ${height}u);${cutText('g')}
  let m0 = ${height}u * (piece / wide);
  let n0 = ${width}u * (piece % wide);
  let subgroup = my_subgroup_id;
  let m = ${rows}u * (subgroup / 2u);
  let n = ${HALF_WIDTH}u * (subgroup % 2u);
  ${each((i, j) => `var acc${i}_${j}: subgroup_matrix_result<f32, ${N}, ${M}>;`).join(' ')}
  var sum = vec4f();
  for (var k = begin; k < end; k += ${DEPTH}u) {
    workgroupBarrier();
    ${bringTiles(layout, [height, width])}
    workgroupBarrier();
    for (var i = 0u; i < ${DEPTH}u; i += ${K}u) {
      ${down
        .map(
          (i) =>
            `let x${i} = subgroupMatrixLoad<subgroup_matrix_left<f16, ${K}, ${M}>, col_major>(&tile_a, i * ${height}u + m + ${i * M}u, ${height}u);`,
        )
        .join('\n      ')}
      ${across
        .map(
          (j) =>
            `let y${j} = subgroupMatrixLoad<subgroup_matrix_right<f16, ${N}, ${K}>, row_major>(&tile_b, i * ${width}u + n + ${j * N}u, ${width}u);`,
        )
        .join('\n      ')}
      ${each((i, j) => `acc${i}_${j} = subgroupMatrixMultiplyAccumulate(x${i}, y${j}, acc${i}_${j});`).join('\n      ')}
    }
    if (has_dbias && m0 == 0u && lane < ${width / 4}u) {
      for (var i = 0u; i < ${DEPTH}u; i++) { sum = sum + b4(k + i, n0 / 4u + lane); }
    }
  }
  let own = subgroup * ${M * N}u;
  ${each(
    (i, j) => `workgroupBarrier();
  subgroupMatrixStore<row_major>(&sums, own, acc${i}_${j}, ${N}u);
  workgroupBarrier();
  for (var e = 4u * my_subgroup_invocation_id; e < ${M * N}u; e += ${4 * lanes}u) {
    let x = vec4f(sums[own + e], sums[own + e + 1u], sums[own + e + 2u], sums[own + e + 3u]);
    store(m0 + m + ${i * M}u + e / ${N}u, n0 + n + ${j * N}u + e % ${N}u, x);
  }`,
  ).join('\n  ')}
  if (has_dbias && m0 == 0u && lane < ${width / 4}u) { store_bias(n0 + 4u * lane, sum); }
}`;
}
