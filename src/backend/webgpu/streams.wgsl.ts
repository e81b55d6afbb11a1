/**
 * Hyper-connections' streams (arXiv 2409.19606) on a GPU. As in the kernels in C++, writing folds the reading into the
 * mixing,
 *
 *     out_i = Σ_j (mix_ij − write_i·read_j)·s_j + write_i·y,
 *
 * so that streams that are copies, read from one of them and written alike, become y to the bit.
 */
import type { Program } from './program.js';
import type { GpuKernels } from './kernels.js';

/** Of row r, whose first coefficient is number k. */
const COEFFICIENTS = `
fn mix_of(k: u32, i: u32, j: u32) -> f32 { return coefficients(k + i * (M + 2u) + j); }
fn read_of(k: u32, j: u32) -> f32 { return coefficients(k + j * (M + 2u) + M); }
fn write_of(k: u32, i: u32) -> f32 { return coefficients(k + i * (M + 2u) + M + 1u); }`;

const READ_FORWARD: Program = {
  name: 'readStreamsForward',
  arrays: { out: 'update f32', streams: 'f32', coefficients: 'f32' },
  numbers: { C: 'u32' },
  runs: 'each',
  code: `${COEFFICIENTS}
fn each(n: u32) {
  let r = n / p.C;
  let c = n % p.C;
  let k = r * M * (M + 2u);
  var sum = 0.0;
  for (var i = 0u; i < M; i++) { sum += read_of(k, i) * streams((r * M + i) * p.C + c); }
  set_out(n, sum);
}`,
};

/** A team a stream of a row. */
const READ_BACKWARD: Program = {
  name: 'readStreamsBackward',
  arrays: {
    dstreams: 'update f32',
    dcoefficients: 'update f32',
    dout: 'f32',
    streams: 'f32',
    coefficients: 'f32',
  },
  numbers: { C: 'u32' },
  runs: 'rows',
  code: `fn row(s: u32, lane: u32) {
  let at = s * (M + 2u) + M;
  let factor = coefficients(at);
  var sum = 0.0;
  for (var c = lane; c < p.C; c += L) {
    let d = dout(s / M * p.C + c);
    var y = factor * d;
    if (accumulate) { y += dstreams(s * p.C + c); }
    set_dstreams(s * p.C + c, y);
    if (has_streams) { sum += d * streams(s * p.C + c); }
  }
  if (has_dcoefficients) {
    let total = team_sum(sum, lane);
    if (lane == 0u) { set_dcoefficients(at, dcoefficients(at) + total); }
  }
}`,
};

const WRITE_FORWARD: Program = {
  name: 'writeStreamsForward',
  arrays: { out: 'update f32', streams: 'f32', y: 'f32', coefficients: 'f32' },
  numbers: { C: 'u32' },
  runs: 'each',
  code: `${COEFFICIENTS}
fn each(n: u32) {
  let r = n / p.C;
  let c = n % p.C;
  let k = r * M * (M + 2u);
  let first = r * M * p.C + c;
  for (var i = 0u; i < M; i++) {
    var sum = 0.0;
    for (var j = 0u; j < M; j++) {
      sum += (mix_of(k, i, j) - write_of(k, i) * read_of(k, j)) * streams(first + j * p.C);
    }
    set_out(first + i * p.C, sum + write_of(k, i) * y(n));
  }
}`,
};

/** A team a row; a lane's sums are those of d_i·s_j and of d_i·y, d being the gradient. */
const WRITE_BACKWARD: Program = {
  name: 'writeStreamsBackward',
  arrays: {
    dstreams: 'update f32',
    dy: 'update f32',
    dcoefficients: 'update f32',
    dout: 'f32',
    streams: 'f32',
    y: 'f32',
    coefficients: 'f32',
  },
  numbers: { C: 'u32' },
  runs: 'rows',
  code: `${COEFFICIENTS}
fn row(r: u32, lane: u32) {
  let k = r * M * (M + 2u);
  let first = r * M * p.C;
  var products: array<f32, M * (M + 1u)>;
  for (var c = lane; c < p.C; c += L) {
    let at = first + c;
    var by_y = 0.0;
    for (var i = 0u; i < M; i++) {
      let d = dout(at + i * p.C);
      by_y += write_of(k, i) * d;
      for (var j = 0u; j < M; j++) { products[i * (M + 1u) + j] += d * streams(at + j * p.C); }
      products[i * (M + 1u) + M] += d * y(r * p.C + c);
    }
    if (accumulate_y) { by_y += dy(r * p.C + c); }
    set_dy(r * p.C + c, by_y);
    for (var j = 0u; j < M; j++) {
      var sum = 0.0;
      for (var i = 0u; i < M; i++) {
        sum += (mix_of(k, i, j) - write_of(k, i) * read_of(k, j)) * dout(at + i * p.C);
      }
      if (accumulate_streams) { sum += dstreams(at + j * p.C); }
      set_dstreams(at + j * p.C, sum);
    }
  }
  for (var i = 0u; i < M * (M + 1u); i++) { products[i] = team_sum(products[i], lane); }
  if (lane > 0u) { return; }
  for (var j = 0u; j < M; j++) {
    var by_read = 0.0;
    var by_write = products[j * (M + 1u) + M];
    for (var i = 0u; i < M; i++) {
      add(k + i * (M + 2u) + j, products[i * (M + 1u) + j]);
      by_read -= write_of(k, i) * products[i * (M + 1u) + j];
      by_write -= read_of(k, i) * products[j * (M + 1u) + i];
    }
    add(k + j * (M + 2u) + M, by_read);
    add(k + j * (M + 2u) + M + 1u, by_write);
  }
}
fn add(at: u32, x: f32) { set_dcoefficients(at, dcoefficients(at) + x); }`,
};

export const streams = {
  readStreamsForward: (engine, { out, streams, coefficients, R, C, M }) =>
    engine.run(READ_FORWARD, {
      arrays: { out, streams, coefficients },
      numbers: { C },
      constants: { M },
      count: R * C,
    }),

  readStreamsBackward: (
    engine,
    { dstreams, dcoefficients, dout, streams, coefficients, R, C, M, accumulate },
  ) =>
    engine.run(READ_BACKWARD, {
      arrays: { dstreams, dcoefficients, dout, streams: dcoefficients && streams, coefficients },
      numbers: { C },
      constants: { M, accumulate },
      count: R * M,
    }),

  writeStreamsForward: (engine, { out, streams, y, coefficients, R, C, M }) =>
    engine.run(WRITE_FORWARD, {
      arrays: { out, streams, y, coefficients },
      numbers: { C },
      constants: { M },
      count: R * C,
    }),

  writeStreamsBackward: (
    engine,
    { dstreams, dy, dcoefficients, dout, streams, y, coefficients, R, C, M, accumulateStreams, accumulateY },
  ) =>
    engine.run(WRITE_BACKWARD, {
      arrays: { dstreams, dy, dcoefficients, dout, streams, y, coefficients },
      numbers: { C },
      constants: { M, accumulate_streams: accumulateStreams, accumulate_y: accumulateY },
      count: R,
    }),
} satisfies Partial<GpuKernels>;
