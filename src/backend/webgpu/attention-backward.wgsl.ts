/**
 * The gradient of causal self-attention, in WGSL: by a thread for each query, which leaves Σ dout ⊙ out, and then by
 * one for each key of a key head, which sums over the queries of its group in their order. All is computed of dout · up
 * (see half.wgsl.ts).
 */
import { COMMON, LANES, queries, queryOf, type QueryWork } from './attention-threads.wgsl.js';
import { everyFour, everyOwn, headFours, type HeadShape } from './flash.wgsl.js';
import type { Constants } from './program.js';

/** Rows that a thread meets at a time: with several it reads its own less often, with one it needs fewer registers. */
const meeting = (tiles: boolean): number[] => (tiles ? [0] : [0, 1, 2, 3]);

/** Four numbers, of each row that is met, zeros beyond. */
const fourOf = (met: readonly number[], text: (j: number) => string): string =>
  `vec4f(${[0, 1, 2, 3].map((j) => (met.includes(j) ? text(j) : '0.0')).join(', ')})`;

/** Adds what the rows that are met weigh to a four. */
const weighed = (acc: string, met: readonly number[], weight: string, row: (j: number) => string): string =>
  `{ var x = ${acc}; ${met.map((j) => `x = fma(vec4f(${weight}[${j}]), ${row(j)}, x);`).join(' ')} ${acc} = x; }`;

/** Writes a four of `dqkv`, or adds to it. */
function add(accumulate: boolean, head: string, channel: string, value: string): string {
  const before = accumulate ? `dqkv_four(${head}, ${channel}) + ` : '';
  return `set_dqkv_four(${head}, ${channel}, ${before}${value} * p.down);`;
}

export function backwardQueries(shape: HeadShape, constants: Constants): string {
  const tiles = constants.tiles === true;
  const met = meeting(tiles);
  const query = queryOf(shape);
  const read = (c: string) => `rounded(dout_four(o_head, ${c}) * p.up)`;
  const held = shape.chunks === 1;
  const slope = (c: string) => (held ? `slope[${c}]` : read(c));
  const work: QueryWork = {
    arrays: `${COMMON(constants)}
${['qkv', 'dout', 'out'].map((name) => headFours(name, shape)).join('\n')}
${headFours('dqkv', shape, true)}
fn query_of(n: u32) -> u32 { return n; }`,
    step: met.length,
    start: `let o_head = own * p.NH + h;
  let place = (b * p.NH + h) * p.T + last;
  let log_sum = lse(place);
  ${query.load}
  ${held ? `var slope: array<vec4f, ${shape.fours}>; ${everyFour(shape, (c) => `slope[${c}] = ${read(c)};`)}` : ''}
  var products = vec4f();
  ${everyFour(shape, (c) => `products = fma(dout_four(o_head, ${c}), out_four(o_head, ${c}), products);`)}
  let own_delta = add4(products) * p.up;
  var acc: array<vec4f, ${shape.chunk}>;`,
    meet({ at, key, value }) {
      const products = (c: string) =>
        met.map(
          (j) => `d${j} = fma(x, ${key(`at${j}`, c)}, d${j}); e${j} = fma(y, ${value(`at${j}`, c)}, e${j});`,
        );
      return `
    ${met.map((j) => `let at${j} = ${at(`min(k + ${j}u, last)`)};`).join(' ')}
    ${met.map((j) => `var d${j} = vec4f(); var e${j} = vec4f();`).join(' ')}
    ${everyFour(shape, (c) => `{ let x = ${query.four(c)}; let y = ${slope(c)}; ${products(c).join(' ')} }`)}
    let w = exp4(${fourOf(met, (j) => `add4(d${j})`)} - log_sum);
    let dw = ${fourOf(met, (j) => `add4(e${j})`)}${constants.dropped ? ' * kept4(sample, last, k)' : ''};
    let seen = vec4u(k) + vec4u(0u, 1u, 2u, 3u) <= vec4u(last);
    let ds = rounded(select(vec4f(), w * (dw - own_delta) * p.scale, seen));
    ${everyOwn(shape, (c, channel) => weighed(`acc[${c}]`, met, 'ds', (j) => key(`at${j}`, channel)))}`;
    },
    finish: `${everyOwn(shape, (c, channel) => add(constants.accumulate === true, 'q_head', channel, `acc[${c}]`))}
  if (first == 0u) { set_delta(place, own_delta); }`,
  };
  return queries(shape, work, tiles);
}

