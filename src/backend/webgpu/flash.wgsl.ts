/**
 * Softmax over keys that come in blocks, in WGSL: what attention over whole sequences and over the cache share, so that
 * a row has the same bits by either. A row keeps its largest score so far, the sum of the exponentials below it and the
 * sums of the values that these weigh; each block of eight keys, counted from key 0, rescales them once. Products are
 * added by fma, which leaves a compiler no choice.
 */

import type { Constants, Program } from './program.js';

/** Keys of a block. */
const BLOCK = 8;
/** Fours of channels that a thread sums at most; with more, several threads share a row. */
const CHUNK = 64;
/** Fours up to which tiles of keys and values fit into the memory of a workgroup of any device. */
const TILED = 32;

/** How the channels of a head are read: in `fours`, the last one filled up with zeros. */
export interface HeadShape {
  readonly HS: number;
  /** Whether arrays are read by vec4f. */
  readonly whole: boolean;
  readonly fours: number;
  /** Fours that a thread sums, and threads that a row has. */
  readonly chunk: number;
  readonly chunks: number;
  /** Rows of a tile that a workgroup shares. */
  readonly tileRows: number;
  /** Whether loops over channels are written out: arrays over them are registers, but shaders take long to build. */
  readonly writtenOut: boolean;
}

/** Whether workgroups can share tiles of heads of this size. */
export const fitsTiles = (HS: number): boolean => HS <= 4 * TILED;

export function headShape(HS: number, tiles: boolean): HeadShape {
  const fours = Math.ceil(HS / 4);
  const chunk = Math.min(fours, CHUNK);
  return {
    HS,
    whole: HS % 4 === 0,
    fours,
    chunk,
    chunks: Math.ceil(fours / chunk),
    tileRows: fours <= TILED / 2 ? 16 : 8,
    writtenOut: tiles,
  };
}

/** Text for every four c of a head. */
export const everyFour = (shape: HeadShape, text: (c: string) => string): string =>
  loop(shape, shape.fours, text);

/** Text for every four that a thread sums: `c` among its own, `channel` in the head. */
export function everyOwn(shape: HeadShape, text: (c: string, channel: string) => string): string {
  const { fours, chunk, chunks } = shape;
  if (chunks === 1) return loop(shape, chunk, (c) => text(c, c));
  return `for (var c = 0u; c < min(${chunk}u, ${fours}u - first); c++) { ${text('c', 'first + c')} }`;
}

function loop({ writtenOut }: HeadShape, n: number, text: (c: string) => string): string {
  if (!writtenOut) return `for (var c = 0u; c < ${n}u; c++) { ${text('c')} }`;
  return Array.from({ length: n }, (_, c) => text(`${c}u`)).join('\n');
}

/** The programs of heads that are read by fours, and one by one, by the size of a head; HS is one of the constants. */
export function byFours(
  name: string,
  program: (type: 'vec4f' | 'f32') => Omit<Program, 'name' | 'code'>,
  code: (shape: HeadShape, constants: Constants) => string,
): (HS: number) => Program {
  const make = (type: 'vec4f' | 'f32'): Program => ({
    name: `${name} ${type}`,
    ...program(type),
    code: (constants) => code(headShape(constants.HS as number, constants.tiles === true), constants),
  });
  const programs = { vec4f: make('vec4f'), f32: make('f32') };
  return (HS) => programs[HS % 4 === 0 ? 'vec4f' : 'f32'];
}

/**
 * `NAME_four(h, c)`: channels 4·c to 4·c + 3 of head h of an array of heads, and `set_NAME_four` where it is written.
 */
export function headFours(name: string, { HS, whole, fours }: HeadShape, written = false): string {
  if (whole) {
    const set = `fn set_${name}_four(h: u32, c: u32, x: vec4f) { set_${name}(h * ${fours}u + c, x); }`;
    return `fn ${name}_four(h: u32, c: u32) -> vec4f { return ${name}(h * ${fours}u + c); }
${written ? set : ''}`;
  }
  const others = [1, 2, 3].map((j) => ({ j, there: `4u * c + ${j}u < ${HS}u` }));
  const reads = others.map(({ j, there }) => `if (${there}) { x[${j}] = ${name}(at + ${j}u); }`);
  const writes = others.map(({ j, there }) => `if (${there}) { set_${name}(at + ${j}u, x[${j}]); }`);
  const set = `fn set_${name}_four(h: u32, c: u32, x: vec4f) {
  let at = h * ${HS}u + 4u * c;
  set_${name}(at, x.x);
  ${writes.join('\n  ')}
}`;
  return `fn ${name}_four(h: u32, c: u32) -> vec4f {
  let at = h * ${HS}u + 4u * c;
  var x = vec4f(${name}(at), 0.0, 0.0, 0.0);
  ${reads.join('\n  ')}
  return x;
}
${written ? set : ''}`;
}

