/**
 * Causal self-attention in blocks (arXiv 2205.14135), the forward pass: scores live in registers and a small buffer,
 * never as a T×T matrix, and blocks above the diagonal are skipped. Products are the tiles of gemm.h on packed panels.
 * It must not know where keys and values come from.
 *
 * Key blocks start at multiples of KB whatever the query, and masked keys add exact zeros (if their v is finite), so
 * the bits of a query's output depend on the keys up to it and on nothing else.
 */
#pragma once

#include <math.h>

#include "gemm.h"
#include "kernels.h"

namespace loopnn {
namespace LOOPNN_ISA {
namespace {

constexpr int64_t KB = 128;      // keys in a block
constexpr int64_t QB = (1024 + MR - 1) / MR * MR;  // query rows in a forward task, which packs the key blocks it sees
constexpr float kMasked = -__builtin_inff();
constexpr float kLog2E = 1.44269504f, kLn2 = 0.693147181f;
static_assert(KB % NR == 0 && KB % W == 0, "a key block is made of whole panels");

/**
 * The q, k, v of one query head in one sequence: position t is at data + t·stride. The query heads of a group, G =
 * NH/KV, lie side by side and have one key head, `kv`.
 */
struct HeadView {
  const float *q, *k, *v;
  int64_t stride;
};

HeadView headView(const float* qkv, int64_t h, int64_t NH, int64_t KV, int64_t HS) {
  const float* k = qkv + (NH + h / (NH / KV)) * HS;
  return {qkv + h * HS, k, k + KV * HS, (NH + 2 * KV) * HS};
}

/** Positions in a forward task of G query heads. */
LOOPNN_INLINE int64_t positionsOf(int64_t G) { return max(1, QB / G); }
/** Room for its query rows, in whole panels. */
LOOPNN_INLINE int64_t rowsOf(int64_t G) { return max(QB, roundUp(G, MR)); }

/** Rows as the A operand over channels: panels of MR rows, each (steps of HS, MR). */
template <class P>
void packRowsA(float* dst, const float* src, int64_t stride, int64_t rows, int64_t HS) {
  for (int64_t i = 0; i < rows; i += MR) {
    packPanel<P, MR>(dst + i * stepsOf<P>(HS), src + i * stride, stride, 1, rows - i, HS);
  }
}

/** Rows as the transposed B operand over channels: panels of NR rows, each (steps of HS, NR). */
template <class P>
void packRowsTransposedB(float* dst, const float* src, int64_t stride, int64_t rows, int64_t HS) {
  for (int64_t j = 0; j < rows; j += NR) {
    packPanel<P, NR>(dst + j * stepsOf<P>(HS), src + j * stride, stride, 1, rows - j, HS);
  }
}

/**
 * Rows as the B operand that is summed over rows: panels of NR channels, each (steps of rows, NR), `room` steps apart.
 */
template <class P>
void packRowsB(float* dst, const float* src, int64_t stride, int64_t rows, int64_t HS, int64_t room) {
  for (int64_t c = 0; c < HS; c += NR) packPanel<P, NR>(dst + c * room, src + c, 1, stride, HS - c, rows);
}

/** Allocates parts of a scratch area, each on a cache line. With a null base it only counts. */
struct Carver {
  float* base;
  int64_t used = 0;

  float* take(int64_t floats) {
    float* part = base ? base + used : nullptr;
    used += roundUp(floats + W, 16);
    return part;
  }
};

struct ForwardScratch {
  float *gathered, *q, *k, *v, *scores, *weights, *out, *max, *sum;
  int32_t* position;  // of each row