/** How a thread with a key comes by the queries: what tells of the query at a place the text calls `at`. */
interface Queries {
  readonly at: (query: string) => string;
  readonly four: (at: string, c: string) => string;
  readonly slope: (at: string, c: string) => string;
  readonly lse: (query: string) => string;
  readonly delta: (query: string) => string;
}

/** In tiles, the gradients by a key and by its value are summed by a thread each, which saves registers. */
export function backwardKeys(shape: HeadShape, constants: Constants): string {
  const tiles = constants.tiles === true;
  const accumulate = constants.accumulate === true;
  const met = meeting(tiles);
  const { fours, chunk, chunks } = shape;
  const held = chunks === 1;
  const read = {
    key: (c: string) => `rounded(qkv_four(k_head, ${c})) * p.scale`,
    value: (c: string) => `rounded(qkv_four(k_head + p.KV, ${c}))`,
  };
  const key = (c: string) => (held ? `key[${c}]` : read.key(c));
  const value = (c: string) => (held ? `value[${c}]` : read.value(c));
  const [ofKey, ofValue] = tiles ? ['acc', 'acc'] : ['acc_key', 'acc_value'];
  const start = `let k_head = (b * p.T + t) * heads() + p.NH + kv;
  ${
    held
      ? `var key: array<vec4f, ${fours}>; var value: array<vec4f, ${fours}>;
  ${everyFour(shape, (c) => `key[${c}] = ${read.key(c)}; value[${c}] = ${read.value(c)};`)}`
      : ''
  }
  ${[...new Set([ofKey, ofValue])].map((name) => `var ${name}: array<vec4f, ${chunk}>;`).join(' ')}`;
  const finish = everyOwn(shape, (c, channel) =>
    tiles
      ? add(accumulate, 'k_head + select(p.KV, 0u, of_key)', channel, `acc[${c}]`)
      : `${add(accumulate, 'k_head', channel, `${ofKey}[${c}]`)}
    ${add(accumulate, 'k_head + p.KV', channel, `${ofValue}[${c}]`)}`,
  );
  /** Queries from q on that lie below `end`. */
  const meet = ({ at, four, slope, lse, delta }: Queries) => {
    const products = (c: string) =>
      met.map(
        (j) => `d${j} = fma(x, ${four(`at${j}`, c)}, d${j}); e${j} = fma(y, ${slope(`at${j}`, c)}, e${j});`,
      );
    return `
    ${met.map((j) => `let q${j} = min(q + ${j}u, end - 1u); let at${j} = ${at(`q${j}`)};`).join(' ')}
    ${met.map((j) => `var d${j} = vec4f(); var e${j} = vec4f();`).join(' ')}
    ${everyFour(shape, (c) => `{ let x = ${key(c)}; let y = ${value(c)}; ${products(c).join(' ')} }`)}
    let seen = vec4u(q) + vec4u(0u, 1u, 2u, 3u) < vec4u(end);
    let w = select(vec4f(), exp4(${fourOf(met, (j) => `add4(d${j})`)} - ${fourOf(met, (j) => lse(`q${j}`))}), seen);
    let factor = ${constants.dropped ? fourOf(met, (j) => `kept(sample, q${j}, t)`) : 'vec4f(1.0)'};
    ${tiles ? 'if (of_key) {' : ''}
      let slopes = ${fourOf(met, (j) => `add4(e${j})`)} * factor - ${fourOf(met, (j) => delta(`q${j}`))};
      let ds = rounded(w * slopes * p.scale);
      ${everyOwn(shape, (c, channel) => weighed(`${ofKey}[${c}]`, met, 'ds', (j) => four(`at${j}`, channel)))}
    ${tiles ? '} else {' : ''}
      let dv = rounded(w * factor);
      ${everyOwn(shape, (c, channel) => weighed(`${ofValue}[${c}]`, met, 'dv', (j) => slope(`at${j}`, channel)))}
    ${tiles ? '}' : ''}`;
  };
  const arrays = `${COMMON(constants)}
${['qkv', 'dout'].map((name) => headFours(name, shape)).join('\n')}
${headFours('dqkv', shape, true)}`;
  return `${arrays}\n${(tiles ? keysInTiles : keysAlone)(shape, start, meet, finish)}`;
}

