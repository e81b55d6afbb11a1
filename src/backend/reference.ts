/**
 * The reference backend: every kernel in plain TypeScript, summing in double precision. It is the oracle of the
 * tests and the fallback where the native addon cannot load; it favours clarity over speed.
 */
import { ShapeError } from '../errors.js';
import type {
  Activation,
  AdamWOptions,
  Backend,
  DType,
  Dropout,
  GateDims,
  HeadDims,
  HostArray,
  LinearDims,
  LoopForm,
  RowDims,
  Storage,
} from './backend.js';
import { dropoutKeep, dropoutThreshold, copyOf, receiveInto, HostStorage, sampleKey } from './host.js';
import { dot, expectLength, floats, gateValues, host, indices, integers } from './reference-arguments.js';
import {
  attentionBackward,
  attentionForward,
  cachedAttention,
  cachePageLength,
} from './reference-attention.js';
import { rowChange, rowDivergence, rowEntropy } from './reference-exits.js';
import {
  copyColumns,
  gatherRows,
  scaleRowsBackward,
  scaleRowsForward,
  scatterRows,
  selectRows,
} from './reference-rows.js';
import { hostRows } from './rows.js';

const LAYERNORM_EPS = 1e-5;
const GELU_SCALE = Math.sqrt(2 / Math.PI);
const GELU_CUBIC = 0.044715;

/** Value and derivative of each activation at x. */
const FUNCTIONS: Readonly<Record<Activation, (x: number) => readonly [value: number, derivative: number]>> = {
  gelu: (x) => {
    const t = Math.tanh(GELU_SCALE * (x + GELU_CUBIC * x * x * x));
    const slope = 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * GELU_SCALE * (1 + 3 * GELU_CUBIC * x * x);
    return [0.5 * x * (1 + t), slope];
  },
  relu: (x) => (x > 0 ? [x, 1] : [0, 0]),
  tanh: (x) => [Math.tanh(x), 1 - Math.tanh(x) ** 2],
  sigmoid: (x) => {
    const s = 1 / (1 + Math.exp(-x));
    return [s, s * (1 - s)];
  },
};

/** Kernels over Float32Array, or over Float64Array where finite differences need doubles. */
export class ReferenceBackend implements Backend {
  readonly name = 'reference';
  readonly precision = 'f32';
  readonly limits = null;
  readonly description: string;

  constructor(readonly dtype: 'f32' | 'f64' = 'f32') {
    this.description = `reference (plain TypeScript, ${dtype}, 1 thread)`;
  }

  // ---- storage ---------------------------------------------------------------------------------------------

  allocate(dtype: DType, length: number): HostStorage {
    if (dtype === 'i32') return new HostStorage(dtype, new Int32Array(length));
    return new HostStorage(dtype, dtype === 'f32' ? new Float32Array(length) : new Float64Array(length));
  }

  free(_storage: Storage): void {}

  slice(storage: Storage, offset: number, length: number): Storage {
    return host(storage).slice(offset, length);
  }

  write(dst: Storage, values: HostArray): void {
    if (values.length > dst.length) {
      throw new ShapeError('write', `must fit into ${dst.length} elements`, values.length);
    }
    host(dst).data.set(values);
  }

  receive(dst: Storage, fill: (values: Float32Array) => Promise<void>): Promise<void> {
    return receiveInto(host(dst).data, fill);
  }

  async read(src: Storage, into?: HostArray): Promise<HostArray> {
    return copyOf(host(src).data, into);
  }

  fill(dst: Storage, value: number): void {
    host(dst).data.fill(value);
  }

  copy(dst: Storage, src: Storage): void {
    expectLength('copy', 'src', src, dst.length);
    host(dst).data.set(host(src).data);
  }

  // ---- element-wise ----------------------------------------------------------------------------------------

  add(out: Storage, a: Storage, b: Storage): void {
    const y = floats('add', 'out', out);
    const p = floats('add', 'a', a, y.length);
    const q = floats('add', 'b', b, y.length);
    for (let i = 0; i < y.length; i++) y[i] = p[i] + q[i];
  }

