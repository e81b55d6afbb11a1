/**
 * Causal self-attention in blocks (arXiv 2205.14135): scores live in registers and a small buffer, never as a
 * T×T matrix, and blocks above the diagonal are skipped. Products are the tiles of gemm.h on packed panels.
 *
 * Key blocks start at multiples of KB whatever the query, and masked keys add exact zeros (their v being finite), so
 * the bits of a query's output depend on the keys up to it and on nothing else. The backward pass runs each (b, h) in a fixed order.
 */
#include <math.h>

#include "families.h"
#include "gemm.h"

namespace loopnn {
namespace LOOPNN_ISA {
namespace {

constexpr int64_t KB = 128;      // keys in a block
constexpr int64_t QB = 32 * MR;  // queries in a forward task: enough to repay the packing of each key block
constexpr int64_t QS = 8 * MR;   // queries in a step of the backward pass: whole words of pairs
constexpr float kMasked = -__builtin_inff();
static_assert(KB % NR == 0 && KB % W == 0, "a key block is made of whole panels");
static_assert(MR % 2 == 0, "a panel of queries is made of whole words of pairs");

/** Where one head's q, k, v of one sequence lie: position t is at data + t·stride. */
struct HeadView {
  const float *q, *k, *v;
  int64_t stride;
};

HeadView headView(const float* qkv, int64_t b, int64_t h, int64_t T, int64_t NH, int64_t HS) {
  const int64_t C = NH * HS;
  const float* q = qkv + b * T * 3 * C + h * HS;
  return {q, q + C, q + 2 * C, 3 * C};
}

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

/** Rows as the B operand that is summed over rows: panels of NR channels, each (steps of rows, NR), `room` steps apart. */
template <class P>
void packRowsB(float* dst, const float* src, int64_t stride, int64_t rows, int64_t HS, int64_t room) {
  for (int64_t c = 0; c < HS; c += NR) packPanel<P, NR>(dst + c * room, src + c, 1, stride, HS - c, rows);
}

/** Hands out parts of a scratch area, each on a cache line. With a null base it only counts. */
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

  ForwardScratch(Carver carver, int64_t HS, int64_t* size = nullptr) {
    const int64_t wide = roundUp(HS, NR);
    gathered = carver.take(QB * HS);
    q = carver.take(QB * HS);
    k = carver.take(KB * HS);
    v = carver.take(KB * wide);
    scores = carver.take(MR * KB);
    weights = carver.take(KB * MR);
    out = carver.take(QB * wide);
    max = carver.take(QB);
    sum = carver.take(QB);
    if (size) *size = carver.used;
  }
};

/** body(j, n) for every vector of a row's `keys` keys, of which n ≥ 1 are left; only the last may be cut short. */
template <class Body>
LOOPNN_INLINE void forEachKey(int64_t keys, Body body) {
  for (int64_t j = 0; j < keys; j += W) body(j, keys - j);
}

/** Lanes from n on become `rest`. */
LOOPNN_INLINE vf firstLanes(vf x, int64_t n, vf rest) { return n >= W ? x : (iota() < (int)n ? x : rest); }

/**
 * Folds a panel of raw scores (rows, KB), whose row r sees `seen(r)` keys of the block (none if not positive), into the rows' running maxima and sums, and turns the `visible` keys of its last row into unnormalised weights, which
 * are 0 where a row does not see the key. factor[r] brings what row r summed before to its new maximum. Done in passes
 * over the rows, so that one row's reduction hides another's.
 */
template <class Seen>
void softmaxPanel(float* scores, int64_t rows, Seen seen, int64_t visible, float scale, float* runningMax,
                  float* runningSum, float* factor) {
  float highest[MR], sums[MR];
  for (int64_t r = 0; r < rows; r++) {
    const float* row = scores + r * KB;
    vf top = set1(kMasked);
    forEachKey(min(seen(r), visible), [&](int64_t j, int64_t n) {
      top = maxv(top, firstLanes(load(row + j), n, set1(kMasked)));
    });
    highest[r] = maxLanes(top);
  }
  for (int64_t r = 0; r < rows; r += W) {
    const vf before = loadUpTo(runningMax + r, rows - r);
    const vf top = maxv(before, loadUpTo(highest + r, rows - r) * scale);
    storeUpTo(factor + r, before == top ? set1(1.0f) : expv(before - top), rows - r);
    storeUpTo(runningMax + r, top, rows - r);
  }
  for (int64_t r = 0; r < rows; r++) {
    float* row = scores + r * KB;
    const int64_t keys = max(0, min(seen(r), visible));
    const vf minusTop = set1(-runningMax[r]), scales = set1(scale);
    vf sum{};
    forEachKey(keys, [&](int64_t j, int64_t n) {
      const vf weight = firstLanes(expv(fma(load(row + j), scales, minusTop)), n, vf{});
      sum += weight;
      store(row + j, weight);
    });
    for (int64_t j = roundUp(keys, W); j < visible; j += W) store(row + j, vf{});
    sums[r] = sumLanes(sum);
  }
  for (int64_t r = 0; r < rows; r += W) {
    const vf total = fma(loadUpTo(runningSum + r, rows - r), loadUpTo(factor + r, rows - r), loadUpTo(sums + r, rows - r));
    storeUpTo(runningSum + r, total, rows - r);
  }
}

/** The queries of a task: n consecutive positions of a sequence, or n ascending ones out of a list. */
struct Queries {
  const int32_t* rows;  // null where consecutive
  int64_t first;        // the first position; with a list, the row b·T that position 0 has
  int64_t n;

