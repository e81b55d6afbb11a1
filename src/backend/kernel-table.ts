/**
 * The kernels: what each computes, and its arguments. Everything between a model and an engine derives from this table:
 * the type of each kernel, the checks of its arguments, the addon's bindings, the delayed and the timed backend, the
 * tests of the boundary. A kernel takes one object with a field for each array, dimension and option.
 *
 * Dimensions: B batch, T time, R = B·T rows, C channels, NH query heads, KV key heads, each of which serves NH/KV query
 * heads in a row (KV divides NH), H = NH + 2·KV heads of queries, keys and values, HS head size (C = NH·HS), V
 * vocabulary, P positions, K and N the input and output width of a linear layer, S sequences, n elements, N numbers of
 * rows, M streams. Arrays are dense and row-major.
 *
 * Conventions of every kernel:
 * - `out` is overwritten. If the kernel's flag `accumulate` is set, the result is added to it instead.
 * - `inout` is read and written: the gradients of parameters, to which kernels always add, and what a kernel updates.
 * - A written array shares no element with another array of the call.
 * - Results do not depend on the number of threads, and in forward kernels the bits of a row do not depend on the other
 *   rows.
 * - A wrong length, element type or dimension throws at once. Values (ids, row numbers) are checked where the host
 *   writes them; an engine whose memory the host shares checks them again.
 *
 * Notation of arrays: `'R C'` floats of that shape; `'i32 R < V'` whole numbers from 0 to V − 1, or from −1 with `from
 * -1`; `ascending`, each greater than the one before; `matrix K N`, a weight that an engine may keep packed. A name
 * with `?` may be null. A dimension that is not in `dims` follows from the arrays that have it, or from `sizes`: a
 * product, a sum (of dimensions and numbers), or the number of elements of a field; `rows|R` is that number where
 * `rows` is given, and R where it is null.
 */
import type { Activation, Dropout, LoopForm } from './options.js';

/** The types of numbers and choices among the arguments. */
export interface OptionTypes {
  readonly flag: boolean;
  /** Any number, infinite or NaN too. */
  readonly float: number;
  /** Finite; not below 0; from 0 to 1. */
  readonly number: number;
  readonly nonNegative: number;
  readonly fraction: number;
  /** A whole number, from 1 or from 0. */
  readonly count: number;
  readonly index: number;
  readonly activation: Activation;
  readonly loopForm: LoopForm;
  readonly dropout: Dropout;
  readonly 'dropout?': Dropout | null;
}

/** One kernel of a table. */
export interface KernelSpec {
  /** It multiplies matrices, whose elements it reads in the backend's precision. */
  readonly products?: true;
  readonly out?: Readonly<Record<string, string>>;
  readonly inout?: Readonly<Record<string, string>>;
  readonly in: Readonly<Record<string, string>>;
  readonly dims?: readonly string[];
  readonly sizes?: Readonly<Record<string, string>>;
  readonly options?: Readonly<Record<string, keyof OptionTypes>>;
}