  ForwardScratch(Carver carver, int64_t G, int64_t HS, int64_t* size = nullptr) {
    const int64_t wide = roundUp(HS, NR), rows = rowsOf(G);
    gathered = carver.take(rows * HS);
    q = carver.take(rows * HS);
    k = carver.take(KB * HS);
    v = carver.take(KB * wide);
    scores = carver.take(MR * KB);
    weights = carver.take(KB * MR);
    out = carver.take(rows * wide);
    max = carver.take(rows);
    sum = carver.take(rows);
    position = reinterpret_cast<int32_t*>(carver.take(rows));
    if (size) *size = carver.used;
  }
};

/** body(j, n) for every vector of a row's `keys` keys, of which n ≥ 1 are left; only the last may be cut short. */
template <class Body>
LOOPNN_INLINE void forEachKey(int64_t keys, Body body) {
  if (keys == KB) {  // most blocks are whole, and nothing in them is masked
#pragma GCC unroll 8
    for (int64_t j = 0; j < KB; j += W) body(j, W);
    return;
  }
  for (int64_t j = 0; j < keys; j += W) body(j, keys - j);
}

/** Lanes from n on become `rest`. */
LOOPNN_INLINE vf firstLanes(vf x, int64_t n, vf rest) { return n >= W ? x : (iota() < (int)n ? x : rest); }

/**
 * Folds a panel of raw scores (rows, KB), whose row r sees `seen(r)` keys of the block (none if not positive), into the
 * rows' running maxima and sums, and turns the `visible` keys of its last row into unnormalised weights, which are 0
 * where a row does not see the key. factor[r] rescales the former sums of row r to its new maximum. Maxima are in
 * powers of two: `scale` has log2 e in it.
 */
template <class Seen>
void softmaxPanel(float* scores, int64_t rows, Seen seen, int64_t visible, float scale, float* runningMax,
                  float* runningSum, float* factor) {
  const vf scales = set1(scale);
  for (int64_t r0 = 0; r0 < rows; r0 += W) {
    const int64_t n = min(W, rows - r0);
    vf all[W];
    for (int r = 0; r < W; r++) {
      const float* row = scores + (r0 + r) * KB;
      vf top = set1(kMasked);
      forEachKey(r < n ? max(0, min(seen(r0 + r), visible)) : 0, [&](int64_t j, int64_t left) {
        top = maxv(top, firstLanes(load(row + j), left, set1(kMasked)));
      });
      all[r] = top;
    }
    const vf highest = foldRows(all, [](vf a, vf b) { return maxv(a, b); });
    const vf before = loadUpTo(runningMax + r0, n), top = maxv(before, highest * scales);
    const vf shrink = before == top ? set1(1.0f) : exp2v(before - top);
    storeUpTo(factor + r0, shrink, n);
    storeUpTo(runningMax + r0, top, n);
    for (int r = 0; r < W; r++) {
      all[r] = vf{};
      if (r >= n) continue;
      float* row = scores + (r0 + r) * KB;
      const int64_t keys = max(0, min(seen(r0 + r), visible));
      const vf minusTop = set1(-runningMax[r0 + r]);
      vf sum{};
      forEachKey(keys, [&](int64_t j, int64_t left) {
        const vf weight = firstLanes(exp2v(fma(load(row + j), scales, minusTop)), left, vf{});
        sum += weight;
        store(row + j, weight);
      });
      all[r] = sum;
      for (int64_t j = roundUp(keys, W); j < visible; j += W) store(row + j, vf{});
    }
    const vf sums = foldRows(all, [](vf a, vf b) { return a + b; });
    storeUpTo(runningSum + r0, fma(loadUpTo(runningSum + r0, n), shrink, sums), n);
  }
}

/**
 * The queries of a task: n consecutive rows of a sequence, or n ascending ones out of a list. Row r stands at position
 * past + r.
 */
struct Queries {
  const int32_t* rows;  // null where consecutive
  int64_t first;        // the first row; with a list, the number that row 0 of the sequence has in it
  int64_t n;
  int64_t past;

  int64_t row(int64_t i) const { return rows ? rows[i] - first : first + i; }
  int64_t position(int64_t i) const { return past + row(i); }
};

/** A block of keys and values, packed: panels of NR keys, and panels of NR channels `room` words apart. */
struct KeyBlock {
  const float *k, *v;
  int64_t room;
};

/** The key blocks of a sequence whose keys lie beside its queries: packed on demand. */
template <class P>
struct FreshKeys {
  HeadView x;
  int64_t HS;
  float *k, *v;  // scratch

