/**
 * Matrix product: packing, the register tile, and the blocked product over a grid of tasks.
 * Attention uses the first two directly. Knows nothing of layers.
 *
 * Bits of an output element depend on its row of A, its column of B and K only: every path multiplies and adds
 * along k in ascending order within blocks of KC, whatever the tile the element falls into.
 */
#pragma once

#include "vec.h"

namespace loopnn {
namespace LOOPNN_ISA {

// The register tile: MR rows of NV vectors. All accumulators, one row of B and a broadcast fit the register file.
#if LOOPNN_WIDTH == 16
constexpr int MR = 14;
#elif LOOPNN_WIDTH == 8
constexpr int MR = 6;
#elif defined(__aarch64__)
constexpr int MR = 8;
#else
constexpr int MR = 4;
#endif
constexpr int NV = 2;
constexpr int NR = NV * W;
constexpr int KC = 256;

/** A matrix in memory: element (i, j) lies at data[i·rs + j·cs]. */
struct Matrix {
  const float* data;
  int64_t rs, cs;
};

/** What a tile does with C: overwrite or add; `bias`, if any, holds one value for each column. */
struct Store {
  bool add;
  const float* bias;
};

namespace {

/** r[i][j] ↔ r[j][i] of a W×W block, by exchanging halves of pairs of rows at distance D = W/2, …, 1. */
template <int D, int... L>
LOOPNN_INLINE void exchange(vf* r, int i) {
  const vf a = r[i], b = r[i + D];
  r[i] = LOOPNN_SHUFFLE(a, b, ((L & D) ? W + L - D : L)...);
  r[i + D] = LOOPNN_SHUFFLE(a, b, ((L & D) ? W + L : L + D)...);
}

template <int D>
LOOPNN_INLINE void exchangeAll(vf* r) {
#pragma GCC unroll 16
  for (int i = 0; i < W; i++) {
    if (i & D) continue;
#if LOOPNN_WIDTH == 16
    exchange<D, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15>(r, i);
#elif LOOPNN_WIDTH == 8
    exchange<D, 0, 1, 2, 3, 4, 5, 6, 7>(r, i);
#else
    exchange<D, 0, 1, 2, 3>(r, i);
#endif
  }
}

LOOPNN_INLINE void transpose(vf* r) {
#if LOOPNN_WIDTH == 16
  exchangeAll<8>(r);
#endif
#if LOOPNN_WIDTH >= 8
  exchangeAll<4>(r);
#endif
  exchangeAll<2>(r);
  exchangeAll<1>(r);
}

/**
 * dst[k·P + l] = src[l·ls + k·ks] for k < kc; lanes from `lanes` to P are zero.
 * Where lanes are contiguous, the panel after this one, which is read next, is prefetched on the way.
 * Writes up to W floats past the panel (when P < W), so panels are packed in ascending order and the last one
 * needs W floats of slack.
 */
template <int P>
void packPanel(float* dst, const float* src, int64_t ls, int64_t ks, int64_t lanes, int64_t kc) {
  static_assert(P < W || P % W == 0, "a group of lanes may only spill into the next k");
  for (int g = 0; g < P; g += W) {
    const int n = (int)max(0, min(lanes - g, P - g < W ? P - g : W));
    const float* from = src + g * ls;
    float* to = dst + g;
    if (n == 0) {
      for (int64_t k = 0; k < kc; k++) store(to + k * P, vf{});
    } else if (ls == 1 && n == W) {
      for (int64_t k = 0; k < kc; k++) {
        __builtin_prefetch(from + k * ks + P);
        store(to + k * P, load(from + k * ks));
      }
    } else if (ls == 1) {
      for (int64_t k = 0; k < kc; k++) {
        __builtin_prefetch(from + k * ks + P);
        store(to + k * P, loadFirst(from + k * ks, n));
      }
    } else if (ks == 1) {
      for (int64_t k = 0; k < kc; k += W) {
        const int64_t left = kc - k;
        vf r[W];
        for (int i = 0; i < W; i++) r[i] = vf{};
        if (left >= W) {
          for (int i = 0; i < n; i++) r[i] = load(from + i * ls + k);
        } else {
          for (int i = 0; i < n; i++) r[i] = loadFirst(from + i * ls + k, (int)left);
        }
        transpose(r);
        if (left >= W) {
#pragma GCC unroll 16
          for (int i = 0; i < W; i++) store(to + (k + i) * P, r[i]);
        } else {
          for (int i = 0; i < left; i++) store(to + (k + i) * P, r[i]);
        }
      }
    } else {
      for (int64_t k = 0; k < kc; k++) {
        for (int i = 0; i < W; i++) to[k * P + i] = i < n ? from[i * ls + k * ks] : 0.0f;
      }
    }
  }
}

/**
 * C (ROWS, cols) = or += A·B: a[k·lda + row], b[k·ldb + column]; NR columns of b are read, `cols` of C written.
 */
template <int ROWS>
void tile(int64_t kc, const float* a, int64_t lda, const float* b, int64_t ldb, float* c, int64_t ldc, int64_t cols,
          Store how) {
  // C is wanted only at the end, and its rows lie pages apart: ask for them now.
#pragma GCC unroll 16
  for (int i = 0; i < ROWS; i++) {
#pragma GCC unroll 2
    for (int v = 0; v < NV; v++) __builtin_prefetch(c + i * ldc + v * W, 1);
  }
  vf acc[ROWS][NV];
#pragma GCC unroll 16
  for (int i = 0; i < ROWS; i++) {
#pragma GCC unroll 2
    for (int v = 0; v < NV; v++) acc[i][v] = vf{};
  }
  for (int64_t k = 0; k < kc; k++) {
    vf bv[NV];
#pragma GCC unroll 2
    for (int v = 0; v < NV; v++) bv[v] = load(b + v * W);
#pragma GCC unroll 16
    for (int i = 0; i < ROWS; i++) {
      const vf av = set1(a[i]);
#pragma GCC unroll 2
      for (int v = 0; v < NV; v++) acc[i][v] = fma(av, bv[v], acc[i][v]);
    }
    a += lda;
    b += ldb;
  }
#pragma GCC unroll 2
  for (int v = 0; v < NV; v++) {
    const int64_t n = cols - v * W;
    if (n <= 0) break;
    const vf bias = how.bias ? loadUpTo(how.bias + v * W, n) : vf{};
#pragma GCC unroll 16
    for (int i = 0; i < ROWS; i++) {
      float* to = c + i * ldc + v * W;
      vf sum = acc[i][v];
      if (how.bias) sum += bias;
      if (how.add) sum += loadUpTo(to, n);
      storeUpTo(to, sum, n);
    }
  }
}

using TileFn = void (*)(int64_t, const float*, int64_t, const float*, int64_t, float*, int64_t, int64_t, Store);

/** tiles[rows - 1] for 1 ≤ rows ≤ MR: a short tile does the same sums for the rows it has. */
constexpr TileFn tiles[] = {
    tile<1>, tile<2>, tile<3>, tile<4>,
#if LOOPNN_WIDTH > 4 || defined(__aarch64__)
    tile<5>, tile<6>,
#endif
#if LOOPNN_WIDTH == 16 || defined(__aarch64__)
    tile<7>, tile<8>,
#endif
#if LOOPNN_WIDTH == 16
    tile<9>, tile<10>, tile<11>, tile<12>, tile<13>, tile<14>,
#endif
};

}  // namespace

/**
 * C (M, N) = A (M, K)·B (K, N) + bias, or added to C; C has rows of ldc floats. `bias` may be null.
 *
 * `splitK` allows a long sum over K to be cut into slices that run side by side and are added in order. Whether it
 * is cut depends on M, so that forward kernels, whose rows must not depend on their number, do not allow it.
 */
struct Product {
  float* c;
  int64_t ldc;
  Matrix a, b;
  const float* bias;
  int64_t M, N, K;
  bool accumulate;
  bool splitK = false;
};

void gemm(const Product& product);

/** sums (C) += Σ_r rows (R, C), in a fixed order. */
void addColumnSums(float* sums, const float* rows, int64_t R, int64_t C);

}  // namespace LOOPNN_ISA
}  // namespace loopnn