/** The kernels of the model's forward and backward passes and of the optimizer; engines implement all of them. */
export const KERNELS = {
  // ---- element-wise ----------------------------------------------------------------------------------------

  /** out = a + b. */
  add: { out: { out: 'n' }, in: { a: 'n', b: 'n' } },
  /** out += inp. */
  accumulate: { inout: { out: 'n' }, in: { inp: 'n' } },
  /** out = kind(inp); see Activation. */
  activationForward: { out: { out: 'n' }, in: { inp: 'n' }, options: { kind: 'activation' } },
  /** dinp = dout ⊙ kind′(inp). */
  activationBackward: {
    out: { dinp: 'n' },
    in: { dout: 'n', inp: 'n' },
    options: { kind: 'activation', accumulate: 'flag' },
  },
  /** out = kind(first half of inp) ⊙ its second half, in each row; I is the width of a half. */
  gatedActivationForward: {
    out: { out: 'R I' },
    in: { inp: 'R 2 I' },
    dims: ['R', 'I'],
    options: { kind: 'activation' },
  },
  /** The gradients of the halves of each row: dout ⊙ second ⊙ kind′(first), and dout ⊙ kind(first). */
  gatedActivationBackward: {
    out: { dinp: 'R 2 I' },
    in: { dout: 'R I', inp: 'R 2 I' },
    dims: ['R', 'I'],
    options: { kind: 'activation', accumulate: 'flag' },
  },
  /**
   * out[r, c] = keep ? inp[r, c] / (1 − p) : 0, where sample = firstSample + ⌊r / T⌋ and element = (r mod T)·C + c. Its
   * own backward.
   */
  dropout: {
    out: { out: 'R C' },
    in: { inp: 'R C' },
    dims: ['R', 'C', 'T'],
    options: { dropout: 'dropout', accumulate: 'flag' },
  },

  // ---- gated residuals ---------------------------------------------------------------------------------------

  /** out = x + gate ⊙ f, or x + gate ⊙ (f − x); see LoopForm. G is C for a gate by channel, or 1. */
  gatedResidualForward: {
    out: { out: 'R C' },
    in: { x: 'R C', f: 'R C', gate: 'G' },
    dims: ['R', 'C', 'G'],
    options: { form: 'loopForm' },
  },
  /** dx = dout ⊙ (1 or 1 − gate); df = gate ⊙ dout; dgate += Σ_r dout ⊙ (f or f − x), summed over C too when G = 1. */
  gatedResidualBackward: {
    out: { dx: 'R C', df: 'R C' },
    inout: { dgate: 'G' },
    in: { dout: 'R C', x: 'R C', f: 'R C', gate: 'G' },
    dims: ['R', 'C', 'G'],
    options: { form: 'loopForm', accumulateX: 'flag', accumulateF: 'flag' },
  },

  // ---- input injection ---------------------------------------------------------------------------------------

  /**
   * Parcae's injection of u into the state (arXiv 2604.12946): out = exp(−Δ·A) ⊙ x + gain ⊙ u, with A = exp(a) and
   * Δ = softplus(b). The gain is Euler's Δ, or with `exact` (1 − exp(−Δ·A))/A.
   */
  stableInjectionForward: {
    out: { out: 'R C' },
    in: { x: 'R C', u: 'R C', a: 'C', b: 'C' },
    dims: ['R', 'C'],
    options: { exact: 'flag' },
  },
  /**
   * dx = exp(−Δ·A) ⊙ dout; du = gain ⊙ dout; da and db += ∂exp(−Δ·A)·Σ_r dout·x + ∂gain·Σ_r dout·u, with the
   * derivatives by a and by b.
   */
  stableInjectionBackward: {
    out: { dx: 'R C', du: 'R C' },
    inout: { da: 'C', db: 'C' },
    in: { dout: 'R C', x: 'R C', u: 'R C', a: 'C', b: 'C' },
    dims: ['R', 'C'],
    options: { exact: 'flag', accumulateX: 'flag', accumulateU: 'flag' },
  },

  // ---- streams ---------------------------------------------------------------------------------------------

  /**
   * The input of a loop from M streams that lie side by side: out[r] = Σ_i read_i·s_i. `coefficients` has P = M + 2
   * numbers for each stream i of each row: mix_i0 .. mix_i(M−1), read_i, write_i.
   */
  readStreamsForward: {
    out: { out: 'R C' },
    in: { streams: 'R M C', coefficients: 'R M P' },
    dims: ['R', 'C', 'M'],
    sizes: { P: 'M+2' },
  },
  /**
   * dstreams_i = read_i·dout, which with ones as coefficients copies a state to streams; dread_i += Σ_c dout·s_i, which
   * needs `streams`.
   */
  readStreamsBackward: {
    out: { dstreams: 'R M C' },
    inout: { 'dcoefficients?': 'R M P' },
    in: { dout: 'R C', 'streams?': 'R M C', coefficients: 'R M P' },
    dims: ['R', 'C', 'M'],
    sizes: { P: 'M+2' },
    options: { accumulate: 'flag' },
  },
  /**
   * Mixes the streams, and writes the change from the loop's input to its output y to each:
   * out_i = Σ_j mix_ij·s_j + write_i·(y − Σ_j read_j·s_j).
   */
  writeStreamsForward: {
    out: { out: 'R M C' },
    in: { streams: 'R M C', y: 'R C', coefficients: 'R M P' },
    dims: ['R', 'C', 'M'],
    sizes: { P: 'M+2' },
  },
  /**
   * dstreams_j = Σ_i (mix_ij − write_i·read_j)·dout_i; dy = Σ_i write_i·dout_i. In dcoefficients, with sums over c:
   * dmix_ij += dout_i·s_j, dread_j −= Σ_i write_i·dout_i·s_j, dwrite_i += dout_i·(y − Σ_j read_j·s_j).
   */
  writeStreamsBackward: {
    out: { dstreams: 'R M C', dy: 'R C' },
    inout: { dcoefficients: 'R M P' },
    in: { dout: 'R M C', streams: 'R M C', y: 'R C', coefficients: 'R M P' },
    dims: ['R', 'C', 'M'],
    sizes: { P: 'M+2' },
    options: { accumulateStreams: 'flag', accumulateY: 'flag' },
  },

  // ---- rows ------------------------------------------------------------------------------------------------

  /** out[r] = mask[r] ? a[r] : b[r]; null stands for zeros. */
  selectRows: {
    out: { out: 'R C' },
    in: { mask: 'i32 R', 'a?': 'R C', 'b?': 'R C' },
    dims: ['R', 'C'],
    options: { accumulate: 'flag' },
  },
  /** out[r] = scale[r]·inp[r]. */
  scaleRowsForward: {
    out: { out: 'R C' },
    in: { inp: 'R C', scale: 'R' },
    dims: ['R', 'C'],
    options: { accumulate: 'flag' },
  },
  /** dinp[r] = scale[r]·dout[r]; dscale[r] += Σ_c dout·inp. */
  scaleRowsBackward: {
    out: { 'dinp?': 'R C' },
    inout: { 'dscale?': 'R' },
    in: { dout: 'R C', inp: 'R C', scale: 'R' },
    dims: ['R', 'C'],
    options: { accumulate: 'flag' },
  },
  /** Columns [first, first + count) of `out` become those of `inp`; the others stay as they are. */
  copyColumns: {
    inout: { out: 'R C' },
    in: { inp: 'R C' },
    dims: ['R', 'C', 'first', 'count'],
    options: { accumulate: 'flag' },
  },
  /** out[i] = inp[index[i]]. */
  gatherRows: {
    out: { out: 'N C' },
    in: { inp: 'R C', index: 'i32 N ascending < R' },
    dims: ['R', 'C'],
    sizes: { N: 'index' },
  },
  /** out[index[i]] = inp[i]; other rows stay as they are. */
  scatterRows: {
    inout: { out: 'R C' },
    in: { inp: 'N C', index: 'i32 N ascending < R' },
    dims: ['R', 'C'],
    sizes: { N: 'index' },
  },

  // ---- exits -----------------------------------------------------------------------------------------------

  /**
   * How far states moved: out[r] = ‖x − former‖ / ‖former‖; with `before`, how far from a constant movement, ‖(x −
   * former) − (former − before)‖ / ‖former‖.
   */
  rowChange: {
    out: { out: 'R' },
    in: { x: 'R C', former: 'R C', 'before?': 'R C' },
    dims: ['R', 'C'],
  },
  /** out[r] = the entropy of softmax(logits[r]) in nats. */
  rowEntropy: { out: { out: 'R' }, in: { logits: 'R V' }, dims: ['R', 'V'] },
  /**
   * out[i] = KL(softmax(logits[i]) ‖ softmax(former[rows[i]])) in nats, to about 1e-6; all rows of `former` if `rows`
   * is null.
   */
  rowDivergence: {
    out: { out: 'N' },
    in: { logits: 'N V', former: 'R V', 'rows?': 'i32 N ascending < R' },
    dims: ['R', 'V'],
    sizes: { N: 'rows|R' },
  },

  // ---- embedding -------------------------------------------------------------------------------------------

  /** out[r] = wte[tokens[r]] + wpe[positions[r]], or wte[tokens[r]] alone. */
  embeddingForward: {
    out: { out: 'R C' },
    in: { tokens: 'i32 R < V', positions: 'i32 R < P', wte: 'V C', 'wpe?': 'P C' },
    dims: ['R', 'C'],
  },
  /** dwte[tokens[r]] += dout[r]; dwpe[positions[r]] += dout[r]. */
  embeddingBackward: {
    inout: { dwte: 'V C', 'dwpe?': 'P C' },
    in: { dout: 'R C', tokens: 'i32 R < V', positions: 'i32 R < P' },
    dims: ['R', 'C'],
  },

  // ---- norms -----------------------------------------------------------------------------------------------

  /** out = (inp − mean)·rstd·weight + bias over the channels of each row; rstd = 1/√(var + eps). */
  layernormForward: {
    out: { out: 'R C', mean: 'R', rstd: 'R' },
    in: { inp: 'R C', weight: 'C', 'bias?': 'C' },
    dims: ['R', 'C'],
    options: { eps: 'nonNegative' },
  },
  /**
   * With x̂ = (inp − mean)·rstd and d = dout ⊙ weight, dinp = rstd·(d − mean(d) − x̂·mean(d ⊙ x̂)), the means being
   * over the channels; dweight += Σ_r dout ⊙ x̂; dbias += Σ_r dout.
   */
  layernormBackward: {
    out: { dinp: 'R C' },
    inout: { dweight: 'C', 'dbias?': 'C' },
    in: { dout: 'R C', inp: 'R C', weight: 'C', mean: 'R', rstd: 'R' },
    dims: ['R', 'C'],
    options: { accumulate: 'flag' },
  },
  /** out = inp·rstd·weight; rstd = 1/√(mean of inp² over the channels + eps). */
  rmsnormForward: {
    out: { out: 'R C', rstd: 'R' },
    in: { inp: 'R C', weight: 'C' },
    dims: ['R', 'C'],
    options: { eps: 'nonNegative' },
  },
  /**
   * With x̂ = inp·rstd and d = dout ⊙ weight, dinp = rstd·(d − x̂·mean(d ⊙ x̂)); dweight += Σ_r dout ⊙ x̂.
   */
  rmsnormBackward: {
    out: { dinp: 'R C' },
    inout: { dweight: 'C' },
    in: { dout: 'R C', inp: 'R C', weight: 'C', rstd: 'R' },
    dims: ['R', 'C'],
    options: { accumulate: 'flag' },
  },

  // ---- linear ----------------------------------------------------------------------------------------------

  /** out = inp · weight + bias. */
  linearForward: {
    products: true,
    out: { out: 'R N' },
    in: { inp: 'R K', weight: 'matrix K N', 'bias?': 'N' },
    dims: ['R', 'K', 'N'],
  },
  /** dinp = dout · weightᵀ. */
  linearBackwardInput: {
    products: true,
    out: { dinp: 'R K' },
    in: { dout: 'R N', weight: 'matrix K N' },
    dims: ['R', 'K', 'N'],
    options: { accumulate: 'flag' },
  },
  /** dweight += inpᵀ · dout; dbias += Σ_r dout. */
  linearBackwardWeight: {
    products: true,
    inout: { dweight: 'K N', 'dbias?': 'N' },
    in: { dout: 'R N', inp: 'R K' },
    dims: ['R', 'K', 'N'],
  },

  // ---- attention -------------------------------------------------------------------------------------------

  /**
   * The query and key heads of each row of `qkv`, in place: each is divided by its root mean square if `rstd` is given
   * (rstd = 1/√(mean(x²) + eps)), and rotated by its row's position if `rotation` is given: its halves a and b become
   * a·cos − b·sin and b·cos + a·sin, where a row of `rotation` has the ⌊HS/2⌋ cosines and then the sines of a position.
   * An odd last channel is not rotated.
   */
  headsForward: {
    out: { 'rstd?': 'R QK' },
    inout: { qkv: 'R H HS' },
    in: { positions: 'i32 R < P', 'rotation?': 'P HS' },
    dims: ['R', 'NH', 'KV', 'HS'],
    sizes: { H: 'NH+KV+KV', QK: 'NH+KV' },
    options: { eps: 'nonNegative' },
  },
  /**
   * Turns the gradient d with respect to the output y of `headsForward` into the gradient with respect to its input, in
   * place: rstd·(d − y·mean(d ⊙ y)), rotated back.
   */
  headsBackward: {
    inout: { dqkv: 'R H HS' },
    in: { qkv: 'R H HS', 'rstd?': 'R QK', positions: 'i32 R < P', 'rotation?': 'P HS' },
    dims: ['R', 'NH', 'KV', 'HS'],
    sizes: { H: 'NH+KV+KV', QK: 'NH+KV' },
  },
  /**
   * Causal self-attention: out = softmax(q·kᵀ/√HS + causal mask)·v for each query head, whose key head is that of its
   * group (grouped-query attention, Ainslie et al. 2023, arXiv 2305.13245); `qkv` holds queries, keys and values. `lse`
   * receives the log-sum-exp of each scaled score row, which is all that the backward pass needs. With `rows`, numbers
   * b·T + t, only these queries and their elements of `lse` are computed. Dropout acts on the attention weights with
   * sample = (firstSample + b)·NH + h and element = query·65536 + key.
   */
  attentionForward: {
    products: true,
    out: { out: 'N NH HS' },
    inout: { lse: 'B NH T' },
    in: { qkv: 'B T H HS', 'rows?': 'i32 N ascending < R' },
    dims: ['B', 'T', 'NH', 'KV', 'HS'],
    sizes: { H: 'NH+KV+KV', R: 'B*T', N: 'rows|R' },
    options: { dropout: 'dropout?' },
  },
  /**
   * The gradient of `attentionForward` by `qkv`. Without dropout, with P_ij = exp(q_i·k_j/√HS − lse_i): dv_j = Σ_i
   * P_ij·dout_i; ds_ij = P_ij·(dout_i·v_j − dout_i·out_i)/√HS; dq_i = Σ_j ds_ij·k_j; dk_j = Σ_i ds_ij·q_i. A key head
   * has the sum over its query heads. native/attention.cc derives it.
   */
  attentionBackward: {
    products: true,
    out: { dqkv: 'B T H HS' },
    in: { dout: 'B T NH HS', out: 'B T NH HS', lse: 'B NH T', qkv: 'B T H HS' },
    dims: ['B', 'T', 'NH', 'KV', 'HS'],
    sizes: { H: 'NH+KV+KV' },
    options: { dropout: 'dropout?', accumulate: 'flag' },
  },
  /**
   * Causal self-attention of new rows over the past of their sequences: appends their keys and values to the cache, a
   * whole number of pages in the backend's own layout, and attends to all positions up to the row's own. `table` holds,
   * for each sequence in the order of its rows: the number of its rows, the number of its positions in the cache, and
   * its pages. The content of a page beyond a sequence's end is ignored, so that a smaller number cuts a sequence. A
   * row has the same bits as in `attentionForward`.
   * With `rows`, only these queries are computed; all keys and values are appended.
   */
  cachedAttention: {
    products: true,
    out: { out: 'N NH HS' },
    inout: { cache: 'pages page' },
    in: { qkv: 'R H HS', table: 'i32 S width', 'rows?': 'i32 N ascending < R' },
    dims: ['R', 'NH', 'KV', 'HS', 'S', 'width'],
    sizes: { H: 'NH+KV+KV', page: 'cachePageLength', N: 'rows|R' },
  },

  // ---- head ------------------------------------------------------------------------------------------------

  /** out = inp · weightᵀ; for sampling, which needs few rows. */
  logits: {
    products: true,
    out: { out: 'R V' },
    in: { inp: 'R C', weight: 'matrix V C' },
    dims: ['R', 'C', 'V'],
  },
  /**
   * Softmax cross-entropy of inp · weightᵀ against `targets`, without storing the logits of all rows.
   * loss[r] = −log p(targets[r]) in nats, 0 where targets[r] = −1; argmax[r] and maxProb[r] are the most probable token
   * and its probability, computed for every row.
   */
  headForward: {
    products: true,
    out: { loss: 'R', 'argmax?': 'i32 R', 'maxProb?': 'R' },
    in: { inp: 'R C', weight: 'matrix V C', targets: 'i32 R from -1 < V' },
    dims: ['R', 'C', 'V'],
  },
  /**
   * `headForward` together with its gradients, for the total Σ_r rowWeights[r]·loss[r]: with d[r] =
   * rowWeights[r]·(softmax − one-hot of the target), dinp = d · weight and dweight += dᵀ · inp.
   */
  headForwardBackward: {
    products: true,
    out: { loss: 'R', 'argmax?': 'i32 R', 'maxProb?': 'R', dinp: 'R C' },
    inout: { dweight: 'V C' },
    in: { inp: 'R C', weight: 'matrix V C', targets: 'i32 R from -1 < V', rowWeights: 'R' },
    dims: ['R', 'C', 'V'],
  },

  // ---- optimizer -------------------------------------------------------------------------------------------

  /**
   * out[0] + out[1] = Σ inp, to within 2^-40·Σ|inp|: the sum rounded to a float, and the rounding error. nonFinite[0]
   * becomes 1 if an element or the sum is not finite, and otherwise stays.
   */
  sum: { out: { out: '2' }, inout: { nonFinite: '1' }, in: { inp: 'n' } },
  /** out[0] = Σ inp², to within 1e-6 of it; `nonFinite` as in `sum`. */
  sumSquares: { out: { out: '1' }, inout: { nonFinite: '1' }, in: { inp: 'n' } },
  /**
   * One AdamW update of a run of parameters (Loshchilov & Hutter 2019, arXiv 1711.05101), in place; does nothing if
   * nonFinite[0] is not 0. `squares` holds the sum of squares of the whole gradient:
   * g = grad·min(1, gradClip/(√squares + 1e-6)), or grad if gradClip is 0; m = β1·m + (1 − β1)·g; v = β2·v + (1 −
   * β2)·g²; param −= lr·(m̂/(√v̂ + eps) + weightDecay·param), where m̂ and v̂ are bias-corrected for update number
   * `step`, counted from 1.
   */
  adamw: {
    inout: { param: 'n', m: 'n', v: 'n' },
    in: { grad: 'n', squares: '1', nonFinite: '1' },
    options: {
      lr: 'number',
      beta1: 'fraction',
      beta2: 'fraction',
      eps: 'nonNegative',
      weightDecay: 'number',
      step: 'count',
      gradClip: 'nonNegative',
    },
  },
  /**
   * Muon's momentum (Jordan et al. 2024) of columns [first, first + count) of a matrix: momentum = β·momentum + g, and
   * Nesterov's out = g + β·momentum, where g is the clipped gradient as in `adamw`. If nonFinite[0] is not 0, momentum
   * is unchanged and out is 0.
   */
  muonMomentum: {
    out: { out: 'R count' },
    inout: { momentum: 'R C' },
    in: { grad: 'R C', squares: '1', nonFinite: '1' },
    dims: ['R', 'C', 'first', 'count'],
    options: { beta: 'fraction', gradClip: 'nonNegative' },
  },
  /** x = x/(√squares + eps). */
  scaleByNorm: { inout: { x: 'n' }, in: { squares: '1' }, options: { eps: 'nonNegative' } },
  /** out = a·I + b·x + c·square, where I is the identity. */
  matrixPolynomial: {
    out: { out: 'N N' },
    in: { x: 'N N', square: 'N N' },
    dims: ['N'],
    options: { a: 'number', b: 'number', c: 'number' },
  },
  /**
   * Columns [first, first + count) of param −= lr·(scale·update + weightDecay·param); does nothing if nonFinite[0] is
   * not 0.
   */
  muonUpdate: {
    inout: { param: 'R C' },
    in: { update: 'R count', nonFinite: '1' },
    dims: ['R', 'C', 'first', 'count'],
    options: { lr: 'number', scale: 'number', weightDecay: 'number' },
  },
  /** average = decay·average + (1 − decay)·param; does nothing if nonFinite[0] is not 0. */
  averageWeights: {
    inout: { average: 'n' },
    in: { param: 'n', nonFinite: '1' },
    options: { decay: 'fraction' },
  },
} as const satisfies Record<string, KernelSpec>;

