/**
 * The initial state of the first loop (`initialState: random`): a row of a table of N(0, σ²) draws. It replaces the
 * looped stack's input e, which then enters the loops only by injection (Geiping et al. 2025, arXiv 2502.05171). σ =
 * √2·initStd, the size of the sum of a token's and a position's embedding at the start of training.
 *
 * The table is a constant of the model, kept on its backend. A training pass has a key, and draws a row number for each
 * token. Evaluation and decoding take the row of the token's position, so that a token's state does not depend on how
 * the tokens are cut into passes.
 */
import { type DropoutKey, hashWords, normal } from '../../../random.js';
import { detach } from '../../../tensor/ops.js';
import type { Tensor } from '../../../tensor/tensor.js';
import type { ForwardContext } from '../../context.js';
import { initialStd, type ModelConfig } from '../../model-fields.js';

/** The key of the table's draws. */
const [SEED, NAME] = [0, 'initial_state'];
/** Separates the draw of rows from other draws of the same key. */
const ROWS = 0x53746174;

/** The table (blockSize, C). */
export function initialStates(config: ModelConfig): Float64Array {
  const { blockSize, nEmbd: C } = config;
  return normal(SEED, NAME, blockSize * C, Math.SQRT2 * initialStd(config));
}

/** A first state in place of e (R, C), which the caller owns; null if e itself is the first state. */
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
