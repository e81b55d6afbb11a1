/**
 * Products of bfloat16 by AMX: a tile is 16 rows of 64 bytes, and one instruction multiplies 16 rows of A by 16 columns
 * of B over 32 values of k. Linux grants tiles to a process that asks for them (processor.cc).
 *
 * Four tiles hold a block of C, 32×32, two a part of A, two a part of B. Panels of A are packed for them: 16 words of
 * row 0, of row 1, … of row 31, then the next 16 words of each. Panels of B are those of gemm.h.
 *
 * One instruction sums the even values of k and the odd ones from zero, each in order, and adds both sums to C. So an
 * element's bits depend on its row of A, its column of B and K only, as gemm.h demands; they differ from those of
 * `addPairProducts`.
 */
#pragma once

#include "gemm.h"

namespace loopnn {
namespace LOOPNN_ISA {
namespace {

constexpr int64_t kTileRows = 16;
constexpr int64_t kTileWords = 16;                         // of a row
constexpr int64_t kBlockWords = Bf16::kRows * kTileWords;  // of a panel, A's or B's, that one step of tiles multiplies
static_assert(Bf16::kRows == 2 * kTileRows && NR == 2 * kTileWords && Bf16::kWhole == kTileWords, "two tiles a side");
static_assert(KC % kTileWords == 0, "blocks of k are made of whole tiles");

/** The tiles of this thread while it exists; without them a thread's registers are quicker to save. */
class Tiles {
 public:
  Tiles() {
    struct alignas(64) {
      uint8_t palette = 1, startRow = 0, reserved[14] = {};
      uint16_t rowBytes[16] = {};
      uint8_t rows[16] = {};
    } shapes;
    for (int t = 0; t < 8; t++) {
      shapes.rowBytes[t] = 4 * kTileWords;
      shapes.rows[t] = kTileRows;
    }
    _tile_loadconfig(&shapes);
  }
  ~Tiles() { _tile_release(); }
  Tiles(const Tiles&) = delete;
  Tiles& operator=(const Tiles&) = delete;
};

/**
 * sums (32, 32) = a panel of A times a panel of B over `steps` words; with `half`, only its first 16 rows. One line of
 * `next` is fetched for every 16 words, so that 32 blocks of C fetch a panel of B.
 */
template <bool half>
LOOPNN_INLINE void multiplyTiles(float* sums, int64_t steps, const float* a, const float* b, const float* next) {
  _tile_zero(0);
  _tile_zero(1);
  if (!half) {
    _tile_zero(2);
    _tile_zero(3);
  }
  for (int64_t s = 0; s < steps; s += kTileWords, a += kBlockWords, b += kBlockWords, next += kTileWords) {
    __builtin_prefetch(next, 0, 2);
    _tile_loadd(4, a, 4 * kTileWords);
    _tile_loadd(6, b, 4 * NR);
    _tile_loadd(7, b + kTileWords, 4 * NR);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    if (!half) {
      _tile_loadd(5, a + kTileRows * kTileWords, 4 * kTileWords);
      _tile_dpbf16ps(2, 5, 6);
      _tile_dpbf16ps(3, 5, 7);
    }
  }
  _tile_stored(0, sums, 4 * NR);
  _tile_stored(1, sums + kTileWords, 4 * NR);
  if (!half) {
    _tile_stored(2, sums + kTileRows * NR, 4 * NR);
    _tile_stored(3, sums + kTileRows * NR + kTileWords, 4 * NR);
  }
}

/** C (rows, cols) = or += a panel of A times a panel of B; `rows` and `cols` are what is left of C, and may be more. */
LOOPNN_INLINE void multiplyPanels(int64_t steps, const float* a, const float* b, const float* next, float* c,
                                  int64_t ldc, int64_t rows, int64_t cols, Store how) {
  alignas(64) float sums[Bf16::kRows * NR];
  const int64_t m = min(rows, Bf16::kRows);
  for (int64_t i = 0; i < m; i++) {
    for (int v = 0; v < NV; v++) __builtin_prefetch(c + i * ldc + v * W, 1);
  }
  rows <= kTileRows ? multiplyTiles<true>(sums, steps, a, b, next) : multiplyTiles<false>(sums, steps, a, b, next);
  for (int v = 0; v < NV; v++) {
    const int64_t n = cols - v * W;
    if (n <= 0) break;
    const vf bias = how.bias ? loadUpTo(how.bias + v * W, n) : vf{};
    for (int64_t i = 0; i < m; i++) {
      float* to = c + i * ldc + v * W;
      vf sum = load(sums + i * NR + v * W);
      if (how.bias) sum += bias;
      if (how.add) sum += loadUpTo(to, n);
      storeUpTo(to, sum, n);
    }
  }
}

/** A panel of A for tiles, as `packPanel` (gemm.h) packs one for vectors. */
LOOPNN_INLINE void packTiles(float* dst, const float* src, int64_t ls, int64_t ks, int64_t lanes, int64_t kc) {
  const int64_t steps = stepsOf<Bf16>(kc);
  for (int64_t s = 0; s < steps; s += kTileWords, dst += kBlockWords) {
    for (int64_t g = 0; g < Bf16::kRows; g += W) {
      vf r[W];
      for (int64_t i = 0; i < W; i++) {
        if (ls != 1) r[i] = g + i < lanes ? Bf16::along(src + (g + i) * ls, s, kc) : vf{};
        else r[i] = g < lanes ? Bf16::across(src + g, ks, s + i, kc, lanes - g) : vf{};
      }
      if (ls == 1) transpose(r);
      for (int64_t i = 0; i < W; i++) store(dst + (g + i) * kTileWords, r[i]);
    }
  }
}

}  // namespace
}  // namespace LOOPNN_ISA
}  // namespace loopnn
