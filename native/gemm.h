/**
 * Matrix product: how operands are packed, the register tile, and the blocked product over a grid of tasks.
 * Attention uses the first two directly. It must not know layers.
 *
 * A packed operand consists of 32-bit words, so that one tile serves both precisions: a word is a float, or two
 * bfloat16 that are adjacent along k. One step of a tile takes one word of each row and column.
 *
 * Names:
 * - A (M, K), B (K, N), C (M, N): C = A·B; lower case for pointers to them; lda, ldb, ldc: floats or words between rows
 * - W: lanes of a vector; vf, vi, vu: a vector of floats, integers, unsigned integers (vec.h)
 * - MR, NR: rows and columns of the register tile; NV: vectors of a tile's row, NR = NV·W
 * - P: a precision, F32 or Bf16; kDepth: its values per word
 * - k: place along K; KC: steps of a block along k; kc: values of such a block; s: a step, one word along k
 * - rs, cs: strides of a matrix's rows and columns; ls, ks: strides of a panel's lanes and along k; l, lane: a row of A
 *   or a column of B
 * - panel: P::kRows rows of A (MR but for AMX) or NR columns of B, packed; n, left: elements that exist, where a vector
 *   may be wider
 *
 * Bits of an output element depend on its row of A, its column of B and K only: every path multiplies and adds
 * along k in ascending order within blocks of KC steps, whatever the tile the element falls into.
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
#elif defined(__wasm_relaxed_simd__)
constexpr int MR = 6;
#else
constexpr int MR = 4;
#endif
constexpr int NV = 2;
constexpr int NR = NV * W;
constexpr int kFetch = 256 / NR;
// Unrolled steps have more than 16 values alive in WebAssembly, whose compilers keep their order.
#if defined(__wasm__)
constexpr int kUnrolled = 1;
#else
constexpr int kUnrolled = 4;
#endif
constexpr int kAbreast = 4;       // panels that one row is multiplied by at once
constexpr int64_t kAhead = 256;   // words: the distance at which a row prefetches
constexpr int64_t kFurtherAhead = 1024;  // the same for a few rows, whose steps take longer
/** Steps after which C is stored: a panel of B stays in the first-level cache. */
constexpr int KC = LOOPNN_WIDTH == 16 ? 256 : 384;

/** A matrix in memory: element (i, j) lies at data[i·rs + j·cs]; one of the strides is 1. */
struct Matrix {
  const float* data;
  int64_t rs, cs;
};

/** How a tile stores C: overwrite or add; `bias`, if any, has one value for each column. */
struct Store {
  bool add;
  const float* bias;
};

/** Unrounded operands; a word is one float. */
struct F32 {
  static constexpr int kDepth = 1;   // values along k in a word
  static constexpr int kRows = MR;   // rows of a panel
  static constexpr int kWhole = 1;   // words along k of which a packed operand has a multiple, zeros at its end

  LOOPNN_INLINE vf multiplyAdd(vf a, vf b, vf c) { return fma(a, b, c); }
  /** The words of step s of W lanes that lie side by side at `from`, `ks` apart along k; n lanes exist. */
  LOOPNN_INLINE vf across(const float* from, int64_t ks, int64_t s, int64_t, int64_t n) {
    return loadUpTo(from + s * ks, n);
  }
  /** Words s … s + W − 1 of one lane whose kc values lie side by side; zero from kc on. */
  LOOPNN_INLINE vf along(const float* from, int64_t s, int64_t kc) { return loadUpTo(from + s, kc - s); }
  /** `word` with value k of W lanes set, and zeros for later values. */
  LOOPNN_INLINE vf place(vf, vf value, int64_t) { return value; }
};

/** Operands rounded to bfloat16 when packed, two to a word; products and sums are in float. AMX: see amx.h. */
struct Bf16 {
  static constexpr int kDepth = 2;
#if defined(__AMX_BF16__)
  static constexpr int kRows = 32;
  static constexpr int kWhole = 16;
#else
  static constexpr int kRows = MR;
  static constexpr int kWhole = 1;