  KeyBlock block(int64_t j0, int64_t keys) const {
    const int64_t room = stepsOf<P>(KB);
    packRowsTransposedB<P>(k, x.k + j0 * x.stride, x.stride, keys, HS);
    packRowsB<P>(v, x.v + j0 * x.stride, x.stride, keys, HS, room);
    return {k, v, room};
  }
};

/** Packs a panel of A with one row only, and no room for more: its words one after the other. */
template <class P>
LOOPNN_INLINE void packRow(float* dst, const float* src, int64_t k) {
  for (int64_t s = 0; s < stepsOf<P>(k); s += W) store(dst + s, P::along(src, s, k));
}

/**
 * Some positions of G query heads that share their keys, heads of a position being neighbours: row i of the panels is
 * head i mod G of position ⌊i/G⌋ of `at`. `q` is head 0 of row 0 of the sequence; the rows of `out` lie C apart. `lse`,
 * if not null, has T values for each head, and receives that of each query at its position. `sample` is dropout's
 * sample number of head 0.
 */
template <class P, class Keys>
void forwardQueries(float* out, float* lse, int64_t T, const float* q, int64_t stride, const Keys& keysOf, Queries at,
                    int64_t G, int64_t C, int64_t HS, const Dropout* drop, uint32_t sample, const ForwardScratch& s) {
  const int64_t wide = roundUp(HS, NR), steps = stepsOf<P>(HS);
  const float scale = kLog2E / __builtin_sqrtf((float)HS);
  const int64_t n = at.n * G;
  for (int64_t i = 0; i < n; i++) s.position[i] = (int32_t)at.position(i / G);
  const int64_t end = s.position[n - 1] + 1;  // keys that the last query sees
  const float* queries = q + at.row(0) * stride;
  int64_t apart = G == 1 ? stride : HS;
  if (at.rows || (G > 1 && at.n > 1)) {
    for (int64_t i = 0; i < n; i++) {  // one at a time, because the rows may lie anywhere
      const float* from = q + at.row(i / G) * stride + i % G * HS;
      for (int64_t c = 0; c < HS; c++) s.gathered[i * HS + c] = from[c];
    }
    queries = s.gathered;
    apart = HS;
  }
  const int64_t ldq = n == 1 ? 1 : MR;
  if (n == 1) packRow<P>(s.q, queries, HS);
  else packRowsA<P>(s.q, queries, apart, n, HS);
  for (int64_t i = 0; i < n * wide; i++) s.out[i] = 0;
  for (int64_t i = 0; i < n; i++) s.max[i] = kMasked;
  for (int64_t i = 0; i < n; i++) s.sum[i] = 0;
  for (int64_t j0 = 0; j0 < end; j0 += KB) {
    const int64_t blockKeys = min(KB, end - j0);
    const KeyBlock block = keysOf.block(j0, blockKeys);
    for (int64_t i = 0; i < n; i += MR) {
      const int64_t rows = min(MR, n - i);
      // Keys that the last row of the panel sees.
      const int64_t visible = min(blockKeys, s.position[i + rows - 1] + 1 - j0);
      if (visible <= 0) continue;
      const TileFn multiply = tiles<P>[rows - 1];
      for (int64_t j = 0; j < visible; j += NR) {
        multiply(steps, s.q + i * steps, ldq, block.k + j * steps, NR, block.v, s.scores + j, KB, NR, {false, nullptr});
      }
      float factor[MR];
      softmaxPanel(s.scores, rows, [&](int64_t r) { return s.position[i + r] + 1 - j0; }, visible, scale, s.max + i,
                   s.sum + i, factor);
      for (int64_t r = 0; r < rows; r++) {
        float* sums = s.out + (i + r) * wide;
        if (factor[r] != 1.0f) {
          for (int64_t c = 0; c < wide; c += W) store(sums + c, load(sums + c) * factor[r]);
        }
        if (!drop) continue;
        float* row = s.scores + r * KB;
        const SampleKey key = sampleKey(drop->key0, drop->key1, sample + (uint32_t)((i + r) % G));
        for (int64_t j = 0; j < visible; j += W) {
          const uint32_t element = (uint32_t)s.position[i + r] * 65536u + (uint32_t)(j0 + j);
          store(row + j, load(row + j) * dropoutMask(key, element, drop->threshold, drop->scale));
        }
      }
      const int64_t ldw = rows == 1 ? 1 : MR;
      if (rows == 1) packRow<P>(s.weights, s.scores, visible);
      else packPanel<P, MR>(s.weights, s.scores, KB, 1, rows, visible);
      for (int64_t c = 0; c < wide; c += NR) {
        multiply(stepsOf<P>(visible), s.weights, ldw, block.v + c * block.room, NR, block.k, s.out + i * wide + c, wide,
                 NR, {true, nullptr});
      }
    }
  }
  for (int64_t i = 0; i < n; i++) {
    const float* sums = s.out + i * wide;
    float* to = out + i / G * C + i % G * HS;
    const float total = s.sum[i];
    const float inverse = 1.0f / total;
    for (int64_t c = 0; c < HS; c += W) storeUpTo(to + c, loadUpTo(sums + c, HS - c) * inverse, HS - c);
    if (lse) lse[i % G * T + s.position[i]] = s.max[i] * kLn2 + logf(total);
  }
}

/** Index of the first of n ascending values that is not below `limit`. */
int64_t firstNotBelow(const int32_t* values, int64_t n, int64_t limit) {
  int64_t low = 0, high = n;
  while (low < high) {
    const int64_t middle = (low + high) / 2;
    if (values[middle] < limit) low = middle + 1;
    else high = middle;
  }
  return low;
}

}  // namespace
}  // namespace LOOPNN_ISA
}  // namespace loopnn
