/**
 * The blocked matrix product. Tasks are tiles of C; each packs what it needs of A and B into its own scratch, so
 * that tasks share nothing and no barrier is needed. Knows the shapes only.
 */
#include "gemm.h"

namespace loopnn {
namespace LOOPNN_ISA {
namespace {

// A block of A (MC × KC) and one of B (KC × NC) share the second-level cache (1 MiB on the machine this was tuned on).
constexpr int64_t MC = 16 * MR;
constexpr int64_t NC = 16 * NR;
constexpr int64_t kTallest = 4 * MC;
constexpr int64_t kEnoughTasks = 16;
constexpr int64_t kLongSum = 4096;  // length of a slice of K that repays the memory for its own sums
constexpr int64_t kSmallTask = int64_t{1} << 20;  // multiply-adds below which a task is not worth halving

/** How a product is cut into tasks: tiles of `rows` × `cols` of C, and slices of `depth` of K. */
struct Grid {
  int64_t rows, cols, depth, down, across, slices;
};

/** A function of the shape alone. */
Grid gridFor(int64_t M, int64_t N, int64_t K, bool splitK) {
  int64_t rows = min(roundUp(M, MR), kTallest), cols = min(roundUp(N, NR), NC), depth = max(K, 1);
  auto tasks = [&] { return ceilDiv(M, rows) * ceilDiv(N, cols) * ceilDiv(K, depth); };
  while (splitK && tasks() < kEnoughTasks && depth >= 2 * kLongSum) depth = roundUp(ceilDiv(depth, 2), KC);
  while (tasks() < kEnoughTasks && rows * cols * depth > kSmallTask) {
    if (cols > NR && (cols >= rows || rows <= MR)) {
      cols = roundUp(ceilDiv(cols, 2), NR);
    } else if (rows > MR) {
      rows = roundUp(ceilDiv(rows, 2), MR);
    } else {
      break;
    }
  }
  // Even tiles: no sliver at the end.
  rows = roundUp(ceilDiv(M, ceilDiv(M, rows)), MR);
  cols = roundUp(ceilDiv(N, ceilDiv(N, cols)), NR);
  return {rows, cols, depth, ceilDiv(M, rows), ceilDiv(N, cols), max(1, ceilDiv(K, depth))};
}

/** One task: rows [i0, i1) and columns [j0, j1) of C, all of K. */
void multiplyTile(const Product& p, int64_t i0, int64_t i1, int64_t j0, int64_t j1, float* packedA, float* packedB) {
  // Few rows read each value of B too rarely to repay a copy of it.
  const bool readInPlace = p.b.cs == 1 && i1 - i0 <= 2 * MR;
  for (int64_t k0 = 0; k0 < p.K; k0 += KC) {
    const int64_t kc = min(KC, p.K - k0);
    const float* b = p.b.data + k0 * p.b.rs;
    for (int64_t j = j0; j < j1; j += NR) {
      if (readInPlace && j + NR <= j1) continue;
      packPanel<NR>(packedB + (j - j0) * kc, b + j * p.b.cs, p.b.cs, p.b.rs, j1 - j, kc);
    }
    for (int64_t ic = i0; ic < i1; ic += MC) {
      const int64_t iEnd = min(ic + MC, i1);
      const float* a = p.a.data + k0 * p.a.cs;
      for (int64_t i = ic; i < iEnd; i += MR) {
        packPanel<MR>(packedA + (i - ic) * kc, a + i * p.a.rs, p.a.rs, p.a.cs, iEnd - i, kc);
      }
      for (int64_t j = j0; j < j1; j += NR) {
        const bool inPlace = readInPlace && j + NR <= j1;
        const float* panel = inPlace ? b + j : packedB + (j - j0) * kc;
        const int64_t ldb = inPlace ? p.b.rs : NR;
        const Store how = {p.accumulate || k0 > 0, p.bias && k0 == 0 ? p.bias + j : nullptr};
        for (int64_t i = ic; i < iEnd; i += MR) {
          tiles[min(MR, iEnd - i) - 1](kc, packedA + (i - ic) * kc, MR, panel, ldb, p.c + i * p.ldc + j, p.ldc, j1 - j,
                                       how);
        }
      }
    }
  }
}

}  // namespace

void gemm(const Product& p) {
  if (p.M == 0 || p.N == 0) return;
  const Grid grid = gridFor(p.M, p.N, p.K, p.splitK);
  const int64_t kc = min(KC, p.K), tiles = grid.down * grid.across, size = p.M * p.N;
  const int64_t sizeA = roundUp(min(grid.rows, MC) * kc + W, 16);
  reserveScratch((size_t)(sizeA + grid.cols * kc + W) * sizeof(float));
  float* partials =
      grid.slices > 1 ? sharedScratch(kPartials, (size_t)(grid.slices * size) * sizeof(float)) : nullptr;
  parallel(tiles * grid.slices, [&](int64_t task, int worker) {
    const int64_t tile = task % tiles, slice = task / tiles, k0 = slice * grid.depth;
    const int64_t i0 = tile / grid.across * grid.rows, j0 = tile % grid.across * grid.cols;
    float* scratch = workerScratch(worker);
    Product part = p;
    if (partials) {
      part.c = partials + slice * size;
      part.ldc = p.N;
      part.a.data += k0 * p.a.cs;
      part.b.data += k0 * p.b.rs;
      part.K = min(grid.depth, p.K - k0);
      part.accumulate = false;
    }
    multiplyTile(part, i0, min(i0 + grid.rows, p.M), j0, min(j0 + grid.cols, p.N), scratch, scratch + sizeA);
  });
  if (!partials) return;
  parallel(p.M, [&](int64_t i, int) {
    for (int64_t j = 0; j < p.N; j += W) {
      const int64_t left = p.N - j;
      float* to = p.c + i * p.ldc + j;
      vf sum = p.accumulate ? loadUpTo(to, left) : vf{};
      for (int64_t slice = 0; slice < grid.slices; slice++) {
        sum += loadUpTo(partials + slice * size + i * p.N + j, left);
      }
      storeUpTo(to, sum, left);
    }
  });
}

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
