/**
 * The state that the first loop starts from (`initialState: random`): a row of a table of N(0, σ²) draws, in place of
 * the looped stack's input e, which the loops then meet by injection alone (Geiping et al. 2025, arXiv 2502.05171). σ =
 * √2·initStd, as large as the sum of a token's and a position's embedding at the start.
 *
 * The table (blockSize, C) is a constant of the model. A pass with a key, which learns, draws each row's number;
 * evaluation and decoding take the row of its position, so that a token's state does not depend on how the tokens are
 * cut into passes.
 */
import { type DropoutKey, hashWords, normal } from '../../../random.js';
import { detach } from '../../../tensor/ops.js';
import type { Tensor } from '../../../tensor/tensor.js';
import type { ForwardContext } from '../../context.js';
import { initialStd, type ModelConfig } from '../../model-fields.js';

/** Names the draws of the table. */
const [SEED, NAME] = [0, 'initial_state'];
/** Sets the rows apart from whatever else a key draws. */
const ROWS = 0x53746174;

export class InitialState {
  private table: Float64Array | null = null;

  constructor(private readonly config: ModelConfig) {}

  /** A first state in place of e (R, C); the caller owns it. */
  like(e: Tensor, { batch, key }: ForwardContext): Tensor {
    const { runtime, shape } = e;
    const [R, C] = shape;
    const { blockSize } = this.config;
    const reach = key ? blockSize : batch.reach;
    this.table ??= normal(SEED, NAME, blockSize * C, Math.SQRT2 * initialStd(this.config));
    using table = runtime.from(this.table.subarray(0, reach * C), [reach, C]);
    using zeros = runtime.from(new Float64Array(C), [1, C]);
    using first = runtime.from(new Int32Array(R), [R]);
    using drawn = key ? runtime.from(drawRows(key, R, blockSize), [R]) : null;
    using state = runtime.empty(shape);
    runtime.backend.embeddingForward({
      out: state.storage,
      tokens: first.storage,
      positions: (drawn ?? batch.positions).storage,
      wte: zeros.storage,
      wpe: table.storage,
      R,
      C,
    });
    return detach(state);
  }
}

/** One of `count` rows for each of R; a pure function of the key. */
function drawRows({ seed, step, microStep }: DropoutKey, R: number, count: number): Int32Array {
  const word = hashWords(seed, step, microStep, ROWS);
  return Int32Array.from({ length: R }, (_, r) => hashWords(word, r) % count);
}