/**
 * Kernels that decide which rows halt, at which exit, and at what cost. They handle R or R·N numbers, against the R·C²
 * of a block: engines in the host's memory share one implementation. Masks are i32, 1 where a row runs.
 */
export const EXIT_KERNELS = {
  /**
   * One step of ACT (Graves 2016, arXiv 1603.08983). From the halting probability h, the sum of the former ones, and
   * which rows run, it computes the weight p of this step's state, the sum so far, and which rows continue. A row stops
   * when its sum reaches 1 − ε: p = h while the row continues, 1 − the former sum where it stops, else 0. With `last`,
   * every running row stops here.
   */
  actForward: {
    out: { p: 'n', nextSum: 'n', goingOn: 'i32 n' },
    in: { h: 'n', sum: 'n', running: 'i32 n' },
    options: { epsilon: 'number', last: 'flag' },
  },
  /**
   * The gradient flows through the remainder, not through the number of steps: where a row continues, dh += dp +
   * dnextSum and dsum += dnextSum; where it stops, dsum −= dp.
   */
  actBackward: {
    inout: { dh: 'n', dsum: 'n' },
    in: { dp: 'n', 'dnextSum?': 'n', running: 'i32 n', goingOn: 'i32 n' },
  },
  /** ponder[r] += what this step cost: 1 where a row runs, and the remainder p where it stops. */
  ponder: { inout: { ponder: 'n' }, in: { p: 'n', running: 'i32 n', goingOn: 'i32 n' } },
  /** out[r] = value where a row runs and does not continue, else 0. */
  stopped: { out: { out: 'n' }, in: { running: 'i32 n', goingOn: 'i32 n' }, options: { value: 'float' } },
  /**
   * out[t] = mean of inp[0..t] and the `past` rows before them. `sums` passes from call to call: it holds the sum of
   * the past rows, then of these too; it starts from 0 if past is 0.
   */
  causalMean: { out: { out: 'T C' }, inout: { sums: 'C' }, in: { inp: 'T C' }, dims: ['T', 'C', 'past'] },
  /** Stops the rows whose value exceeds the threshold. */
  stopAbove: { inout: { running: 'i32 n' }, in: { values: 'n' }, options: { threshold: 'float' } },
  /** Stops the rows whose value lies below the threshold. */
  stopBelow: { inout: { running: 'i32 n' }, in: { values: 'n' }, options: { threshold: 'float' } },
  /** Stops the rows whose exit is this depth. */
  stopAt: { inout: { running: 'i32 n' }, in: { exits: 'i32 n' }, options: { depth: 'index' } },
  /** counts[r] += 1 where a row runs. */
  countRunning: { inout: { counts: 'i32 n' }, in: { running: 'i32 n' } },
  /** out[0] + out[1] = Σ counts, as in `sum`. */
  sumCounts: { out: { out: '2' }, in: { counts: 'i32 n' } },
  /** exits[r] = arg max of z[r]; the first of equal ones. */
  argmaxRows: { out: { exits: 'i32 R' }, in: { z: 'R N' }, dims: ['N'] },
  /** out[r] = 1 where a and b differ, else 0. */
  differ: { out: { out: 'n' }, in: { a: 'i32 n', b: 'i32 n' } },
  /**
   * weights[r] = value where exits[r] is this depth, or is later and this is the `last`, else 0; rows with target −1
   * get 0.
   */
  weightsAt: {
    out: { weights: 'n' },
    in: { exits: 'i32 n', targets: 'i32 n' },
    options: { depth: 'index', last: 'flag', value: 'float' },
  },
  /**
   * exits[r] = the depth n with the least cost + λ·n, of N; the costs smoothed over neighbouring rows by exp(−Δt²/σ),
   * or summed over the sequence (Elbayad et al. 2019, arXiv 1910.10073). Smoothing takes a weighted mean, so λ keeps
   * its unit.
   */
  oracle: {
    out: { exits: 'i32 B T' },
    in: { costs: 'N B T' },
    dims: ['B', 'T', 'N'],
    options: { lambda: 'number', sigma: 'nonNegative', perSequence: 'flag' },
  },
  /**
   * Whether to exit at this depth, learned from the oracle's exits: loss[r] += −log σ(z) where the exit is here,
   * −log(1 − σ(z)) where it comes later, nothing where it came before; dz = weight · its derivative.
   */
  exitHereLoss: {
    out: { dz: 'n' },
    inout: { loss: 'n' },
    in: { z: 'n', exits: 'i32 n' },
    options: { depth: 'index', weight: 'float' },
  },
  /** At which depth to exit: cross-entropy of softmax(z[r]) with the oracle's exits; dz = weight · its derivative. */
  exitChoiceLoss: {
    out: { dz: 'R N' },
    inout: { loss: 'R' },
    in: { z: 'R N', exits: 'i32 R < N' },
    dims: ['N'],
    options: { weight: 'float' },
  },
} as const satisfies Record<string, KernelSpec>;

