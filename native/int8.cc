/**
 * Products with a weight in int8: see int8.h. A panel is NR columns, group by group: NR scales, then rows of NR words;
 * a word has four integers of a column that are adjacent along k. The product of two groups is float(Σ
 * a·b)·(scale·scale) over their integers a and b. A tile adds up these products along k for a few rows, and reads each
 * word of B once for all of them. Inputs have 16 bits: with 8 they would raise the loss more than the weights do, and
 * instructions for 16 bits are as fast where reading takes most of the time.
 */
#include "int8.h"

#include "families.h"

namespace loopnn {
namespace LOOPNN_ISA {
namespace {

constexpr int64_t kGroup = 64;                             // values along k that share a scale
constexpr int64_t kGroupWords = kGroup / 4;                // of a column
constexpr float kFullWeight = 127, kFullInput = 16384;     // the largest integers: sums of a group stay below 2^28
constexpr int64_t kGroupFloats = NR + kGroupWords * NR;    // of a panel
constexpr int kRows = LOOPNN_WIDTH == 16 ? 8 : 4;          // of a tile: sums, words of B and a broadcast fit registers
constexpr int64_t kTall = 8 * kRows;                       // rows of a task: they stay in the second-level cache
constexpr int64_t kWide = 8 * NR;                          // columns of a task
constexpr int64_t kWordsAhead = 1024;                      // prefetch distance, over all panels read at once
constexpr int64_t kRoundedAtOnce = int64_t{1} << 14;       // values that a task rounds

int64_t panelFloats(int64_t K) { return ceilDiv(K, kGroup) * kGroupFloats; }

/** One group of a row. `first` = −128·Σ values starts its sums: it cancels the 128 that is added to packed weights. */
struct Rounded {
  float scale;
  int32_t first;
  int16_t values[kGroup];
};

/** |x|, as words: they compare as the floats do, and NaN is larger than every number. */
LOOPNN_INLINE vi magnitude(vf x) { return (vi)x & 0x7fffffff; }
LOOPNN_INLINE vi larger(vi a, vi b) { return a > b ? a : b; }

/**
 * `scale` multiplies integers, `inverse` multiplies values before they are rounded; it is 0 where there is nothing to
 * round.
 */
struct Scale {
  vf scale, inverse;
};

/**
 * For groups with these largest magnitudes, which become the integer `full`. In a group that is not finite, integers
 * are 0 and the scale is not finite, so that products are NaN.
 */
LOOPNN_INLINE Scale scaleFor(vi largest, float full) {
  const vf size = (vf)largest;
  const vi usable = (size > set1(1e-30f)) & (size < set1(__builtin_inff()));
  return {size / set1(full), usable ? set1(full) / size : vf{}};
}

/** The nearest integers, ties to even. */
LOOPNN_INLINE vi rounded(vf x, vf inverse) {
  const vf rounder = set1(12582912.0f);  // 1.5·2^23: adding it rounds to an integer, in the low bits
  const vi q = (vi)(x * inverse + rounder) - (vi)rounder;
  return inverse > vf{} ? q : vi{};
}

/** Rounds a group of a row, of which `n` values exist; the others count as 0. */
void roundGroup(Rounded& to, const float* x, int64_t n) {
  vf values[kGroup / W];
  vi largest{};
  for (int i = 0; i < kGroup / W; i++) {
    values[i] = n > i * W ? loadUpTo(x + i * W, n - i * W) : vf{};
    largest = larger(largest, magnitude(values[i]));
  }
  int32_t most = largest[0];
  for (int l = 1; l < W; l++) most = largest[l] > most ? largest[l] : most;
  const Scale scale = scaleFor(setWord(most), kFullInput);
  int32_t q[kGroup], sum = 0;
  for (int i = 0; i < kGroup / W; i++) {
    const vi part = rounded(values[i], scale.inverse);
    __builtin_memcpy(q + i * W, &part, sizeof part);
  }
  for (int k = 0; k < kGroup; k++) sum += q[k];
  for (int k = 0; k < kGroup; k++) to.values[k] = (int16_t)q[k];
  to.scale = scale.scale[0];
  to.first = -128 * sum;
}

/** Rounds rows (R, K), into memory that all tasks share. */
const Rounded* roundRows(const float* inp, int64_t R, int64_t K) {
  const int64_t groups = ceilDiv(K, kGroup), rows = max(1, kRoundedAtOnce / K);
  Rounded* to = reinterpret_cast<Rounded*>(sharedScratch(kPackedA, (size_t)(R * groups) * sizeof(Rounded)));
  parallel(ceilDiv(R, rows), [&](int64_t task, int) {
    for (int64_t r = task * rows; r < min(R, (task + 1) * rows); r++) {
      for (int64_t g = 0; g < groups; g++) roundGroup(to[r * groups + g], inp + r * K + g * kGroup, K - g * kGroup);
    }
  });
  return to;
}

/** A tile's number of groups along k, and its prefetch distance in B, in words. */
struct Depth {
  int64_t groups, ahead;
};

/**
 * C (ROWS, cols) = A·B + bias over PANELS panels of B, `apart` floats apart, whose columns are adjacent in C; rows of
 * `c` lie ldc apart. Several panels at once make several streams of reads, and sums that wait less for each other.
 */
template <int ROWS, int PANELS>
LOOPNN_INLINE void tileOver(Depth depth, const Rounded* a, const float* panel, int64_t apart, float* c, int64_t ldc,
                            int64_t cols, const float* bias) {
  constexpr int VECTORS = PANELS * NV;
  vf total[ROWS][VECTORS] = {};
  for (int64_t g = 0; g < depth.groups; g++, panel += kGroupFloats, a++) {
    Sums sums[ROWS][VECTORS];
#pragma GCC unroll 8
    for (int i = 0; i < ROWS; i++) {
#pragma GCC unroll 8
      for (int v = 0; v < VECTORS; v++) sums[i][v] = beginSums(a[i * depth.groups].first);
    }
    const float* words = panel + NR;
    for (int64_t w = 0; w < kGroupWords; w++, words += NR) {
      shorts even[VECTORS], odd[VECTORS];
#pragma GCC unroll 8
      for (int v = 0; v < VECTORS; v++) {
        const float* from = words + v / NV * apart + v % NV * W;
        if (v % NV * W % 16 == 0) __builtin_prefetch(from + depth.ahead);
        even[v] = evenBytes((vi)load(from));
        odd[v] = oddBytes((vi)load(from));
      }
#pragma GCC unroll 8
      for (int i = 0; i < ROWS; i++) {
        const int16_t* values = a[i * depth.groups].values + 4 * w;
        const shorts first = setPair(values), second = setPair(values + 2);
#pragma GCC unroll 8
        for (int v = 0; v < VECTORS; v++) sums[i][v] = addPairs(addPairs(sums[i][v], even[v], first), odd[v], second);
      }
    }
#pragma GCC unroll 8
    for (int v = 0; v < VECTORS; v++) {
      const vf scale = load(panel + v / NV * apart + v % NV * W);
#pragma GCC unroll 8
      for (int i = 0; i < ROWS; i++) {
        total[i][v] = fma(asFloats(sums[i][v]), set1(a[i * depth.groups].scale) * scale, total[i][v]);
      }
    }
  }
  for (int v = 0; v < VECTORS; v++) {
    const int64_t left = cols - v * W;
    if (left <= 0) break;
    for (int i = 0; i < ROWS; i++) {
      const vf sum = bias ? total[i][v] + loadUpTo(bias + v * W, left) : total[i][v];
      storeUpTo(c + i * ldc + v * W, sum, left);
    }
  }
}

template <int ROWS>
void tile(Depth depth, const Rounded* a, const float* panel, float* c, int64_t ldc, int64_t cols, const float* bias) {
  tileOver<ROWS, 1>(depth, a, panel, 0, c, ldc, cols, bias);
}

using Tile = void (*)(Depth, const Rounded*, const float*, float*, int64_t, int64_t, const float*);
constexpr Tile tileOf[] = {
    tile<1>, tile<2>, tile<3>, tile<4>,
#if LOOPNN_WIDTH == 16
    tile<5>, tile<6>, tile<7>, tile<8>,
#endif
};

/** Four values along k as a word, 128 added to each; the even bytes are the first two. */
LOOPNN_INLINE vi packFours(const vi* q) {
  return ((q[0] & 255) | (q[2] & 255) << 8 | (q[1] & 255) << 16 | q[3] << 24) ^ (vi)(vu{} + 0x80808080u);
}

/** Packs one panel: its scales and its integers, which are zero beyond K and N. */
void packPanel(float* panel, const Matrix& b, int64_t K, int64_t cols) {
  for (int64_t k0 = 0; k0 < K; k0 += kGroup, panel += kGroupFloats) {
    float values[kGroup * NR] = {};
    const float* from = b.data + k0 * b.rs;
    const int64_t n = min(kGroup, K - k0), m = min(NR, cols);
    if (b.cs == 1) {
      for (int64_t k = 0; k < n; k++) __builtin_memcpy(values + k * NR, from + k * b.rs, (size_t)m * sizeof(float));
    } else {
      for (int64_t j = 0; j < m; j++) {
        for (int64_t k = 0; k < n; k++) values[k * NR + j] = from[j * b.cs + k];
      }
    }
    for (int64_t j = 0; j < NR; j += W) {
      vi largest{};
      for (int64_t k = 0; k < n; k++) largest = larger(largest, magnitude(load(values + k * NR + j)));
      const Scale scale = scaleFor(largest, kFullWeight);
      store(panel + j, scale.scale);
      for (int64_t k = 0; k < kGroup; k += 4) {
        vi q[4];
        for (int i = 0; i < 4; i++) q[i] = rounded(load(values + (k + i) * NR + j), scale.inverse);
        store(panel + NR + k / 4 * NR + j, (vf)packFours(q));
      }
    }
  }
}

int64_t packedInt8Length(int64_t K, int64_t N) { return int8Length(K, N); }

/** packed = B (K, N): the weight (K, N), or with `transposed` the transpose of weight (N, K). */
void packWeightInt8(const PackWeightInt8Args& k) {
  packInt8(k.packed, k.transposed ? Matrix{k.weight, 1, k.K} : Matrix{k.weight, k.N, 1}, k.K, k.N);
}

}  // namespace

int64_t int8Length(int64_t K, int64_t N) { return ceilDiv(N, NR) * panelFloats(K); }

void packInt8(float* packed, const Matrix& b, int64_t K, int64_t N) {
  parallel(ceilDiv(N, NR), [&](int64_t task, int) {
    const int64_t j = task * NR;
    packPanel(packed + task * panelFloats(K), {b.data + j * b.cs, b.rs, b.cs}, K, N - j);
  });
}

void linearInt8(float* out, const float* inp, const float* packed, const float* bias, int64_t R, int64_t K, int64_t N) {
  if (R == 0) return;
  const Rounded* rows = roundRows(inp, R, K);
  const int64_t groups = ceilDiv(K, kGroup), apart = panelFloats(K);
  // With few rows, tasks do little but read B: narrower tasks split it more evenly.
  const int64_t wide = R <= kTall ? kAbreast * NR : kWide, down = ceilDiv(R, kTall);
  // Even tiles: no sliver at the end.
  const int64_t tall = ceilDiv(min(R, kTall), ceilDiv(min(R, kTall), kRows));
  parallel(down * ceilDiv(N, wide), [&](int64_t task, int) {
    const int64_t i0 = task % down * kTall, j0 = task / down * wide;
    const int64_t i1 = min(R, i0 + kTall), j1 = min(N, j0 + wide);
    if (R == 1 && j0 + wide <= roundUp(N, NR)) {
      tileOver<1, kAbreast>({groups, kWordsAhead / kAbreast}, rows, packed + j0 / NR * apart, apart, out + j0, N,
                            N - j0, bias ? bias + j0 : nullptr);
      return;
    }
    for (int64_t j = j0; j < j1; j += NR) {
      for (int64_t i = i0; i < i1; i += tall) {
        // The first tile prefetches a panel; the others find it in the cache.
        tileOf[min(tall, i1 - i) - 1]({groups, i == i0 ? kWordsAhead : 0}, rows + i * groups, packed + j / NR * apart,
                                      out + i * N + j, N, N - j, bias ? bias + j : nullptr);
      }
    }
  });
}

void addInt8(Kernels& k) {
  k.packedInt8Length = packedInt8Length;
  k.packWeightInt8 = packWeightInt8;
  k.linearForwardInt8 = [](const LinearForwardInt8Args& k) {
    linearInt8(k.out, k.inp, k.packed, k.bias, k.R, k.K, k.N);
  };
  k.logitsInt8 = [](const LogitsInt8Args& k) { linearInt8(k.out, k.inp, k.packed, nullptr, k.R, k.C, k.V); };
}

}  // namespace LOOPNN_ISA
}  // namespace loopnn
