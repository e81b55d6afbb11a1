/**
 * The key/value cache: a pool of pages that sequences share. A sequence has separate pages for each application,
 * because a block that runs twice has different keys the second time. It must not import models: places of applications
 * are numbers here.
 */
import { type Dropout, PAGE_POSITIONS, type Storage } from '../backend/backend.js';
import { type ApplicationPlace, type Batch, meanOfRows } from '../models/batch.js';
import { headsOf, type ModelConfig } from '../models/config.js';
import { cachedAttention, type Heads } from '../tensor/attention-ops.js';
import type { Runtime, Tensor } from '../tensor/tensor.js';

/** The pool's size in pages at the first request; it doubles from there. */
const FIRST_PAGES = 16;

export class KeyValueCache implements Disposable {
  private pool: Storage | null = null;
  private pages = 0;
  private readonly free: number[] = [];
  private readonly pageLength: number;

  constructor(
    readonly runtime: Runtime,
    readonly config: ModelConfig,
  ) {
    const { KV, HS } = headsOf(config);
    this.pageLength = runtime.backend.cachePageLength(KV, HS);
  }

  /** Pages that sequences hold. */
  get used(): number {
    return this.pages - this.free.length;
  }

  /** Bytes of one page. */
  get pageBytes(): number {
    return this.pageLength * (this.runtime.backend.dtype === 'f64' ? 8 : 4);
  }

  get storage(): Storage {
    if (!this.pool) throw new Error('KeyValueCache.storage: no page has been taken');
    return this.pool;
  }

  /** A page with the content of its last use. Throws BackendError when memory is short. */
  take(): number {
    if (this.free.length === 0) this.grow();
    return this.free.pop()!;
  }

  /** A new page with a copy of another page's content. Throws BackendError when memory is short. */
  duplicate(page: number): number {
    const copy = this.take(); // may move the pool
    const { pageLength } = this;
    this.runtime.backend.copyWithin(this.storage, copy * pageLength, page * pageLength, pageLength);
    return copy;
  }

  give(pages: Iterable<number>): void {
    this.free.push(...pages);
  }

  private grow(): void {
    const { backend } = this.runtime;
    const pages = Math.max(FIRST_PAGES, 2 * this.pages);
    const pool = backend.allocate(backend.dtype, pages * this.pageLength);
    if (this.pool) {
      backend.copy(backend.slice(pool, 0, this.pool.length), this.pool);
      backend.free(this.pool);
    }
    this.pool = pool;
    for (let page = pages - 1; page >= this.pages; page--) this.free.push(page);
    this.pages = pages;
  }

  [Symbol.dispose](): void {
    if (this.pool) this.runtime.backend.free(this.pool);
    this.pool = null;
    this.pages = 0;
    this.free.length = 0;
  }
}

/** The cache's part for one sequence. */
export class CachedSequence implements Disposable {
  /** Number of positions whose keys and values are cached. */
  length = 0;
  private readonly pages = new Map<number, number[]>();
  private summed: Tensor | null = null;

  constructor(private readonly cache: KeyValueCache) {}

  /** The pages of an application, enough for `positions`. */
  pagesOf(place: ApplicationPlace, positions: number): readonly number[] {
    const { nLayer, nInnerLoop } = this.cache.config;
    const slot = (place.loop * nLayer + place.layer) * nInnerLoop + place.inner;
    let pages = this.pages.get(slot);
    if (!pages) {
      pages = [];
      this.pages.set(slot, pages);
    }
    while (pages.length * PAGE_POSITIONS < positions) pages.push(this.cache.take());
    return pages;
  }

  /** The sum over the positions so far of the vectors that a causal mean averages (C). */
  sums(C: number): Tensor {
    this.summed ??= this.cache.runtime.empty([C]);
    return this.summed;
  }

  /**
   * Makes this sequence, which must be empty, a copy of the first `length` positions of another sequence. The sums are
   * copied as they are, over all its positions. Throws BackendError when memory is short.
   */
  copy(other: CachedSequence, length: number): void {
    const used = Math.ceil(length / PAGE_POSITIONS);
    for (const [slot, pages] of other.pages) {
      const own: number[] = [];
      this.pages.set(slot, own);
      for (const page of pages.slice(0, used)) own.push(this.cache.duplicate(page));
    }
    const { summed } = other;
    if (summed) this.cache.runtime.backend.copy(this.sums(summed.size).storage, summed.storage);
    this.length = length;
  }

  [Symbol.dispose](): void {
    for (const pages of this.pages.values()) this.cache.give(pages);
    this.pages.clear();
    this.summed?.dispose();
    this.summed = null;
    this.length = 0;
  }
}

/** New rows of some sequences. */
export interface NewRows {
  readonly sequence: CachedSequence;
  readonly count: number;
}

/** The batch of a pass over new rows; call `commit` when the pass has succeeded. */
export class CachedBatch implements Batch {
  readonly cached = true;
  readonly positions: Tensor;
  readonly reach: number;
  readonly T: number;

  constructor(
    private readonly cache: KeyValueCache,
    private readonly parts: readonly NewRows[],
  ) {
    const positions: number[] = [];
    for (const { sequence, count } of parts) {
      for (let i = 0; i < count; i++) positions.push(sequence.length + i);
    }
    this.T = positions.length;
    this.reach = Math.max(...parts.map(({ sequence, count }) => sequence.length + count));
    this.positions = cache.runtime.from(Int32Array.from(positions), [positions.length]);
  }

  attend(
    qkv: Tensor,
    heads: Heads,
    place: ApplicationPlace,
    _dropout: Dropout | null,
    rows: Tensor | null,
  ): Tensor {
    const { cache, parts } = this;
    const width = 2 + Math.ceil(this.reach / PAGE_POSITIONS);
    const table = new Int32Array(parts.length * width);
    for (const [s, { sequence, count }] of parts.entries()) {
      const pages = sequence.pagesOf(place, sequence.length + count);
      table.set([count, sequence.length, ...pages.slice(0, width - 2)], s * width);
    }
    using entries = cache.runtime.from(table, [parts.length, width]);
    return cachedAttention(qkv, cache.storage, entries, heads, rows);
  }

  causalMean(x: Tensor): Tensor {
    const out = x.runtime.empty(x.shape);
    let first = 0;
    for (const { sequence, count } of this.parts) {
      meanOfRows(out, x, first, count, sequence.length, sequence.sums(x.shape[1]));
      first += count;
    }
    return out;
  }

  /** Adds the new rows to the lengths of their sequences. */
  commit(): void {
    for (const { sequence, count } of this.parts) sequence.length += count;
  }

  [Symbol.dispose](): void {
    this.positions.dispose();
  }
}