/** Stands for the score of a key that a query does not see, and for the largest of none. */
const MASKED = '-3.0e38';

/**
 * - `add4`: the sum of a four
 * - `exp1`, `exp4`: e^x of one number and of four, 0 below −87; what is not a number stays so
 */
export const FLASH = `
const MASKED = ${MASKED};
fn add4(x: vec4f) -> f32 { return (x.x + x.y) + (x.z + x.w); }
${exponential('exp1', 'f32', 'i32', 'u32')}
${exponential('exp4', 'vec4f', 'vec4i', 'vec4u')}`;

function exponential(name: string, floats: string, integers: string, bits: string): string {
  const coefficients = [
    '1.3981999507e-3',
    '8.3334519073e-3',
    '4.1665795894e-2',
    '1.6666665459e-1',
    '5.0000001201e-1',
  ];
  return `fn ${name}(x: ${floats}) -> ${floats} {
  let y = clamp(x, ${floats}(-87.0), ${floats}(88.0));
  let n = floor(fma(y, ${floats}(1.44269504), ${floats}(0.5)));
  let r = fma(n, ${floats}(2.12194440e-4), fma(n, ${floats}(-0.693359375), y));
  var e = ${floats}(1.9875691500e-4);
  ${coefficients.map((c) => `e = fma(e, r, ${floats}(${c}));`).join('\n  ')}
  e = fma(e, r * r, r) + 1.0;
  e = e * bitcast<${floats}>((${integers}(n) + 127) << ${bits}(23u));
  e = select(e, ${floats}(), x < ${floats}(-87.0));
  return select(e, x, (bitcast<${bits}>(x) & ${bits}(0x7fffffffu)) > ${bits}(0x7f800000u));
}`;
}

/** Where the keys and values of a row are: `at` of the key of a number, and the fours of what is there. */
export interface Keys {
  readonly at: (key: string) => string;
  readonly key: (at: string, c: string) => string;
  readonly value: (at: string, c: string) => string;
}

const EIGHT = Array.from({ length: BLOCK }, (_, j) => j);
const COMPONENTS = ['x', 'y', 'z', 'w'];

/** What a row keeps. */
export const softmaxStart = ({ chunk }: HeadShape): string =>
  `var acc: array<vec4f, ${chunk}>; var largest = MASKED; var total = 0.0;`;

/**
 * Takes the block of keys from k on into a row that sees the keys up to `last`. `query` gives the fours of the scaled
 * query, `kept` the factors of four weights from a key on.
 */
export function softmaxStep(
  shape: HeadShape,
  { at, key, value }: Keys,
  query: (c: string) => string,
  kept: ((key: string) => string) | null,
): string {
  const scored = (c: string) => EIGHT.map((j) => `d${j} = fma(x, ${key(`at${j}`, c)}, d${j});`).join(' ');
  const weight = (j: number) => `vec4f(w${j >> 2}.${COMPONENTS[j % 4]})`;
  const weighed = (channel: string) =>
    EIGHT.map((j) => `x = fma(${weight(j)}, ${value(`at${j}`, channel)}, x);`).join(' ');
  const scores = [0, 4].map((first) =>
    EIGHT.slice(first, first + 4)
      .map((j) => `add4(d${j})`)
      .join(', '),
  );
  return `
  ${EIGHT.map((j) => `let at${j} = ${at(`min(k + ${j}u, last)`)}; var d${j} = vec4f();`).join('\n')}
  ${everyFour(shape, (c) => `{ let x = ${query(c)}; ${scored(c)} }`)}
  let keys0 = vec4u(k) + vec4u(0u, 1u, 2u, 3u);
  let s0 = select(vec4f(MASKED), vec4f(${scores[0]}), keys0 <= vec4u(last));
  let s1 = select(vec4f(MASKED), vec4f(${scores[1]}), keys0 + 4u <= vec4u(last));
  let larger = max(s0, s1);
  let next = max(largest, max(max(larger.x, larger.y), max(larger.z, larger.w)));
  let fade = exp1(largest - next);
  largest = next;
  let p0 = exp4(s0 - next);
  let p1 = exp4(s1 - next);
  total = fma(total, fade, add4(p0) + add4(p1));
  let w0 = rounded(p0${kept ? ` * ${kept('k')}` : ''});
  let w1 = rounded(p1${kept ? ` * ${kept('k + 4u')}` : ''});
  ${everyOwn(shape, (c, channel) => `{ var x = acc[${c}] * fade; ${weighed(channel)} acc[${c}] = x; }`)}`;
}
