/**
 * Matrix products with a small operand: each task packs its operands in its own memory, so that threads wait for each
 * other only at the end, and rarely read memory that other threads have written.
 */
#include "gemm.h"

namespace loopnn {
namespace LOOPNN_ISA {
namespace {

constexpr int64_t kSmall = int64_t{1} << 17;  // words of an operand: half a second-level cache
constexpr int64_t kEnoughTasks = 16;
constexpr int64_t kMostPanels = 4;  // of rows in a task
constexpr int64_t kShortestRun = 128;
constexpr int64_t kFewestRuns = 4;
constexpr int64_t kRowsAdded = 16;

/** C = or += A·B + bias, with A and B packed whole. */
template <class P>
void multiplyPacked(const Product& p, const float* a, const float* b) {
  const int64_t steps = stepsOf<P>(p.K);
  for (int64_t s0 = 0; s0 < steps; s0 += KC) {
    const int64_t sc = min(KC, steps - s0);
    for (int64_t j = 0; j < p.N; j += NR) {
      const Store how = {p.accumulate || s0 > 0, p.bias && s0 == 0 ? p.bias + j : nullptr};
      const float* panel = b + j * steps + s0 * NR;
      const float* next = j + NR < p.N ? panel + steps * NR : panel;
      for (int64_t i = 0; i < p.M; i += MR) {
        tiles<P>[min(MR, p.M - i) - 1](sc, a + i * steps + s0 * MR, MR, panel, NR, next, p.c + i * p.ldc + j, p.ldc,
                                       p.N - j, how);
        next += sc / kFetch * 16;
      }
    }
  }
}

template <class P>
void packA(float* packed, const Product& p) {
  for (int64_t i = 0; i < p.M; i += MR) {
    packPanel<P, MR>(packed + i * stepsOf<P>(p.K), p.a.data + i * p.a.rs, p.a.rs, p.a.cs, p.M - i, p.K);
  }
}

/**
 * The number of values of k that a task sums; 0 if the sums of all tasks would take more than half the operands'
 * memory.
 */
int64_t runOfK(const Product& p) {
  if (!p.accumulate || p.bias || p.M * p.N > kSmall) return 0;
  const int64_t most = p.K * (p.M + p.N) / (2 * p.M * p.N);
  return most < kFewestRuns ? 0 : max(kShortestRun, roundUp(ceilDiv(p.K, most), kShortestRun));
}

/** sums (N) = Σ of K rows that lie `stride` apart. */
void sumColumns(float* sums, const float* rows, int64_t K, int64_t N, int64_t stride) {
  for (int64_t j = 0; j < N; j += 4 * W) {
    vf total[4] = {};
    for (int64_t k = 0; k < K; k++) {
      for (int v = 0; v < 4 && j + v * W < N; v++) total[v] += loadUpTo(rows + k * stride + j + v * W, N - j - v * W);
    }
    for (int v = 0; v < 4 && j + v * W < N; v++) storeUpTo(sums + j + v * W, total[v], N - j - v * W);
  }
}

}  // namespace

template <class P>
bool multiplySmall(const Product& p, const float* packedB) {
  const int64_t steps = stepsOf<P>(p.K), panels = ceilDiv(p.M, MR);
  if (roundUp(p.N, NR) * steps > kSmall || panels < kEnoughTasks) return false;
  const int64_t rows = min(kMostPanels, panels / kEnoughTasks) * MR;
  reserveScratch((size_t)(rows * steps) * sizeof(float));
  parallel(ceilDiv(p.M, rows), [&](int64_t task, int worker) {
    Product part = p;
    part.M = min(rows, p.M - task * rows);
    part.a.data = p.a.data + task * rows * p.a.rs;
    part.c = p.c + task * rows * p.ldc;
    packA<P>(workerScratch(worker), part);
    multiplyPacked<P>(part, workerScratch(worker), packedB);
  });
  return true;
}

template <class P>
bool addSmall(const Product& p, const Matrix& b, float* columnSums) {
  const int64_t depth = runOfK(p);
  if (depth == 0) return false;
  const int64_t most = stepsOf<P>(min(depth, p.K)), runs = ceilDiv(p.K, depth);
  const int64_t size = (p.M + 1) * p.N;  // a run's sums: those of C, then those of the columns
  float* sums = sharedScratch(kPackedA, (size_t)(runs * size) * sizeof(float));
  const int64_t wordsA = roundUp(p.M, MR) * most;
  reserveScratch((size_t)(wordsA + roundUp(p.N, NR) * most) * sizeof(float));
  parallel(runs, [&](int64_t run, int worker) {
    const int64_t k0 = run * depth;
    Product part = p;
    part.K = min(depth, p.K - k0);
    part.a.data = p.a.data + k0 * p.a.cs;
    part.c = sums + run * size;
    part.ldc = p.N;
    part.accumulate = false;
    float *packedA = workerScratch(worker), *packedB = packedA + wordsA;
    const float* rows = b.data + k0 * b.rs;
    packA<P>(packedA, part);
    for (int64_t j = 0; j < p.N; j += NR) {
      packPanel<P, NR>(packedB + j * stepsOf<P>(part.K), rows + j * b.cs, b.cs, b.rs, p.N - j, part.K);
    }
    multiplyPacked<P>(part, packedA, packedB);
    if (columnSums) sumColumns(part.c + p.M * p.N, rows, part.K, p.N, b.rs);
  });
  const int64_t rows = columnSums ? p.M + 1 : p.M;
  parallel(ceilDiv(rows, kRowsAdded), [&](int64_t task, int) {
    for (int64_t i = task * kRowsAdded; i < min((task + 1) * kRowsAdded, rows); i++) {
      float* to = i < p.M ? p.c + i * p.ldc : columnSums;
      for (int64_t j = 0; j < p.N; j += W) {
        const float* from = sums + i * p.N + j;
        vf total{};
        for (int64_t run = 0; run < runs; run++) total += loadUpTo(from + run * size, p.N - j);
        storeUpTo(to + j, loadUpTo(to + j, p.N - j) + total, p.N - j);
      }
    }
  });
  return true;
}

template bool multiplySmall<F32>(const Product&, const float*);
template bool addSmall<F32>(const Product&, const Matrix&, float*);
#if defined(__AMX_BF16__)
// Tiles add in an order of their own, which every product in bfloat16 has to keep.
template <>
bool multiplySmall<Bf16>(const Product&, const float*) {
  return false;
}
template <>
bool addSmall<Bf16>(const Product&, const Matrix&, float*) {
  return false;
}
#else
template bool multiplySmall<Bf16>(const Product&, const float*);
template bool addSmall<Bf16>(const Product&, const Matrix&, float*);
#endif

}  // namespace LOOPNN_ISA
}  // namespace loopnn
