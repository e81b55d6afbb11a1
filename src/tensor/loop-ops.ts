/**
 * Ops that only recipes for loops use: stable injection and streams. As in `ops.ts`, inputs are borrowed and the caller
 * owns the result.
 */
import { produce } from './ops.js';
import { parameterGradient } from './tape.js';
import type { Parameter, Runtime, Tensor } from './tensor.js';

/** exp(−Δ·A) ⊙ x + gain ⊙ u with A = exp(a), Δ = softplus(b); see the kernel. `x, u (R, C)`, `a, b (C)`. */
export function stableInjection(x: Tensor, u: Tensor, a: Parameter, b: Parameter, exact: boolean): Tensor {
  const { runtime } = x;
  const { backend, tape } = runtime;
  const dims = { R: x.shape[0], C: x.shape[1] };
  const given = { x: x.storage, u: u.storage, a: a.storage, b: b.storage, exact, ...dims };
  const out = produce(runtime, x.shape, (y) => backend.stableInjectionForward({ out: y, ...given }));
  tape?.record(out, [x, u], (dout) => {
    const [dx, du] = [tape.target(x), tape.target(u)];
    backend.stableInjectionBackward({
      dx: dx.storage,
      du: du.storage,
      da: parameterGradient(a),
      db: parameterGradient(b),
      dout: dout.storage,
      ...given,
      accumulateX: dx.accumulate,
      accumulateU: du.accumulate,
    });
  });
  return out;
}

/** M streams that are copies of `x (R, C)`, side by side: (R, M·C). */
export function copiesAsStreams(x: Tensor, M: number): Tensor {
  const { runtime } = x;
  const { backend, tape } = runtime;
  const [R, C] = x.shape;
  const dims = { R, C, M };
  using ones = constant(runtime, [R, M * (M + 2)], 1);
  const coefficients = ones.storage;
  const given = { dcoefficients: null, streams: null, coefficients, accumulate: false, ...dims };
  const out = produce(runtime, [R, M * C], (y) =>
    backend.readStreamsBackward({ dstreams: y, dout: x.storage, ...given }),
  );
  tape?.record(out, [ones], (dout) => {
    using sum = runtime.empty(x.shape);
    backend.readStreamsForward({ out: sum.storage, streams: dout.storage, coefficients, ...dims });
    tape.pass(x, sum.buffer);
  });
  return out;
}

/** The mean of M streams (R, M·C), (R, C). */
export function meanOfStreams(streams: Tensor, M: number): Tensor {
  using equal = constant(streams.runtime, [streams.shape[0], M * (M + 2)], 1 / M);
  return readStreams(streams, equal, M);
}

/** What a loop reads of M streams; `streams (R, M·C)`, `coefficients (R, M·(M + 2))` → (R, C). */
export function readStreams(streams: Tensor, coefficients: Tensor, M: number): Tensor {
  const { runtime } = streams;
  const { backend, tape } = runtime;
  const dims = { R: streams.shape[0], C: streams.shape[1] / M, M };
  const given = { streams: streams.storage, coefficients: coefficients.storage, ...dims };
  const out = produce(runtime, [dims.R, dims.C], (y) => backend.readStreamsForward({ out: y, ...given }));
  tape?.record(out, [streams, coefficients], (dout) => {
    const [dstreams, dcoefficients] = [tape.target(streams), tape.target(coefficients)];
    if (!dcoefficients.accumulate) backend.fill(dcoefficients.storage, 0);
    backend.readStreamsBackward({
      dstreams: dstreams.storage,
      dcoefficients: dcoefficients.storage,
      dout: dout.storage,
      ...given,
      accumulate: dstreams.accumulate,
    });
  });
  return out;
}

/**
 * M streams after a loop whose input was read from them and whose output is `y (R, C)`: mixed, with the change written
 * to each. Shapes as in `readStreams`; the result is (R, M·C).
 */
export function writeStreams(streams: Tensor, y: Tensor, coefficients: Tensor, M: number): Tensor {
  const { runtime } = streams;
  const { backend, tape } = runtime;
  const dims = { R: y.shape[0], C: y.shape[1], M };
  const given = { streams: streams.storage, y: y.storage, coefficients: coefficients.storage, ...dims };
  const out = produce(runtime, streams.shape, (s) => backend.writeStreamsForward({ out: s, ...given }));
  tape?.record(out, [streams, y, coefficients], (dout) => {
    const [dstreams, dy] = [tape.target(streams), tape.target(y)];
    const dcoefficients = tape.target(coefficients);
    if (!dcoefficients.accumulate) backend.fill(dcoefficients.storage, 0);
    backend.writeStreamsBackward({
      dstreams: dstreams.storage,
      dy: dy.storage,
      dcoefficients: dcoefficients.storage,
      dout: dout.storage,
      ...given,
      accumulateStreams: dstreams.accumulate,
      accumulateY: dy.accumulate,
    });
  });
  return out;
}

/** A tensor of equal values, which has no gradient. */
export function constant(runtime: Runtime, shape: readonly number[], value: number): Tensor {
  const out = runtime.empty(shape);
  runtime.backend.fill(out.storage, value);
  runtime.tape?.record(out, [], () => {});
  return out;
}
