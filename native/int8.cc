/**
 * Products with a weight in int8: see int8.h. A panel is NR columns, group by group: NR scales, then for each k NR integers
 * side by side. A tile keeps a few rows of C in registers along the whole of k, once as the sum of the group under way and
 * once as the sum of the groups before, scaled.
 */
#include "int8.h"

#include <math.h>

#include "families.h"

namespace loopnn {
namespace LOOPNN_ISA {
namespace {

constexpr int64_t kGroup = 64;                       // values along k that share a scale
constexpr int64_t kGroupFloats = NR + kGroup * NR / 4;  // of a panel
constexpr int kRows = LOOPNN_WIDTH == 16 ? 6 : 3;    // both sums of a tile, a row of B and a broadcast fit the registers
constexpr int64_t kTall = 8 * kRows;                 // rows of a task: they stay in the second-level cache
constexpr int64_t kWide = 8 * NR;                    // and its columns
constexpr int64_t kBytesAhead = 1024;                // bytes: what is read is asked for so far ahead

int64_t panelFloats(int64_t K) { return ceilDiv(K, kGroup) * kGroupFloats; }

/** A panel's integers as they are packed: read once, ahead of time. */
struct Packed {
  const float* panel;

  const int8_t* group(int64_t k0) const { return reinterpret_cast<const int8_t*>(panel + k0 / kGroup * kGroupFloats + NR); }
  /** Integers from a panel to the next one, which lies so many floats after it. */
  LOOPNN_INLINE int64_t apart(int64_t floats) { return 4 * floats; }
  LOOPNN_INLINE vf at(const int8_t* p) { return widen(p); }
  LOOPNN_INLINE void fetch(const int8_t* p, int64_t k) {
    if (k % (64 / NR) == 0) __builtin_prefetch(p + kBytesAhead);
  }
};

/** The same as floats, for more rows than one tile has. */
struct Widened {
  const float* values;