  int64_t operator[](int64_t i) const { return rows ? rows[i] - first : first + i; }
};

/** Some queries of one head: their rows of `out` lie C apart, their lse at `lse` + position. */
template <class P>
void forwardQueries(float* out, float* lse, HeadView x, Queries at, int64_t C, int64_t HS, const Dropout* drop,
                    SampleKey key, const ForwardScratch& s) {
  const int64_t wide = roundUp(HS, NR), steps = stepsOf<P>(HS), room = stepsOf<P>(KB);
  const float scale = 1.0f / __builtin_sqrtf((float)HS);
  const int64_t n = at.n, end = at[n - 1] + 1;  // keys that the last query sees
  if (at.rows) {
    for (int64_t i = 0; i < n; i++) {  // one after the other, as they may lie anywhere
      for (int64_t c = 0; c < HS; c++) s.gathered[i * HS + c] = x.q[at[i] * x.stride + c];
    }
    packRowsA<P>(s.q, s.gathered, HS, n, HS);
  } else {
    packRowsA<P>(s.q, x.q + at.first * x.stride, x.stride, n, HS);
  }
  for (int64_t i = 0; i < n * wide; i++) s.out[i] = 0;
  for (int64_t i = 0; i < n; i++) s.max[i] = kMasked;
  for (int64_t i = 0; i < n; i++) s.sum[i] = 0;
  for (int64_t j0 = 0; j0 < end; j0 += KB) {
    const int64_t keys = min(KB, end - j0);
    packRowsTransposedB<P>(s.k, x.k + j0 * x.stride, x.stride, keys, HS);
    packRowsB<P>(s.v, x.v + j0 * x.stride, x.stride, keys, HS, room);
    for (int64_t i = 0; i < n; i += MR) {
      const int64_t rows = min(MR, n - i);
      const int64_t visible = min(keys, at[i + rows - 1] + 1 - j0);  // keys that the last row of the panel sees
      if (visible <= 0) continue;
      const TileFn multiply = tiles<P>[rows - 1];
      for (int64_t j = 0; j < visible; j += NR) {
        multiply(steps, s.q + i * steps, MR, s.k + j * steps, NR, s.v, s.scores + j, KB, NR, {false, nullptr});
      }
      float factor[MR];
      softmaxPanel(s.scores, rows, [&](int64_t r) { return at[i + r] + 1 - j0; }, visible, scale, s.max + i, s.sum + i,
                   factor);
      for (int64_t r = 0; r < rows; r++) {
        float* sums = s.out + (i + r) * wide;
        if (factor[r] != 1.0f) {
          for (int64_t c = 0; c < wide; c += W) store(sums + c, load(sums + c) * factor[r]);
        }
        if (!drop) continue;
        float* row = s.scores + r * KB;
        for (int64_t j = 0; j < visible; j += W) {
          const uint32_t element = (uint32_t)at[i + r] * 65536u + (uint32_t)(j0 + j);
          store(row + j, load(row + j) * dropoutMask(key, element, drop->threshold, drop->scale));
        }
      }
      packPanel<P, MR>(s.weights, s.scores, KB, 1, rows, visible);
      for (int64_t c = 0; c < wide; c += NR) {
        multiply(stepsOf<P>(visible), s.weights, MR, s.v + c * room, NR, s.k, s.out + i * wide + c, wide, NR,
                 {true, nullptr});
      }
    }
  }
  for (int64_t i = 0; i < n; i++) {
    const float* sums = s.out + i * wide;
    const float total = s.sum[i];
    const float inverse = 1.0f / total;
    for (int64_t c = 0; c < HS; c += W) storeUpTo(out + i * C + c, loadUpTo(sums + c, HS - c) * inverse, HS - c);
    lse[at[i]] = s.max[i] + logf(total);
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

template <class P>
void forwardAs(float* out, float* lse, const float* qkv, const int32_t* rows, int64_t N, int64_t B, int64_t T,
               int64_t NH, int64_t HS, const Dropout* drop) {
  const int64_t C = NH * HS, groups = ceilDiv(T, QB);
  int64_t size = 0;
  ForwardScratch({nullptr}, HS, &size);
  reserveScratch((size_t)size * sizeof(float));
  parallel(B * NH * groups, [&](int64_t task, int worker) {
    const int64_t head = task / groups, b = head / NH, h = head % NH;
    const int64_t i0 = (groups - 1 - task % groups) * QB;  // the longest rows first: an even finish
    int64_t first = b * T, count = T;                      // rows of `out` that belong to the sequence
    if (rows) {
      first = firstNotBelow(rows, N, b * T);
      count = firstNotBelow(rows, N, (b + 1) * T) - first;
    }
    if (i0 >= count) return;
    const int64_t n = min(QB, count - i0);
    const Queries queries = rows ? Queries{rows + first + i0, b * T, n} : Queries{nullptr, i0, n};
    const SampleKey key =
        drop ? sampleKey(drop->key0, drop->key1, (drop->firstSample + (uint32_t)b) * (uint32_t)NH + (uint32_t)h)
             : SampleKey{};
    forwardQueries<P>(out + (first + i0) * C + h * HS, lse + head * T, headView(qkv, b, h, T, NH, HS), queries, C, HS,
                      drop, key, ForwardScratch({workerScratch(worker)}, HS));
  });
}

void forward(float* out, float* lse, const float* qkv, const int32_t* rows, int64_t N, int64_t B, int64_t T, int64_t NH,
             int64_t HS, const Dropout* drop, bool bf16) {
  (bf16 ? forwardAs<Bf16> : forwardAs<F32>)(out, lse, qkv, rows, N, B, T, NH, HS, drop);
}

struct BackwardScratch {
  // Of all T positions: queries and output gradients as both operands, row terms, and the gradient of the queries.
  float *qA, *doutA, *qB, *doutB, *delta, *dq;
  // Of one key block, and of one step of queries against it.
  float *kT, *vT, *kB, *dk, *dv, *weights, *dscores, *panel;

  BackwardScratch(Carver carver, int64_t T, int64_t HS, int64_t* size = nullptr) {
    const int64_t wide = roundUp(HS, NR), rows = roundUp(T, MR);
    qA = carver.take(rows * HS);
    doutA = carver.take(rows * HS);
    qB = carver.take(T * wide);
    doutB = carver.take(T * wide);
    delta = carver.take(T);
    dq = carver.take(T * wide);
    kT = carver.take(KB * HS);
    vT = carver.take(KB * HS);
    kB = carver.take(KB * wide);
    dk = carver.take(KB * wide);
    dv = carver.take(KB * wide);
    weights = carver.take(QS * KB);
    dscores = carver.take(QS * KB);
    panel = carver.take(max(KB, QS) * MR);
    if (size) *size = carver.used;
  }
};

/**
 * Turns the first `visible` scores of a row, and of dP = dout·vᵀ, into the weights that met v (dropped and scaled) and
 * into the gradient of the raw scores, P⊙(dP − δ)/√HS; both are 0 from key n on.
 */
LOOPNN_INLINE void softmaxBackward(float* scores, float* dscores, int64_t n, int64_t visible, float scale, float lse,
                                   float delta, const Dropout* drop, SampleKey key, uint32_t element) {
  const int64_t keys = max(0, min(n, visible));
  const vf scales = set1(scale), minusLse = set1(-lse);
  forEachKey(keys, [&](int64_t j, int64_t left) {
    const vf weight = firstLanes(expv(fma(load(scores + j), scales, minusLse)), left, vf{});
    vf dropped = weight, dweight = load(dscores + j);
    if (drop) {
      const vf mask = dropoutMask(key, element + (uint32_t)j, drop->threshold, drop->scale);
      dropped = weight * mask;
      dweight = dweight * mask;
    }
    store(scores + j, dropped);
    store(dscores + j, firstLanes(weight * (dweight - delta) * scales, left, vf{}));
  });
  for (int64_t j = roundUp(keys, W); j < visible; j += W) {
    store(scores + j, vf{});
    store(dscores + j, vf{});
  }
}

/** dst rows (n, HS), `stride` apart, = or += src rows, `wide` apart. */
void deliver(float* dst, int64_t stride, const float* src, int64_t wide, int64_t n, int64_t HS, bool accumulate) {
  for (int64_t i = 0; i < n; i++) {
    for (int64_t c = 0; c < HS; c += W) {
      float* to = dst + i * stride + c;
      const vf v = loadUpTo(src + i * wide + c, HS - c);
      storeUpTo(to, accumulate ? loadUpTo(to, HS - c) + v : v, HS - c);
    }
  }
}

/** C (keys, wide) += Aᵀ·B, A (queries, KB) being the weights or their gradients and `b` packed rows of one step. */
template <class P>
void addTransposed(float* c, const float* a, const float* b, int64_t queries, int64_t keys, int64_t wide,
                   int64_t room, float* panel) {
  for (int64_t j = 0; j < keys; j += MR) {
    const TileFn multiply = tiles<P>[min(MR, keys - j) - 1];
    const float* operand = a + j;
    if (P::kDepth > 1) {  // pairs along the queries have to be made; floats are read where they are
      packPanel<P, MR>(panel, a + j, 1, KB, keys - j, queries);
      operand = panel;
    }
    for (int64_t n = 0; n < wide; n += NR) {
      multiply(stepsOf<P>(queries), operand, P::kDepth > 1 ? MR : KB, b + n * room, NR, b, c + j * wide + n, wide, NR,
               {true, nullptr});
    }
  }
}

/** One head of one sequence. `dq` points at its first position in dqkv; dk and dv lie C and 2C after it. */
template <class P>
void backwardHead(float* dq, const float* dout, const float* out, const float* lse, HeadView x, int64_t T, int64_t C,
                  int64_t HS, const Dropout* drop, SampleKey key, bool accumulate, const BackwardScratch& s) {
  const int64_t wide = roundUp(HS, NR), steps = stepsOf<P>(HS), room = stepsOf<P>(T), keyRoom = stepsOf<P>(KB);
  const float scale = 1.0f / __builtin_sqrtf((float)HS);
  packRowsA<P>(s.qA, x.q, x.stride, T, HS);
  packRowsA<P>(s.doutA, dout, C, T, HS);
  packRowsB<P>(s.qB, x.q, x.stride, T, HS, room);
  packRowsB<P>(s.doutB, dout, C, T, HS, room);
  for (int64_t t = 0; t < T; t++) {
    vf sum{};
    for (int64_t c = 0; c < HS; c += W) {
      sum = fma(loadUpTo(dout + t * C + c, HS - c), loadUpTo(out + t * C + c, HS - c), sum);
    }
    s.delta[t] = sumLanes(sum);
  }
  for (int64_t i = 0; i < T * wide; i++) s.dq[i] = 0;
  for (int64_t j0 = 0; j0 < T; j0 += KB) {
    const int64_t keys = min(KB, T - j0);
    packRowsTransposedB<P>(s.kT, x.k + j0 * x.stride, x.stride, keys, HS);
    packRowsTransposedB<P>(s.vT, x.v + j0 * x.stride, x.stride, keys, HS);
    packRowsB<P>(s.kB, x.k + j0 * x.stride, x.stride, keys, HS, keyRoom);
    for (int64_t i = 0; i < KB * wide; i++) s.dk[i] = s.dv[i] = 0;
    for (int64_t i0 = j0 / MR * MR; i0 < T; i0 += QS) {
      const int64_t queries = min(QS, T - i0);
      const int64_t visible = min(keys, i0 + queries - j0);
      for (int64_t i = 0; i < queries; i += MR) {
        const int64_t rows = min(MR, queries - i);
        const TileFn multiply = tiles<P>[rows - 1];
        for (int64_t j = 0; j < visible; j += NR) {
          multiply(steps, s.qA + (i0 + i) * steps, MR, s.kT + j * steps, NR, s.vT, s.weights + i * KB + j, KB, NR,
                   {false, nullptr});
          multiply(steps, s.doutA + (i0 + i) * steps, MR, s.vT + j * steps, NR, s.kB, s.dscores + i * KB + j, KB, NR,
                   {false, nullptr});
        }
        for (int64_t r = i; r < i + rows; r++) {
          const int64_t query = i0 + r;
          softmaxBackward(s.weights + r * KB, s.dscores + r * KB, query - j0 + 1, visible, scale, lse[query],
                          s.delta[query], drop, key, (uint32_t)query * 65536u + (uint32_t)j0);
        }
        packPanel<P, MR>(s.panel, s.dscores + i * KB, KB, 1, rows, visible);
        for (int64_t c = 0; c < wide; c += NR) {
          multiply(stepsOf<P>(visible), s.panel, MR, s.kB + c * keyRoom, NR, s.kT, s.dq + (i0 + i) * wide + c, wide, NR,
                   {true, nullptr});
        }
      }
      const int64_t at = stepsOf<P>(i0) * NR;
      addTransposed<P>(s.dv, s.weights, s.doutB + at, queries, visible, wide, room, s.panel);
      addTransposed<P>(s.dk, s.dscores, s.qB + at, queries, visible, wide, room, s.panel);
    }
    deliver(dq + C + j0 * x.stride, x.stride, s.dk, wide, keys, HS, accumulate);
    deliver(dq + 2 * C + j0 * x.stride, x.stride, s.dv, wide, keys, HS, accumulate);
  }
  deliver(dq, x.stride, s.dq, wide, T, HS, accumulate);
}

template <class P>
void backwardAs(float* dqkv, const float* dout, const float* out, const float* lse, const float* qkv, int64_t B,
                int64_t T, int64_t NH, int64_t HS, const Dropout* drop, bool accumulate) {
  const int64_t C = NH * HS;
  int64_t size = 0;
  BackwardScratch({nullptr}, T, HS, &size);
  reserveScratch((size_t)size * sizeof(float));
  parallel(B * NH, [&](int64_t head, int worker) {
    const int64_t b = head / NH, h = head % NH;
    const SampleKey key =
        drop ? sampleKey(drop->key0, drop->key1, (drop->firstSample + (uint32_t)b) * (uint32_t)NH + (uint32_t)h)
             : SampleKey{};
    const int64_t at = b * T * C + h * HS;
    backwardHead<P>(dqkv + b * T * 3 * C + h * HS, dout + at, out + at, lse + head * T,
                    headView(qkv, b, h, T, NH, HS), T, C, HS, drop, key, accumulate,
                    BackwardScratch({workerScratch(worker)}, T, HS));
  });
}

void backward(float* dqkv, const float* dout, const float* out, const float* lse, const float* qkv, int64_t B,
              int64_t T, int64_t NH, int64_t HS, const Dropout* drop, bool accumulate, bool bf16) {
  (bf16 ? backwardAs<Bf16> : backwardAs<F32>)(dqkv, dout, out, lse, qkv, B, T, NH, HS, drop, accumulate);
}

}  // namespace

void addAttention(Kernels& k) {
  k.attentionForward = forward;
  k.attentionBackward = backward;
}

}  // namespace LOOPNN_ISA
}  // namespace loopnn
