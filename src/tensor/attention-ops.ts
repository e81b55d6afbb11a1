/**
 * The ops of attention: placing its heads, attention over whole sequences and over a cache, and keys of another
 * application. As in `ops.ts`, inputs are borrowed and the caller owns the result.
 */
import type { Dropout, Storage } from '../backend/backend.js';
import { produce, rows } from './ops.js';
import { Tensor } from './tensor.js';

/** The heads of attention: NH of queries, KV of keys and as many of values, of HS channels each; KV divides NH. */
export interface Heads {
  readonly NH: number;
  readonly KV: number;
  readonly HS: number;
}

/**
 * How query and key heads are transformed before their product: RMS norm with `eps`, and rotation by their positions.
 */
export interface HeadPlacing {
  /** Null for no norm. */
  readonly eps: number | null;
  /** Cosines and sines of each position's angles (P, HS); null for no rotation. */
  readonly rotation: Tensor | null;
}

/**
 * `qkv (R, H·HS)` with its queries and keys placed at `positions (R)`; see the kernel headsForward. It works in place:
 * `qkv` must come from a linear layer, whose backward pass does not read its output.
 */
export function placeHeads(
  qkv: Tensor,
  positions: Tensor,
  { NH, KV, HS }: Heads,
  { eps, rotation }: HeadPlacing,
): Tensor {
  const { runtime } = qkv;
  const { backend, tape } = runtime;
  const R = qkv.shape[0];
  const dims = { R, NH, KV, HS };
  using rstd = eps === null ? null : runtime.empty([R, NH + KV]);
  const given = {
    rstd: rstd?.storage ?? null,
    positions: positions.storage,
    rotation: rotation?.storage ?? null,
  };
  backend.headsForward({ qkv: qkv.storage, eps: eps ?? 0, ...given, ...dims });
  const out = new Tensor(runtime, qkv.shape, qkv.buffer.retain());
  const kept = [rstd, rotation].filter((x) => x !== null);
  tape?.record(out, [out, positions, ...kept], (dout) => {
    const { shared } = dout;
    const own = shared ? runtime.pool.take(backend.dtype, qkv.size) : dout.retain();
    if (shared) backend.copy(own.storage, dout.storage);
    backend.headsBackward({ dqkv: own.storage, qkv: out.storage, ...given, ...dims });
    tape.pass(qkv, own);
    own.release();
  });
  return out;
}

/**
 * Causal multi-head self-attention of B sequences; `qkv (B·T, H·HS)` → (B·T, C). With `rows`, ascending, only these
 * queries are computed, (rows, C); that records no gradient.
 */
export function attention(
  qkv: Tensor,
  B: number,
  T: number,
  { NH, KV, HS }: Heads,
  dropout: Dropout | null,
  rows: Tensor | null = null,
): Tensor {
  const { runtime } = qkv;
  const { backend, tape } = runtime;
  const dims = { B, T, NH, KV, HS };
  using lse = runtime.empty([B, NH, T]);
  const out = produce(runtime, [rows ? rows.size : B * T, NH * HS], (y) =>
    backend.attentionForward({
      out: y,
      lse: lse.storage,
      qkv: qkv.storage,
      rows: rows?.storage ?? null,
      dropout,
      ...dims,
    }),
  );
  if (rows) return out;
  tape?.record(out, [qkv, out, lse], (dout) => {
    const d = tape.target(qkv);
    backend.attentionBackward({
      dqkv: d.storage,
      dout: dout.storage,
      out: out.storage,
      lse: lse.storage,
      qkv: qkv.storage,
      dropout,
      accumulate: d.accumulate,
      ...dims,
    });
  });
  return out;
}

/**
 * Causal multi-head self-attention of new rows over a key/value cache, to which it appends theirs (see
 * the kernel of that name); `qkv (R, H·HS)`, `table (S, width)` → (R, C), or (rows, C). It records no gradient.
 */
export function cachedAttention(
  qkv: Tensor,
  cache: Storage,
  table: Tensor,
  { NH, KV, HS }: Heads,
  rows: Tensor | null,
): Tensor {
  const { runtime } = qkv;
  const R = qkv.shape[0];
  const [S, width] = table.shape;
  const dims = { R, NH, KV, HS, S, width };
  return produce(runtime, [rows ? rows.size : R, NH * HS], (y) =>
    runtime.backend.cachedAttention({
      out: y,
      cache,
      qkv: qkv.storage,
      table: table.storage,
      rows: rows?.storage ?? null,
      ...dims,
    }),
  );
}

/**
 * The queries of `qkv` with the keys and values of `from`; both (R, H·HS). With `learns`, the gradient of keys and
 * values passes to `from`; otherwise it is dropped.
 */
export function withKeysOf(qkv: Tensor, from: Tensor, { NH, KV, HS }: Heads, learns: boolean): Tensor {
  const { runtime } = qkv;
  const { backend, tape } = runtime;
  const dims = rows(qkv);
  const queries = { ...dims, first: 0, count: NH * HS };
  const keys = { ...dims, first: NH * HS, count: 2 * KV * HS };
  const out = produce(runtime, qkv.shape, (y) => {
    backend.copyColumns({ out: y, inp: qkv.storage, ...queries, accumulate: false });
    backend.copyColumns({ out: y, inp: from.storage, ...keys, accumulate: false });
  });
  tape?.record(out, [], (dout) => {
    const back = (x: Tensor, columns: typeof keys) => {
      const { storage, accumulate } = tape.target(x);
      if (!accumulate) backend.fill(storage, 0);
      backend.copyColumns({ out: storage, inp: dout.storage, ...columns, accumulate });
    };
    back(qkv, queries);
    if (learns) back(from, keys);
  });
  return out;
}
