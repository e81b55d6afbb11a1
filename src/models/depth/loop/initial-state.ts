/**
 * The state that the first loop starts from (`initialState: random`): a row of a table of N(0, σ²) draws, in place of
 * the looped stack's input e, which the loops then meet by injection alone (Geiping et al. 2025, arXiv 2502.05171). σ =
 * √2·initStd, as large as the sum of a token's and a position's embedding at the start.
 *
 * The table is a constant of the model, kept on its backend. A pass with a key, which learns, draws each row's number;
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

/** The table (blockSize, C). */
export function initialStates(config: ModelConfig): Float64Array {
  const { blockSize, nEmbd: C } = config;
  return normal(SEED, NAME, blockSize * C, Math.SQRT2 * initialStd(config));
}

/** A first state in place of e (R, C), which the caller owns; null where e itself is the first. */
export function firstState(
  { runtime, shape }: Tensor,
  { batch, key, constants }: ForwardContext,
): Tensor | null {
  const { initialStates: table } = constants;
  if (!table) return null;
  const [R, C] = shape;
  using drawn = key ? runtime.from(drawRows(key, R, table.shape[0]), [R]) : null;
  const rows = (drawn ?? batch.positions).storage;
  using state = runtime.empty(shape);
  const args = { out: state.storage, tokens: rows, positions: rows, wte: table.storage, wpe: null };
  runtime.backend.embeddingForward({ ...args, R, C });
  return detach(state);
}

/** One of `count` rows for each of R; a pure function of the key. */
function drawRows({ seed, step, microStep }: DropoutKey, R: number, count: number): Int32Array {
  const word = hashWords(seed, step, microStep, ROWS);
  return Int32Array.from({ length: R }, (_, r) => hashWords(word, r) % count);
}