  activationForward(out: Storage, inp: Storage, kind: Activation): void {
    const y = floats('activationForward', 'out', out);
    const x = floats('activationForward', 'inp', inp, y.length);
    for (let i = 0; i < y.length; i++) y[i] = FUNCTIONS[kind](x[i])[0];
  }

  activationBackward(
    dinp: Storage,
    dout: Storage,
    inp: Storage,
    kind: Activation,
    accumulate: boolean,
  ): void {
    const dx = floats('activationBackward', 'dinp', dinp);
    const dy = floats('activationBackward', 'dout', dout, dx.length);
    const x = floats('activationBackward', 'inp', inp, dx.length);
    for (let i = 0; i < dx.length; i++) dx[i] = (accumulate ? dx[i] : 0) + FUNCTIONS[kind](x[i])[1] * dy[i];
  }

  dropout(
    out: Storage,
    inp: Storage,
    { R, C, T }: RowDims & { readonly T: number },
    { p, key, firstSample }: Dropout,
    accumulate: boolean,
  ): void {
    const y = floats('dropout', 'out', out, R * C);
    const x = floats('dropout', 'inp', inp, R * C);
    const threshold = dropoutThreshold(p);
    const scale = 1 / (1 - p);
    for (let start = 0; start < R; start += T) {
      const k = sampleKey(key, firstSample + start / T);
      const count = Math.min(T, R - start) * C;
      for (let e = 0, i = start * C; e < count; e++, i++) {
        y[i] = (accumulate ? y[i] : 0) + (dropoutKeep(k, e, threshold) ? x[i] * scale : 0);
      }
    }
  }

  gatedResidualForward(
    out: Storage,
    x: Storage,
    f: Storage,
    gate: Storage,
    { R, C, G }: GateDims,
    form: LoopForm,
  ): void {
    const where = 'gatedResidualForward';
    const y = floats(where, 'out', out, R * C);
    const xs = floats(where, 'x', x, R * C);
    const fs = floats(where, 'f', f, R * C);
    const g = gateValues(where, gate, C, G);
    for (let i = 0; i < R * C; i++) {
      const step = form === 'output' ? fs[i] : fs[i] - xs[i];
      y[i] = xs[i] + g[G === 1 ? 0 : i % C] * step;
    }
  }

  gatedResidualBackward(
    dx: Storage,
    df: Storage,
    dgate: Storage,
    dout: Storage,
    x: Storage,
    f: Storage,
    gate: Storage,
    { R, C, G }: GateDims,
    form: LoopForm,
    accumulateX: boolean,
    accumulateF: boolean,
  ): void {
    const where = 'gatedResidualBackward';
    const gx = floats(where, 'dx', dx, R * C);
    const gf = floats(where, 'df', df, R * C);
    const gg = gateValues(where, dgate, C, G);
    const dy = floats(where, 'dout', dout, R * C);
    const xs = floats(where, 'x', x, R * C);
    const fs = floats(where, 'f', f, R * C);
    const g = gateValues(where, gate, C, G);
    const sums = new Float64Array(G);
    for (let i = 0; i < R * C; i++) {
      const c = G === 1 ? 0 : i % C;
      const d = dy[i];
      gx[i] = (accumulateX ? gx[i] : 0) + (form === 'output' ? d : d * (1 - g[c]));
      gf[i] = (accumulateF ? gf[i] : 0) + d * g[c];
      sums[c] += d * (form === 'output' ? fs[i] : fs[i] - xs[i]);
    }
    for (let c = 0; c < G; c++) gg[c] += sums[c];
  }

  // ---- rows ------------------------------------------------------------------------------------------------

  readonly rows = hostRows;

  readonly selectRows = selectRows;
  readonly scaleRowsForward = scaleRowsForward;
  readonly scaleRowsBackward = scaleRowsBackward;
  readonly copyColumns = copyColumns;
  readonly gatherRows = gatherRows;
  readonly scatterRows = scatterRows;

  // ---- exits ----------------------------------------------------------------------------------------------