  LOOPNN_INLINE vf multiplyAdd(vf a, vf b, vf c) { return addPairProducts(a, b, c); }
#endif
  LOOPNN_INLINE vf across(const float* from, int64_t ks, int64_t s, int64_t kc, int64_t n) {
    if (kWhole > 1 && 2 * s >= kc) return vf{};
    const vf first = loadUpTo(from + 2 * s * ks, n);
    return interleavePairs(first, 2 * s + 1 < kc ? loadUpTo(from + (2 * s + 1) * ks, n) : vf{});
  }
  LOOPNN_INLINE vf along(const float* from, int64_t s, int64_t kc) {
    const int64_t left = kc - 2 * s;
    if (kWhole > 1 && left <= 0) return vf{};
    return adjacentPairs(loadUpTo(from + 2 * s, left), left > W ? loadUpTo(from + 2 * s + W, left - W) : vf{});
  }
  LOOPNN_INLINE vf place(vf word, vf value, int64_t k) {
    if (k % 2 == 0) return interleavePairs(value, vf{});
    return (vf)(((vu)word & 0xffffu) | (vu)interleavePairs(vf{}, value));
  }
};

/** Number of words of k values. */
template <class P>
LOOPNN_INLINE int64_t stepsOf(int64_t k) {
  return roundUp(ceilDiv(k, P::kDepth), P::kWhole);
}

