/**
 * The rows of the embedding that processes' last micro-steps read. A backward pass computes the embedding's own
 * gradient last, and only in these rows; if the output layer shares the weights, the other rows are complete when the
 * pass begins. The embedding's gradient is therefore computed in a copy of the rows, which is exchanged at the end,
 * after all blocks.
 */
import type { Storage } from '../backend/backend.js';
import type { Parameters } from '../nn/parameters.js';
import type { Buffer } from '../tensor/pool.js';
import type { Parameter, Tensor } from '../tensor/tensor.js';
import { gatherTexts, type Peers } from './peers.js';

/** The largest part of the rows for which a copy pays. */
const MOST = 1 / 4;

export class TouchedRows implements Disposable {
  private readonly index: Tensor;
  /** For each token of this process, its row in the copy. */
  private readonly tokens: Tensor;

  private constructor(
    private readonly parameters: Parameters,
    private readonly embedding: Parameter,
    rows: Int32Array,
    tokens: Int32Array,
  ) {
    const { runtime } = parameters;
    const places = new Map([...rows].map((row, i) => [row, i]));
    this.index = runtime.from(rows, [rows.length]);
    this.tokens = runtime.from(
      tokens.map((token) => places.get(token)!),
      [tokens.length],
    );
  }

  /** The rows that any process reads for the tokens of its last micro-step; null if they are too many. */
  static async of(peers: Peers, parameters: Parameters, tokens: Int32Array): Promise<TouchedRows | null> {
    const embedding = parameters.all.find(({ role }) => role === 'embedding');
    const own = [...new Set(tokens)];
    const all = (await gatherTexts(peers, JSON.stringify(own))).flatMap(
      (text) => JSON.parse(text) as number[],
    );
    const rows = Int32Array.from(new Set(all)).sort();
    if (!embedding || rows.length > MOST * embedding.shape[0]) return null;
    return new TouchedRows(parameters, embedding, rows, tokens);
  }

  /** Elements of the copy. */
  get length(): number {
    return this.index.size * this.embedding.shape[1];
  }

  /** A copy of the rows of a storage in the parameters' layout. */
  take(flat: Storage): Buffer {
    const { backend, pool } = this.parameters.runtime;
    const copy = pool.take(backend.dtype, this.length);
    backend.gatherRows({
      out: copy.storage,
      inp: this.partOf(flat),
      index: this.index.storage,
      ...this.dims,
    });
    return copy;
  }

  /** Writes the copy back. */
  put(flat: Storage, copy: Buffer): void {
    const { backend } = this.parameters.runtime;
    backend.scatterRows({
      out: this.partOf(flat),
      inp: copy.storage,
      index: this.index.storage,
      ...this.dims,
    });
  }

  /** Redirects the embedding's gradient to the copy while `pass` runs. */
  async redirecting(copy: Buffer, pass: () => Promise<void>): Promise<void> {
    const { runtime } = this.parameters;
    runtime.rowGradient = { of: this.embedding, gradient: copy.storage, tokens: this.tokens.storage };
    try {
      await pass();
    } finally {
      runtime.rowGradient = null;
    }
  }

  [Symbol.dispose](): void {
    this.index.dispose();
    this.tokens.dispose();
  }

  private get dims() {
    const [R, C] = this.embedding.shape;
    return { R, C };
  }

  private partOf(flat: Storage): Storage {
    const { runtime } = this.parameters;
    return runtime.backend.slice(flat, this.parameters.offsetOf(this.embedding), this.embedding.size);
  }
}