  const float* group(int64_t k0) const { return values + k0 * NR; }
  LOOPNN_INLINE int64_t apart(int64_t) { return 0; }
  LOOPNN_INLINE vf at(const float* p) { return load(p); }
  LOOPNN_INLINE void fetch(const float*, int64_t) {}
};

void widenPanel(float* values, const float* panel, int64_t K) {
  for (int64_t k0 = 0; k0 < K; k0 += kGroup) {
    const int8_t* from = Packed{panel}.group(k0);
    const int64_t n = min(kGroup, K - k0) * NR;
    for (int64_t i = 0; i < n; i += W) store(values + k0 * NR + i, widen(from + i));
  }
}

/**
 * C (ROWS, cols) of PANELS panels, side by side in C and `apart` floats apart in memory; rows of `a` and of `c` lie lda and
 * ldc apart. Sums go along k in order, so that a step waits for the one before: several panels at once fill the wait.
 */
template <int ROWS, int PANELS, class Integers>
LOOPNN_INLINE void tileOver(const float* panel, int64_t apart, Integers integers, int64_t K, const float* a, int64_t lda,
                            float* c, int64_t ldc, int64_t cols, const float* bias) {
  constexpr int VECTORS = PANELS * NV;
  vf total[ROWS][VECTORS] = {};
  for (int64_t k0 = 0; k0 < K; k0 += kGroup, panel += kGroupFloats) {
    auto* b = integers.group(k0);
    const int64_t n = min(kGroup, K - k0);
    vf acc[ROWS][VECTORS] = {};
    for (int64_t k = 0; k < n; k++, b += NR) {
      vf av[ROWS];
#pragma GCC unroll 8
      for (int i = 0; i < ROWS; i++) av[i] = set1(a[i * lda + k0 + k]);
#pragma GCC unroll 4
      for (int p = 0; p < PANELS; p++) {
        auto* of = b + p * Integers::apart(apart);
        Integers::fetch(of, k);
#pragma GCC unroll 2
        for (int v = 0; v < NV; v++) {
          const vf bv = Integers::at(of + v * W);
#pragma GCC unroll 8
          for (int i = 0; i < ROWS; i++) acc[i][p * NV + v] = fma(av[i], bv, acc[i][p * NV + v]);
        }
      }
    }
#pragma GCC unroll 8
    for (int i = 0; i < ROWS; i++) {
#pragma GCC unroll 8
      for (int v = 0; v < VECTORS; v++) {
        const vf scale = load(panel + v / NV * apart + v % NV * W);
        total[i][v] = fma(acc[i][v], scale, total[i][v]);
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

/** With the panel's integers as floats, or null. */
template <int ROWS>
void tile(const float* panel, const float* widened, int64_t K, const float* a, float* c, int64_t ldc, int64_t cols,
          const float* bias) {
  if (widened) tileOver<ROWS, 1>(panel, 0, Widened{widened}, K, a, K, c, ldc, cols, bias);
  else tileOver<ROWS, 1>(panel, 0, Packed{panel}, K, a, K, c, ldc, cols, bias);
}

using Tile = void (*)(const float*, const float*, int64_t, const float*, float*, int64_t, int64_t, const float*);
constexpr Tile tileOf[] = {
    tile<1>, tile<2>, tile<3>,
#if LOOPNN_WIDTH == 16
    tile<4>, tile<5>, tile<6>,
#endif
};

/** One panel: its scales, and its integers, those beyond K and N being zero. */
void packPanel(float* panel, const Matrix& b, int64_t K, int64_t cols) {
  for (int64_t k0 = 0; k0 < K; k0 += kGroup, panel += kGroupFloats) {
    const int64_t n = min(kGroup, K - k0);
    int8_t* integers = reinterpret_cast<int8_t*>(panel + NR);
    for (int64_t j = 0; j < NR; j++) {
      const float* from = b.data + j * b.cs + k0 * b.rs;
      float largest = 0;  // NaN where any value is, and so is every product with the group then
      for (int64_t k = 0; j < cols && k < n; k++) {
        const float size = fabsf(from[k * b.rs]);
        if (size > largest || size != size) largest = size;
      }
      const float scale = largest / 127, inverse = largest > 0 ? 127 / largest : 0;
      panel[j] = scale;
      for (int64_t k = 0; k < kGroup; k++) {
        const float x = j < cols && k < n ? from[k * b.rs] * inverse : 0;
        integers[k * NR + j] = static_cast<int8_t>(fmaxf(-127, fminf(127, rintf(x))));
      }
    }
  }
}

int64_t packedInt8Length(int64_t K, int64_t N) { return int8Length(K, N); }

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
  // Few rows leave their tasks little to do but read B: narrower ones then share it out evenly.
  const int64_t wide = R <= kTall ? kAbreast * NR : kWide, down = ceilDiv(R, kTall);
  const bool tall = R > kRows;
  if (tall) reserveScratch((size_t)(K * NR) * sizeof(float));
  parallel(down * ceilDiv(N, wide), [&](int64_t task, int worker) {
    float* widened = tall ? workerScratch(worker) : nullptr;
    const int64_t i0 = task % down * kTall, j0 = task / down * wide;
    const int64_t i1 = min(R, i0 + kTall), j1 = min(N, j0 + wide);
    if (R == 1 && j0 + wide <= roundUp(N, NR)) {
      const float* panel = packed + j0 / NR * panelFloats(K);
      tileOver<1, kAbreast>(panel, panelFloats(K), Packed{panel}, K, inp, K, out + j0, N, N - j0, bias ? bias + j0 : nullptr);
      return;
    }
    for (int64_t j = j0; j < j1; j += NR) {
      const float* panel = packed + j / NR * panelFloats(K);
      if (tall) widenPanel(widened, panel, K);
      for (int64_t i = i0; i < i1; i += kRows) {
        tileOf[min(kRows, i1 - i) - 1](panel, widened, K, inp + i * K, out + i * N + j, N, N - j,
                                       bias ? bias + j : nullptr);
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
