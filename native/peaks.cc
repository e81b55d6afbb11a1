/** The machine's limits, for the benchmark: multiply-adds without memory access, and memory that is only read. */
#include "families.h"
#include "gemm.h"
#if defined(__AMX_BF16__)
#include "amx.h"
#endif
#if defined(__AMX_BF16__)
#include "amx.h"
#endif

namespace loopnn {
namespace LOOPNN_ISA {
namespace {

constexpr int64_t kTasks = 64;

/** Multiply-adds to as many independent sums as a tile has, so that none waits for another. */
template <class P>
float multiplyAdds(int64_t iterations) {
  vf sums[MR * NV];
  for (int i = 0; i < MR * NV; i++) sums[i] = set1((float)i);
  vf a = set1(0.5f);
  const vf b = set1(0.25f);
  for (int64_t n = 0; n < iterations; n++) {
    // A multiply-add is two instructions here: the compiler must not move the product out of the loop.
#if defined(__SSE2__) && LOOPNN_WIDTH == 4
    asm volatile("" : "+x"(a));
#elif defined(__wasm__)
    asm volatile("" : "+r"(a));
#endif
#pragma GCC unroll 32
    for (int i = 0; i < MR * NV; i++) sums[i] = P::multiplyAdd(a, b, sums[i]);
  }
  vf total{};
  for (int i = 0; i < MR * NV; i++) total += sums[i];
  return sumLanes(total);
}

/** Multiply-adds of one iteration. */
template <class P>
constexpr int64_t kAdds = MR * NR * P::kDepth;

#if defined(__AMX_BF16__)

template <>
constexpr int64_t kAdds<Bf16> = Bf16::kRows * NR * kTileWords * Bf16::kDepth;

template <>
float multiplyAdds<Bf16>(int64_t iterations) {
  alignas(64) float words[kTileRows * kTileWords];
  for (float& word : words) word = 0.25f;
  const Tiles tiles;
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  _tile_loadd(4, words, 4 * kTileWords);
  _tile_loadd(5, words, 4 * kTileWords);
  _tile_loadd(6, words, 4 * kTileWords);
  _tile_loadd(7, words, 4 * kTileWords);
  for (int64_t n = 0; n < iterations; n++) {
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  _tile_stored(0, words, 4 * kTileWords);
  return words[0];
}

#endif

/** Multiply-adds on all threads; returns the FLOPs, two for each. out[0] keeps the compiler from removing them. */
double peakProducts(float* out, int64_t iterations, bool bf16) {
  float* results = sharedScratch(kRowSums, kTasks * sizeof(float));
  parallel(kTasks, [&](int64_t task, int) {
    results[task] = bf16 ? multiplyAdds<Bf16>(iterations) : multiplyAdds<F32>(iterations);
  });
  out[0] = results[0];
  return 2.0 * kTasks * (double)iterations * (double)(bf16 ? kAdds<Bf16> : kAdds<F32>);
}

/** out[0] = the sum of inp (n), up to the last whole 8 vectors of each task: every cache line is read once. */
void peakRead(const PeakReadArgs& args) {
  float* out = args.out;
  const float* inp = args.inp;
  const int64_t n = args.n;
  const int64_t block = roundUp(ceilDiv(n, kTasks), 8 * W);
  float* results = sharedScratch(kRowSums, kTasks * sizeof(float));
  parallel(kTasks, [&](int64_t task, int) {
    vf sums[8] = {};
    const int64_t end = min((task + 1) * block, n) - 8 * W;
    for (int64_t i = task * block; i <= end; i += 8 * W) {
#pragma GCC unroll 8
      for (int u = 0; u < 8; u++) sums[u] += load(inp + i + u * W);
    }
    for (int u = 1; u < 8; u++) sums[0] += sums[u];
    results[task] = sumLanes(sums[0]);
  });
  out[0] = 0;
  for (int64_t task = 0; task < kTasks; task++) out[0] += results[task];
}

}  // namespace

void addPeaks(Kernels& k) {
  k.peakProducts = peakProducts;
  k.peakRead = peakRead;
}

}  // namespace LOOPNN_ISA
}  // namespace loopnn