  readonly rowChange = rowChange;
  readonly rowEntropy = rowEntropy;
  readonly rowDivergence = rowDivergence;

  // ---- layers ----------------------------------------------------------------------------------------------

  embeddingForward(
    out: Storage,
    tokens: Storage,
    positions: Storage,
    wte: Storage,
    wpe: Storage | null,
    { R, C }: RowDims,
  ): void {
    const where = 'embeddingForward';
    const y = floats(where, 'out', out, R * C);
    const te = floats(where, 'wte', wte);
    const pe = wpe && floats(where, 'wpe', wpe);
    const token = indices(where, 'tokens', tokens, R, te.length / C);
    const position = pe && indices(where, 'positions', positions, R, pe.length / C);
    for (let r = 0; r < R; r++) {
      for (let c = 0; c < C; c++) {
        y[r * C + c] = te[token[r] * C + c] + (pe && position ? pe[position[r] * C + c] : 0);
      }
    }
  }

  embeddingBackward(
    dwte: Storage,
    dwpe: Storage | null,
    dout: Storage,
    tokens: Storage,
    positions: Storage,
    { R, C }: RowDims,
  ): void {
    const where = 'embeddingBackward';
    const te = floats(where, 'dwte', dwte);
    const pe = dwpe && floats(where, 'dwpe', dwpe);
    const dy = floats(where, 'dout', dout, R * C);
    const token = indices(where, 'tokens', tokens, R, te.length / C);
    const position = pe && indices(where, 'positions', positions, R, pe.length / C);
    for (let r = 0; r < R; r++) {
      for (let c = 0; c < C; c++) {
        te[token[r] * C + c] += dy[r * C + c];
        if (pe && position) pe[position[r] * C + c] += dy[r * C + c];
      }
    }
  }

  layernormForward(
    out: Storage,
    mean: Storage,
    rstd: Storage,
    inp: Storage,
    weight: Storage,
    bias: Storage | null,
    { R, C }: RowDims,
  ): void {
    const where = 'layernormForward';
    const y = floats(where, 'out', out, R * C);
    const means = floats(where, 'mean', mean, R);
    const rstds = floats(where, 'rstd', rstd, R);
    const x = floats(where, 'inp', inp, R * C);
    const w = floats(where, 'weight', weight, C);
    const b = bias && floats(where, 'bias', bias, C);
    for (let r = 0; r < R; r++) {
      let m = 0;
      for (let c = 0; c < C; c++) m += x[r * C + c];
      m /= C;
      let variance = 0;
      for (let c = 0; c < C; c++) variance += (x[r * C + c] - m) ** 2;
      const s = 1 / Math.sqrt(variance / C + LAYERNORM_EPS);
      for (let c = 0; c < C; c++) y[r * C + c] = (x[r * C + c] - m) * s * w[c] + (b ? b[c] : 0);
      means[r] = m;
      rstds[r] = s;
    }
  }

  layernormBackward(
    dinp: Storage,
    dweight: Storage,
    dbias: Storage | null,
    dout: Storage,
    inp: Storage,
    weight: Storage,
    mean: Storage,
    rstd: Storage,
    { R, C }: RowDims,
    accumulate: boolean,
  ): void {
    const where = 'layernormBackward';
    const dx = floats(where, 'dinp', dinp, R * C);
    const dw = floats(where, 'dweight', dweight, C);
    const db = dbias && floats(where, 'dbias', dbias, C);
    const dy = floats(where, 'dout', dout, R * C);
    const x = floats(where, 'inp', inp, R * C);
    const w = floats(where, 'weight', weight, C);
    const means = floats(where, 'mean', mean, R);
    const rstds = floats(where, 'rstd', rstd, R);
    const weightSum = new Float64Array(C);
    const biasSum = new Float64Array(C);
    for (let r = 0; r < R; r++) {
      const m = means[r];
      const s = rstds[r];
      let sum = 0; // Σ dx̂
      let dot = 0; // Σ dx̂ ⊙ x̂
      for (let c = 0; c < C; c++) {
        const i = r * C + c;
        const xhat = (x[i] - m) * s;
        sum += dy[i] * w[c];
        dot += dy[i] * w[c] * xhat;
        weightSum[c] += dy[i] * xhat;
        biasSum[c] += dy[i];
      }
      for (let c = 0; c < C; c++) {
        const i = r * C + c;
        const xhat = (x[i] - m) * s;
        dx[i] = (accumulate ? dx[i] : 0) + s * (dy[i] * w[c] - sum / C - (xhat * dot) / C);
      }
    }
    for (let c = 0; c < C; c++) dw[c] += weightSum[c];
    if (db) for (let c = 0; c < C; c++) db[c] += biasSum[c];
  }