type Meet = (queries: Queries) => string;

/** Each thread reads queries itself. */
const keysAlone = ({ chunk }: HeadShape, start: string, meet: Meet, finish: string): string => `
fn each(i: u32) {
  let kv = i % p.KV; let row = (i / p.KV) % p.rows; let first = ${chunk}u * (i / (p.KV * p.rows));
  let b = row / p.T; let t = row % p.T;
  let end = p.T; let NH = p.NH; let width = heads();
  let group = p.NH / p.KV;
  ${start}
  for (var h = kv * group; h < (kv + 1u) * group; h++) {
    let sample = sample_of(b, h);
    let places = (b * NH + h) * end;
    for (var q = t; q < end; q += 4u) {
      ${meet({
        at: (query) => `b * end + ${query}`,
        four: (at, c) => `rounded(qkv_four(${at} * width + h, ${c}))`,
        slope: (at, c) => `rounded(dout_four(${at} * NH + h, ${c}) * p.up)`,
        lse: (query) => `lse(places + ${query})`,
        delta: (query) => `delta(places + ${query})`,
      })}
    }
  }
  ${finish}
}`;

/** A workgroup has ${LANES} keys of a key head, with a lane for each key and a lane for each value. */
const keysInTiles = ({ fours, tileRows }: HeadShape, start: string, meet: Meet, finish: string): string => `
var<workgroup> tile_q: array<Operands, ${fours * tileRows}>;
var<workgroup> tile_d: array<Operands, ${fours * tileRows}>;
var<workgroup> tile_lse: array<f32, ${tileRows}>;
var<workgroup> tile_delta: array<f32, ${tileRows}>;
fn group(g: u32, lane: u32) {
  let blocks = (p.T + ${LANES - 1}u) / ${LANES}u;
  let kv = g % p.KV; let b = g / p.KV / blocks; let first_t = ${LANES}u * ((g / p.KV) % blocks);
  let t = min(first_t + lane % ${LANES}u, p.T - 1u);
  let of_key = lane < ${LANES}u;
  let group = p.NH / p.KV;
  ${start}
  for (var h = kv * group; h < (kv + 1u) * group; h++) {
    let sample = sample_of(b, h);
    for (var base = first_t; base < p.T; base += ${tileRows}u) {
      workgroupBarrier();
      for (var i = lane; i < ${fours * tileRows}u; i += ${2 * LANES}u) {
        let at = b * p.T + min(base + i / ${fours}u, p.T - 1u);
        tile_q[i] = Operands(rounded(qkv_four(at * heads() + h, i % ${fours}u)));
        tile_d[i] = Operands(rounded(dout_four(at * p.NH + h, i % ${fours}u) * p.up));
      }
      if (lane < ${tileRows}u) {
        let place = (b * p.NH + h) * p.T + min(base + lane, p.T - 1u);
        tile_lse[lane] = lse(place);
        tile_delta[lane] = delta(place);
      }
      workgroupBarrier();
      let end = min(base + ${tileRows}u, p.T);
      for (var q = max(base, t); q < end; q++) {
        ${meet({
          at: (query) => `(${query} - base) * ${fours}u`,
          four: (at, c) => `vec4f(tile_q[${at} + ${c}])`,
          slope: (at, c) => `vec4f(tile_d[${at} + ${c}])`,
          lse: (query) => `tile_lse[${query} - base]`,
          delta: (query) => `tile_delta[${query} - base]`,
        })}
      }
    }
  }
  if (first_t + lane % ${LANES}u < p.T) { ${finish} }
}`;