export const ALL_KERNELS = { ...KERNELS, ...EXIT_KERNELS };
export type KernelName = keyof typeof ALL_KERNELS;

type Arrays<Fields, Floats, Ints> = {
  readonly [Name in keyof Fields & string as Name extends `${infer Bare}?` ? Bare : Name]:
    | (Fields[Name] extends `i32 ${string}` ? Ints : Floats)
    | (Name extends `${string}?` ? null : never);
};
type Part<Spec, Name extends string> = Spec extends { readonly [K in Name]: infer Fields } ? Fields : unknown;

/** The arguments of a kernel, its arrays being of the given types. */
export type Arguments<Spec extends KernelSpec, Floats, Ints> = Arrays<Part<Spec, 'out'>, Floats, Ints> &
  Arrays<Part<Spec, 'inout'>, Floats, Ints> &
  Arrays<Spec['in'], Floats, Ints> & {
    readonly [Name in Spec extends { dims: readonly (infer Names extends string)[] } ? Names : never]: number;
  } & {
    readonly [Name in keyof Part<Spec, 'options'>]: OptionTypes[Part<Spec, 'options'>[Name] &
      keyof OptionTypes];
  };

/** A method for each kernel of a table. */
export type Methods<Table extends Record<string, KernelSpec>, Floats, Ints> = {
  readonly [Name in keyof Table]: (args: Arguments<Table[Name], Floats, Ints>) => void;
};