  linearForward(
    out: Storage,
    inp: Storage,
    weight: Storage,
    bias: Storage | null,
    { R, K, N }: LinearDims,
  ): void {
    const where = 'linearForward';
    const y = floats(where, 'out', out, R * N);
    const x = floats(where, 'inp', inp, R * K);
    const w = floats(where, 'weight', weight, K * N);
    const b = bias && floats(where, 'bias', bias, N);
    const row = new Float64Array(N);
    for (let r = 0; r < R; r++) {
      if (b) row.set(b);
      else row.fill(0);
      for (let k = 0; k < K; k++) {
        const a = x[r * K + k];
        for (let n = 0, j = k * N; n < N; n++, j++) row[n] += a * w[j];
      }
      y.set(row, r * N);
    }
  }

  linearBackwardInput(
    dinp: Storage,
    dout: Storage,
    weight: Storage,
    { R, K, N }: LinearDims,
    accumulate: boolean,
  ): void {
    const where = 'linearBackwardInput';
    const dx = floats(where, 'dinp', dinp, R * K);
    const dy = floats(where, 'dout', dout, R * N);
    const w = floats(where, 'weight', weight, K * N);
    for (let r = 0; r < R; r++) {
      for (let k = 0; k < K; k++) {
        dx[r * K + k] = (accumulate ? dx[r * K + k] : 0) + dot(dy, r * N, w, k * N, N);
      }
    }
  }

  linearBackwardWeight(
    dweight: Storage,
    dbias: Storage | null,
    dout: Storage,
    inp: Storage,
    { R, K, N }: LinearDims,
  ): void {
    const where = 'linearBackwardWeight';
    const dw = floats(where, 'dweight', dweight, K * N);
    const db = dbias && floats(where, 'dbias', dbias, N);
    const dy = floats(where, 'dout', dout, R * N);
    const x = floats(where, 'inp', inp, R * K);
    const row = new Float64Array(N);
    for (let k = 0; k < K; k++) {
      row.fill(0);
      for (let r = 0; r < R; r++) {
        const a = x[r * K + k];
        for (let n = 0, j = r * N; n < N; n++, j++) row[n] += a * dy[j];
      }
      for (let n = 0; n < N; n++) dw[k * N + n] += row[n];
    }
    if (!db) return;
    row.fill(0);
    for (let r = 0; r < R; r++) for (let n = 0; n < N; n++) row[n] += dy[r * N + n];
    for (let n = 0; n < N; n++) db[n] += row[n];
  }

  readonly attentionForward = attentionForward;
  readonly attentionBackward = attentionBackward;
  readonly cachePageLength = cachePageLength;
  readonly cachedAttention = cachedAttention;

  // ---- head ------------------------------------------------------------------------------------------------

  logits(out: Storage, inp: Storage, weight: Storage, { R, C, V }: HeadDims): void {
    const y = floats('logits', 'out', out, R * V);
    const x = floats('logits', 'inp', inp, R * C);
    const w = floats('logits', 'weight', weight, V * C);
    for (let r = 0; r < R; r++) for (let v = 0; v < V; v++) y[r * V + v] = dot(x, r * C, w, v * C, C);
  }

  headForward(
    loss: Storage,
    argmax: Storage | null,
    maxProb: Storage | null,
    inp: Storage,
    weight: Storage,
    targets: Storage,
    dims: HeadDims,
  ): void {
    headRows('headForward', loss, argmax, maxProb, inp, weight, targets, dims, () => {});
  }