namespace {

/** r[i][j] ↔ r[j][i] of a W×W block, by exchanging halves of pairs of rows at distance D = W/2, …, 1. */
template <int D, int... L>
LOOPNN_INLINE void exchange(vf* r, int i) {
  const vf a = r[i], b = r[i + D];
  r[i] = LOOPNN_SHUFFLE(a, b, ((L & D) ? W + L - D : L)...);
  r[i + D] = LOOPNN_SHUFFLE(a, b, ((L & D) ? W + L : L + D)...);
}

template <int D>
LOOPNN_INLINE void exchangeWith(vf* r, int i) {
#if LOOPNN_WIDTH == 16
  exchange<D, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15>(r, i);
#elif LOOPNN_WIDTH == 8
  exchange<D, 0, 1, 2, 3, 4, 5, 6, 7>(r, i);
#else
  exchange<D, 0, 1, 2, 3>(r, i);
#endif
}

template <int D>
LOOPNN_INLINE void exchangeAll(vf* r) {
#pragma GCC unroll 16
  for (int i = 0; i < W; i++) {
    if (!(i & D)) exchangeWith<D>(r, i);
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

template <int D, class Join>
LOOPNN_INLINE void foldHalf(vf* r, Join join) {
#pragma GCC unroll 8
  for (int i = 0; i < D; i++) {
    exchangeWith<D>(r, i);
    r[i] = join(r[i], r[i + D]);
  }
}

/** Lane i: all lanes of r[i] joined, halving as sumLanes does, so that a sum has its bits. */
template <class Join>
LOOPNN_INLINE vf foldRows(vf* r, Join join) {
#if LOOPNN_WIDTH == 16
  foldHalf<8>(r, join);
#endif
#if LOOPNN_WIDTH >= 8
  foldHalf<4>(r, join);
#endif
  foldHalf<2>(r, join);
  foldHalf<1>(r, join);
  return r[0];
}

/**
 * Step s of a panel whose lanes lie side by side, as in packPanel below; steps are packed in order. A vector that is
 * wider than the rest of the panel spills into the first lanes of the next step, which is written later; in the last
 * step it must not.
 */
template <class P, int Width>
LOOPNN_INLINE void packStep(float* dst, const float* src, int64_t ks, int64_t lanes, int64_t s, int64_t kc) {
  for (int g = 0; g < Width; g += W) {
    const vf words = lanes > g ? P::across(src + g, ks, s, kc, lanes - g) : vf{};
    float* to = dst + s * Width + g;
    if (g + W <= Width || P::kDepth * (s + 1) < kc) store(to, words);
    else storeUpTo(to, words, Width - g);
  }
}

/**
 * One panel of an operand: dst[s·Width + l] = word s of lane l of src[l·ls + k·ks], k < kc; lanes from `lanes` to
 * Width are zero. One of the strides is 1. If lanes are contiguous, the next panel is prefetched.
 */
template <class P, int Width>
void packPanel(float* dst, const float* src, int64_t ls, int64_t ks, int64_t lanes, int64_t kc) {
  const int64_t steps = stepsOf<P>(kc);
  for (int g = (Width - 1) / W * W; g >= 0; g -= W) {
    const int64_t n = lanes - g;  // lanes from here on; lanes beyond the panel may be read too
    const float* from = src + g * ls;
    // A vector that is wider than the rest of the panel spills into the first lanes of the next step, which are written
    // later; the last vector must not.
    auto put = [&](int64_t s, vf words) {
      float* to = dst + s * Width + g;
      if (g + W <= Width || s + 1 < steps) {
        store(to, words);
      } else {
        storeUpTo(to, words, Width - g);
      }
    };
    if (n <= 0) {
      for (int64_t s = 0; s < steps; s++) put(s, vf{});
    } else if (ls == 1) {
      for (int64_t s = 0; s < steps; s++) {
        __builtin_prefetch(from + P::kDepth * s * ks + Width);
        if (P::kDepth > 1) __builtin_prefetch(from + (P::kDepth * s + 1) * ks + Width);
        put(s, P::across(from, ks, s, kc, n));
      }
    } else {
      for (int64_t s = 0; s < steps; s += W) {
        vf r[W];
        for (int i = 0; i < W; i++) r[i] = i < n && g + i < Width ? P::along(from + i * ls, s, kc) : vf{};
        transpose(r);
        if (steps - s > W) {
#pragma GCC unroll 16
          for (int i = 0; i < W; i++) store(dst + (s + i) * Width + g, r[i]);
        } else {
          for (int i = 0; i < steps - s; i++) put(s + i, r[i]);
        }
      }
    }
  }
}

/**
 * C (ROWS, cols) = or += A·B: a[s·lda + row], b[s·ldb + column] are words; NR columns of b are read, `cols` of C
 * written. `next` is memory that will be read soon: a line of it is fetched every kFetch steps, so that 16 tiles
 * fetch as much as one panel of B. A short tile is often the only reader of a panel, and prefetches it for itself.
 */
template <class P, int ROWS>
void tile(int64_t steps, const float* a, int64_t lda, const float* b, int64_t ldb, const float* next, float* c,
          int64_t ldc, int64_t cols, Store how) {
  // C is needed only at the end, and its rows lie pages apart: prefetch them now.
  float* row = c;
#pragma GCC unroll 16
  for (int i = 0; i < ROWS; i++, row += ldc) {
#pragma GCC unroll 2
    for (int v = 0; v < NV; v++) __builtin_prefetch(row + v * W, 1);
  }
  vf acc[ROWS][NV];
#pragma GCC unroll 16
  for (int i = 0; i < ROWS; i++) {
#pragma GCC unroll 2
    for (int v = 0; v < NV; v++) acc[i][v] = vf{};
  }
  auto step = [&]() __attribute__((always_inline)) {
    vf bv[NV];
#pragma GCC unroll 2
    for (int v = 0; v < NV; v++) bv[v] = load(b + v * W);
    if (ROWS < MR) {
      for (int line = 0; line < NR; line += 16) __builtin_prefetch(b + kFurtherAhead + line);
    }
#pragma GCC unroll 16
    for (int i = 0; i < ROWS; i++) {
      const vf av = set1(a[i]);
#pragma GCC unroll 2
      for (int v = 0; v < NV; v++) acc[i][v] = P::multiplyAdd(av, bv[v], acc[i][v]);
      inOrder(acc[i][0], acc[i][1]);
    }
    a += lda;
    b += ldb;
  };
  int64_t left = steps;
  for (; left >= kFetch; left -= kFetch) {
    __builtin_prefetch(next, 0, 2);
    next += 16;
#pragma GCC unroll kUnrolled
    for (int s = 0; s < kFetch; s++) step();
  }
  for (; left > 0; left--) step();
  forget(c);  // or the compiler computes the addresses of all rows beforehand, and spills them
  if (cols >= NR && !how.bias) {
#pragma GCC unroll 16
    for (int i = 0; i < ROWS; i++, c += ldc) {
#pragma GCC unroll 2
      for (int v = 0; v < NV; v++) store(c + v * W, how.add ? acc[i][v] + load(c + v * W) : acc[i][v]);
    }
    return;
  }
#pragma GCC unroll 16
  for (int i = 0; i < ROWS; i++, c += ldc) {
#pragma GCC unroll 2
    for (int v = 0; v < NV; v++) {
      const int64_t n = cols - v * W;
      if (n <= 0) break;
      vf sum = acc[i][v];
      if (how.bias) sum += loadUpTo(how.bias + v * W, n);
      if (how.add) sum += loadUpTo(c + v * W, n);
      storeUpTo(c + v * W, sum, n);
    }
  }
}

/**
 * The same for one row and kAbreast panels of B, `apart` words from each other: sums run along k in order, so that each
 * step waits for the one before; several panels at once fill the wait. Each panel is read once, from memory, with
 * prefetching.
 */
template <class P>
void rowTile(int64_t steps, const float* a, int64_t lda, const float* b, int64_t apart, float* c, int64_t cols,
             Store how) {
  vf acc[kAbreast][NV] = {};
  for (int64_t s = 0; s < steps; s++) {
    const vf av = set1(a[s * lda]);
#pragma GCC unroll 8
    for (int p = 0; p < kAbreast; p++) {
      const float* panel = b + p * apart + s * NR;
      for (int line = 0; line < NR; line += 16) __builtin_prefetch(panel + kAhead + line);
#pragma GCC unroll 2
      for (int v = 0; v < NV; v++) acc[p][v] = P::multiplyAdd(av, load(panel + v * W), acc[p][v]);
    }
  }
  for (int v = 0; v < kAbreast * NV; v++) {
    const int64_t n = cols - v * W;
    if (n <= 0) break;
    vf sum = acc[v / NV][v % NV];
    if (how.bias) sum += loadUpTo(how.bias + v * W, n);
    if (how.add) sum += loadUpTo(c + v * W, n);
    storeUpTo(c + v * W, sum, n);
  }
}

using TileFn = void (*)(int64_t, const float*, int64_t, const float*, int64_t, const float*, float*, int64_t, int64_t,
                        Store);

/** tiles<P>[rows - 1] for 1 ≤ rows ≤ MR: a short tile computes the same sums for fewer rows. */
template <class P>
constexpr TileFn tiles[] = {
    tile<P, 1>, tile<P, 2>, tile<P, 3>, tile<P, 4>,
#if LOOPNN_WIDTH > 4 || defined(__aarch64__) || defined(__wasm_relaxed_simd__)
    tile<P, 5>, tile<P, 6>,
#endif
#if LOOPNN_WIDTH == 16 || defined(__aarch64__)
    tile<P, 7>, tile<P, 8>,
#endif
#if LOOPNN_WIDTH == 16
    tile<P, 9>, tile<P, 10>, tile<P, 11>, tile<P, 12>, tile<P, 13>, tile<P, 14>,
#endif
};

}  // namespace

/** Words of B (K, N) packed: panels of NR columns, each with all its steps, one after the other. */
template <class P>
LOOPNN_INLINE int64_t packedWords(int64_t K, int64_t N) {
  return roundUp(N, NR) * stepsOf<P>(K);
}

/** Packs B (K, N) into packedWords<P>(K, N) words. */
template <class P>
void pack(float* packed, const Matrix& b, int64_t K, int64_t N);

/** C (M, N) = A (M, K)·B (K, N) + bias, or added to C; C has rows of ldc floats. `bias` may be null. */
struct Product {
  float* c;
  int64_t ldc;
  Matrix a;
  const float* bias;
  int64_t M, N, K;
  bool accumulate;
};

/** The product with a B packed by `pack<P>`. */
template <class P>
void multiply(const Product& product, const float* packedB);
/** The product with a B that is used once, dense rows; `columnSums (N)`, if given, += the sums of its columns. */
template <class P>
void multiply(const Product& product, const Matrix& b, float* columnSums = nullptr);

/** The same if B, or C and its sums, are small; otherwise does nothing and returns false (small.cc). */
template <class P>
bool multiplySmall(const Product& product, const float* packedB);
template <class P>
bool addSmall(const Product& product, const Matrix& b, float* columnSums);

/** sums (C) += Σ_r rows (R, C), in a fixed order. */
void addColumnSums(float* sums, const float* rows, int64_t R, int64_t C);

}  // namespace LOOPNN_ISA
}  // namespace loopnn
