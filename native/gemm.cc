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

}  // namespace

template <class P>
void pack(float* packed, const Matrix& b, int64_t K, int64_t N) {
  parallel(ceilDiv(N, NR) * ceilDiv(stepsOf<P>(K), KC), [&](int64_t task, int) {
    packBlock<P, NR>(packed, b.data, b.cs, b.rs, N, K, task);
  });
}

template <class P>
void multiply(const Product& product, const float* packedB) {
  if (!multiplySmall<P>(product, packedB)) run<P>(product, nullptr, packedB);
}

template <class P>
void multiply(const Product& product, const Matrix& b, float* columnSums) {
  if (addSmall<P>(product, b, columnSums)) return;
  run<P>(product, &b, nullptr);
  if (columnSums) addColumnSums(columnSums, b.data, product.K, product.N);
}

template void pack<F32>(float*, const Matrix&, int64_t, int64_t);
template void pack<Bf16>(float*, const Matrix&, int64_t, int64_t);
template void multiply<F32>(const Product&, const float*);
template void multiply<Bf16>(const Product&, const float*);
template void multiply<F32>(const Product&, const Matrix&, float*);
template void multiply<Bf16>(const Product&, const Matrix&, float*);

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

}  // namespace LOOPNN_ISA
}  // namespace loopnn