  headForwardBackward(
    loss: Storage,
    argmax: Storage | null,
    maxProb: Storage | null,
    dinp: Storage,
    dweight: Storage,
    inp: Storage,
    weight: Storage,
    targets: Storage,
    rowWeights: Storage,
    dims: HeadDims,
  ): void {
    const where = 'headForwardBackward';
    const { R, C, V } = dims;
    const dx = floats(where, 'dinp', dinp, R * C);
    const dw = floats(where, 'dweight', dweight, V * C);
    const x = floats(where, 'inp', inp, R * C);
    const w = floats(where, 'weight', weight, V * C);
    const scale = floats(where, 'rowWeights', rowWeights, R);
    const row = new Float64Array(C);
    headRows(where, loss, argmax, maxProb, inp, weight, targets, dims, (r, probabilities, target) => {
      row.fill(0);
      if (target >= 0) {
        for (let v = 0; v < V; v++) {
          const d = scale[r] * (probabilities[v] - (v === target ? 1 : 0));
          for (let c = 0; c < C; c++) {
            row[c] += d * w[v * C + c];
            dw[v * C + c] += d * x[r * C + c];
          }
        }
      }
      dx.set(row, r * C);
    });
  }

  // ---- optimizer -------------------------------------------------------------------------------------------

  adamw(param: Storage, grad: Storage, m: Storage, v: Storage, options: AdamWOptions): void {
    const { lr, beta1, beta2, eps, weightDecay, step, gradScale } = options;
    const p = floats('adamw', 'param', param);
    const g = floats('adamw', 'grad', grad, p.length);
    const ms = floats('adamw', 'm', m, p.length);
    const vs = floats('adamw', 'v', v, p.length);
    const mCorrection = 1 - beta1 ** step;
    const vCorrection = 1 - beta2 ** step;
    for (let i = 0; i < p.length; i++) {
      const gi = g[i] * gradScale;
      ms[i] = beta1 * ms[i] + (1 - beta1) * gi;
      vs[i] = beta2 * vs[i] + (1 - beta2) * gi * gi;
      const update = ms[i] / mCorrection / (Math.sqrt(vs[i] / vCorrection) + eps);
      p[i] -= lr * (update + weightDecay * p[i]);
    }
  }

  sumSquares(out: Storage, inp: Storage): void {
    const x = floats('sumSquares', 'inp', inp);
    floats('sumSquares', 'out', out, 1)[0] = dot(x, 0, x, 0, x.length);
  }
}

/** Softmax and loss of every row, one at a time; `visit` sees the row's probabilities. */
function headRows(
  where: string,
  loss: Storage,
  argmax: Storage | null,
  maxProb: Storage | null,
  inp: Storage,
  weight: Storage,
  targets: Storage,
  { R, C, V }: HeadDims,
  visit: (r: number, probabilities: Float64Array, target: number) => void,
): void {
  const losses = floats(where, 'loss', loss, R);
  const best = argmax && integers(where, 'argmax', argmax, R);
  const top = maxProb && floats(where, 'maxProb', maxProb, R);
  const x = floats(where, 'inp', inp, R * C);
  const w = floats(where, 'weight', weight, V * C);
  const target = indices(where, 'targets', targets, R, V, -1);
  const row = new Float64Array(V);
  for (let r = 0; r < R; r++) {
    let argMax = 0;
    for (let v = 0; v < V; v++) {
      row[v] = dot(x, r * C, w, v * C, C);
      if (row[v] > row[argMax]) argMax = v;
    }
    const max = row[argMax];
    let sum = 0;
    for (let v = 0; v < V; v++) sum += Math.exp(row[v] - max);
    const t = target[r];
    losses[r] = t < 0 ? 0 : max + Math.log(sum) - row[t];
    if (best) best[r] = argMax;
    if (top) top[r] = 1 / sum;
    for (let v = 0; v < V; v++) row[v] = Math.exp(row[v] - max) / sum;
    visit(r, row, t);
  }
}
