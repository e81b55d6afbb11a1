/**
 * The blocked matrix product. For each block of k, all threads pack A (and a B that is not packed yet) into memory
 * that they share, and then compute tiles of C from it. Knows the shapes only.
 */
#include "gemm.h"

namespace loopnn {
namespace LOOPNN_ISA {
namespace {

constexpr int64_t kTallest = 16 * MR;  // rows of a task: with KC steps they fill a part of the second-level cache
constexpr int64_t kWidest = 32 * NR;
constexpr int64_t kEnoughTasks = 16;
constexpr int64_t kSmallTask = int64_t{1} << 20;      // multiply-adds below which a task is not worth halving
constexpr int64_t kPackedAtOnce = int64_t{1} << 21;  // words of A: they stay in the last-level cache
constexpr int64_t kDeepEnough = 4 * KC;               // steps for which C, read and stored once, repays its way

constexpr int64_t kSmallOperand = int64_t{1} << 17;  // words: half a second-level cache
constexpr int64_t kPanelsOfTask = 4;
constexpr int64_t kShortestRun = 128;
constexpr int64_t kFewestRuns = 4;
constexpr int64_t kRowsAdded = 16;

/** How a product is cut: blocks of `depth` steps and `height` rows are packed at once; tasks are `rows` × `cols` of C. */
struct Grid {
  int64_t depth, height, rows, cols;
};

/** A function of the shape alone. */
Grid gridFor(int64_t M, int64_t N, int64_t steps) {
  Grid g;
  g.height = min(roundUp(M, MR), kPackedAtOnce / min(steps, kDeepEnough) / MR * MR);
  g.depth = min(steps, max(KC, kPackedAtOnce / g.height / KC * KC));
  const int64_t m = min(M, g.height);
  g.rows = min(roundUp(m, MR), kTallest);
  g.cols = min(roundUp(N, NR), kWidest);
  while (ceilDiv(m, g.rows) * ceilDiv(N, g.cols) < kEnoughTasks && g.rows * g.cols * g.depth > kSmallTask) {
    if (g.cols > NR && (4 * g.cols >= g.rows || g.rows <= MR)) {
      g.cols = roundUp(ceilDiv(g.cols, 2), NR);
    } else if (g.rows > MR) {
      g.rows = roundUp(ceilDiv(g.rows, 2), MR);
    } else {
      break;
    }
  }
  // Even tiles: no sliver at the end.
  g.rows = roundUp(ceilDiv(m, ceilDiv(m, g.rows)), MR);
  g.cols = roundUp(ceilDiv(N, ceilDiv(N, g.cols)), NR);
  return g;
}

/** Packs KC steps of one panel. Panels side by side are tasks that follow each other: their rows share pages. */
template <class P, int Width>
void packBlock(float* packed, const float* src, int64_t ls, int64_t ks, int64_t lanes, int64_t kc, int64_t task) {
  const int64_t panels = ceilDiv(lanes, Width), l = task % panels * Width, s0 = task / panels * KC;
  const int64_t k0 = s0 * P::kDepth;
  packPanel<P, Width>(packed + l * stepsOf<P>(kc) + s0 * Width, src + l * ls + k0 * ks, ls, ks, lanes - l,
                      min(kc - k0, KC * P::kDepth));
}

/** Rows [i0, i1) and columns [j0, j1) of C over a block of k. Panels of B lie `roomB` words apart. */
template <class P>
void multiplyTile(const Product& p, const float* packedA, const float* packedB, int64_t roomB, int64_t i0, int64_t i1,
                  int64_t j0, int64_t j1) {
  const int64_t steps = stepsOf<P>(p.K);
  for (int64_t s0 = 0; s0 < steps; s0 += KC) {
    const int64_t sc = min(KC, steps - s0);
    auto howAt = [&](int64_t j) { return Store{p.accumulate || s0 > 0, p.bias && s0 == 0 ? p.bias + j : nullptr}; };
    auto panelAt = [&](int64_t j) { return packedB + j / NR * roomB + s0 * NR; };
    int64_t j = j0;
    if (i1 - i0 == 1) {
      const float* a = packedA + i0 * steps + s0 * MR;
      for (; j + kAbreast * NR <= roundUp(j1, NR); j += kAbreast * NR) {
        rowTile<P>(sc, a, MR, panelAt(j), roomB, p.c + i0 * p.ldc + j, p.N - j, howAt(j));
      }
    }
    for (; j < j1; j += NR) {
      const Store how = howAt(j);
      const float* panel = panelAt(j);
      // What is read after this panel: the one to its right, or the first one of the next steps.
      const float* next = j + NR < j1 ? panel + roomB : s0 + KC < steps ? packedB + j0 / NR * roomB + (s0 + KC) * NR : panel;
      for (int64_t i = i0; i < i1; i += MR) {
        tiles<P>[min(MR, p.M - i) - 1](sc, packedA + i * steps + s0 * MR, MR, panel, NR, next, p.c + i * p.ldc + j,
                                       p.ldc, p.N - j, how);
        next += sc / kFetch * 16;
      }
    }
  }
}

/** The product; `b` null: B is packed already. */
template <class P>
void run(const Product& p, const Matrix* b, const float* packedB) {
  if (p.M == 0 || p.N == 0 || p.K == 0) return;  // only a sum over rows can be empty, and that one is added
  const int64_t all = stepsOf<P>(p.K);
  const Grid g = gridFor(p.M, p.N, all);
  float* packedA = sharedScratch(kPackedA, (size_t)(roundUp(min(p.M, g.height), MR) * g.depth) * sizeof(float));
  float* ownB = b ? sharedScratch(kPackedB, (size_t)(roundUp(p.N, NR) * g.depth) * sizeof(float)) : nullptr;
  for (int64_t s0 = 0; s0 < all; s0 += g.depth) {
    Product part = p;
    const int64_t k0 = s0 * P::kDepth;
    part.K = min(p.K - k0, g.depth * P::kDepth);
    part.bias = s0 == 0 ? p.bias : nullptr;
    part.accumulate = p.accumulate || s0 > 0;
    const int64_t steps = stepsOf<P>(part.K), blocks = ceilDiv(steps, KC);
    for (int64_t m0 = 0; m0 < p.M; m0 += g.height) {
      part.M = min(g.height, p.M - m0);
      part.a.data = p.a.data + m0 * p.a.rs + k0 * p.a.cs;
      part.c = p.c + m0 * p.ldc;
      const int64_t tasksA = ceilDiv(part.M, MR) * blocks;
      const int64_t tasksB = b && m0 == 0 ? ceilDiv(p.N, NR) * blocks : 0;
      parallel(tasksA + tasksB, [&](int64_t task, int) {
        if (task < tasksA) {
          packBlock<P, MR>(packedA, part.a.data, part.a.rs, part.a.cs, part.M, part.K, task);
        } else {
          packBlock<P, NR>(ownB, b->data + k0 * b->rs, b->cs, b->rs, p.N, part.K, task - tasksA);
        }
      });
      const float* panels = b ? ownB : packedB + s0 * NR;
      const int64_t roomB = (b ? steps : all) * NR, across = ceilDiv(p.N, g.cols);
      parallel(ceilDiv(part.M, g.rows) * across, [&](int64_t task, int) {
        // Across before down: threads begin apart, at rows that each has packed, and go through the same parts of B.
        const int64_t i0 = task / across * g.rows, j0 = task % across * g.cols;
        multiplyTile<P>(part, packedA, panels, roomB, i0, min(i0 + g.rows, part.M), j0, min(j0 + g.cols, p.N));
      });
    }
  }
}

/** sums (C) += Σ_r rows (R, C), in a fixed order. */
void addColumnSums(float* sums, const float* rows, int64_t R, int64_t C) {
  // Runs of rows are summed apart first: shorter sums lose less.
  constexpr int64_t kRun = 64, kCols = 4 * W;
  parallel(ceilDiv(C, kCols), [&](int64_t task, int) {
    for (int64_t c = task * kCols; c < min((task + 1) * kCols, C); c += W) {
      vf total{};
      for (int64_t r0 = 0; r0 < R; r0 += kRun) {
        vf run{};
        for (int64_t r = r0; r < min(r0 + kRun, R); r++) run += loadUpTo(rows + r * C + c, C - c);
        total += run;
      }
      storeUpTo(sums + c, loadUpTo(sums + c, C - c) + total, C - c);
    }
  });
}

/** Whether B stays in a processor's cache, and there are rows for many tasks. */
bool manyRows(const Product& p, int64_t steps) {
  return roundUp(p.N, NR) * steps <= kSmallOperand && ceilDiv(p.M, MR) >= kEnoughTasks;
}

/** The product with a small B: each task packs the rows that it multiplies, and no thread waits for another's. */
template <class P>
void runByRows(const Product& p, const float* packedB) {
  const int64_t steps = stepsOf<P>(p.K), panels = ceilDiv(p.M, MR);
  const int64_t rows = max(1, min(kPanelsOfTask, panels / kEnoughTasks)) * MR;
  reserveScratch((size_t)(rows * steps) * sizeof(float));
  parallel(ceilDiv(p.M, rows), [&](int64_t task, int worker) {
    Product part = p;
    part.M = min(rows, p.M - task * rows);
    part.a.data = p.a.data + task * rows * p.a.rs;
    part.c = p.c + task * rows * p.ldc;
    float* packedA = workerScratch(worker);
    for (int64_t i = 0; i < part.M; i += MR) {
      packPanel<P, MR>(packedA + i * steps, part.a.data + i * p.a.rs, p.a.rs, p.a.cs, part.M - i, p.K);
    }
    multiplyTile<P>(part, packedA, packedB, steps * NR, 0, part.M, 0, p.N);
  });
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

/** How many values of k a task sums where C is small and k long; 0 where it is not. */
int64_t runOfK(const Product& p) {
  // The partial sums take no more room than half of what is packed.
  const int64_t most = p.K * (p.M + p.N) / (2 * p.M * p.N);
  if (!p.accumulate || p.bias || p.M * p.N > kSmallOperand || most < kFewestRuns) return 0;
  return max(kShortestRun, roundUp(ceilDiv(p.K, most), kShortestRun));
}

/**
 * C += A·B with a small C: each task packs a run of both operands along k and sums it apart, the columns of B too where that is
 * wanted; then the sums are added in order.
 */
template <class P>
void runByDepth(const Product& p, const Matrix& b, float* columnSums, int64_t depth) {
  const int64_t most = stepsOf<P>(min(depth, p.K)), runs = ceilDiv(p.K, depth), size = (p.M + 1) * p.N;
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
    const int64_t steps = stepsOf<P>(part.K);
    float *packedA = workerScratch(worker), *packedB = packedA + wordsA;
    for (int64_t i = 0; i < p.M; i += MR) {
      packPanel<P, MR>(packedA + i * steps, part.a.data + i * p.a.rs, p.a.rs, p.a.cs, p.M - i, part.K);
    }
    for (int64_t j = 0; j < p.N; j += NR) {
      packPanel<P, NR>(packedB + j * steps, b.data + k0 * b.rs + j * b.cs, b.cs, b.rs, p.N - j, part.K);
    }
    multiplyTile<P>(part, packedA, packedB, steps * NR, 0, p.M, 0, p.N);
    if (columnSums) sumColumns(part.c + p.M * p.N, b.data + k0 * b.rs, part.K, p.N, b.rs);
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
}

}  // namespace

template <class P>
void pack(float* packed, const Matrix& b, int64_t K, int64_t N) {
  parallel(ceilDiv(N, NR) * ceilDiv(stepsOf<P>(K), KC), [&](int64_t task, int) {
    packBlock<P, NR>(packed, b.data, b.cs, b.rs, N, K, task);
  });
}

template <class P>
void multiply(const Product& product, const float* packedB) {
  if (manyRows(product, stepsOf<P>(product.K))) runByRows<P>(product, packedB);
  else run<P>(product, nullptr, packedB);
}

template <class P>
void multiply(const Product& product, const Matrix& b, float* columnSums) {
  const int64_t depth = runOfK(product);
  if (depth > 0) return runByDepth<P>(product, b, columnSums, depth);
  run<P>(product, &b, nullptr);
  if (columnSums) addColumnSums(columnSums, b.data, product.K, product.N);
}

template void pack<F32>(float*, const Matrix&, int64_t, int64_t);
template void pack<Bf16>(float*, const Matrix&, int64_t, int64_t);
template void multiply<F32>(const Product&, const float*);
template void multiply<Bf16>(const Product&, const float*);
template void multiply<F32>(const Product&, const Matrix&, float*);
template void multiply<Bf16>(const Product&, const Matrix&, float*);

}  // namespace LOOPNN_ISA
}  // namespace loopnn
