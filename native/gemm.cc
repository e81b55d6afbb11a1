/**
 * The blocked matrix product. For each block of k, all threads pack operands that several tasks need into shared
 * memory, and then compute tiles of C from it. A task packs operands that only it needs into its own memory. The plan
 * depends only on the shapes.
 */
#include "gemm.h"
#if defined(__AMX_BF16__)
#include "amx.h"
#endif

namespace loopnn {
namespace LOOPNN_ISA {
namespace {

/** Rows of a task: with KC steps they fill a part of the second-level cache. */
template <class P>
constexpr int64_t kTallest = 16 * P::kRows;
constexpr int64_t kWidest = 32 * NR;
constexpr int64_t kStrip = 128;  // columns of a task with all rows: its packed panels stay in the second-level cache
constexpr int64_t kRowsAhead = 8;  // steps
constexpr int64_t kSumAhead = 16;  // rows
constexpr int64_t kEnoughTasks = 16;
constexpr int64_t kEnoughStrips = 24;
constexpr int64_t kNear = int64_t{1} << 18;  // words that second-level caches hold
constexpr int64_t kManyTasks = 48;  // enough tasks that an uneven distribution over threads does not matter
constexpr int64_t kSmallTask = int64_t{1} << 20;      // multiply-adds below which a task is not worth halving
constexpr int64_t kPackedAtOnce = int64_t{1} << 21;  // words of A: they stay in the last-level cache
constexpr int64_t kDeepEnough = 4 * KC;               // steps that outweigh one read and store of C

/**
 * How a product is split: blocks of `depth` steps and `height` rows are packed at once; tasks are `rows` × `cols` of C.
 */
struct Grid {
  int64_t depth, height, rows, cols;

  int64_t down(int64_t M) const { return ceilDiv(M, rows); }
  int64_t across(int64_t N) const { return ceilDiv(N, cols); }
};

/**
 * The number of panels in a part, at most `most`, if each part of `panels` makes `times` tasks. If tasks are few, parts
 * may be somewhat smaller, so that the number of tasks is a multiple of four or of two, and a few threads finish
 * together.
 */
int64_t evenly(int64_t panels, int64_t most, int64_t times) {
  const int64_t fewest = ceilDiv(panels, most);
  for (int64_t multiple = 4; multiple > 1 && fewest * times < kManyTasks; multiple /= 2) {
    for (int64_t p = most; 3 * p >= 2 * most; p--) {
      const int64_t parts = ceilDiv(panels, p);
      if (parts * times % multiple == 0) return ceilDiv(panels, parts);
    }
  }
  return ceilDiv(panels, fewest);
}

/** The grid for a B that is already packed: tasks are blocks of C. A function of the shape alone. */
template <class P>
Grid blocksOf(int64_t M, int64_t N, int64_t steps) {
  Grid g;
  g.height = min(roundUp(M, P::kRows), kPackedAtOnce / min(steps, kDeepEnough) / P::kRows * P::kRows);
  g.depth = min(steps, max(KC, kPackedAtOnce / g.height / KC * KC));
  const int64_t m = min(M, g.height);
  g.rows = min(roundUp(m, P::kRows), kTallest<P>);
  g.cols = min(roundUp(N, NR), kWidest);
  while (g.down(m) * g.across(N) < kEnoughTasks && g.rows * g.cols * g.depth > kSmallTask) {
    if (g.cols > NR && (4 * g.cols >= g.rows || g.rows <= P::kRows)) {
      g.cols = roundUp(ceilDiv(g.cols, 2), NR);
    } else if (g.rows > P::kRows) {
      g.rows = roundUp(ceilDiv(g.rows, 2), P::kRows);
    } else {
      break;
    }
  }
  // Even tiles: no sliver at the end.
  g.cols = roundUp(ceilDiv(N, g.across(N)), NR);
  g.rows = evenly(ceilDiv(m, P::kRows), g.rows / P::kRows, g.across(N)) * P::kRows;
  return g;
}

/**
 * Lanes of a strip: whole panels, at most `most` lanes. There are kEnoughStrips strips, or fewer, so that a strip has
 * at least kSmallTask multiply-adds, and at least `least` lanes if the other operand's `shared` words exceed the
 * second-level caches.
 */
int64_t stripOf(int64_t lanes, int64_t panel, int64_t least, int64_t most, int64_t shared) {
  const int64_t panels = ceilDiv(lanes, panel);
  const int64_t fewest = max(kSmallTask / shared / panel, shared > kNear ? least / panel : 1);
  return evenly(panels, min(max(panels / kEnoughStrips, max(1, fewest)), most / panel), 1) * panel;
}

/**
 * The grid for two operands to be packed: tasks are strips of C that cover the whole operand with fewer panels. A task
 * packs its part of the other operand itself, so that this part stays in its caches. Tasks are blocks if there would be
 * too few strips.
 */
template <class P>
Grid stripsOf(int64_t M, int64_t N, int64_t steps) {
  Grid g = {steps, roundUp(M, P::kRows), roundUp(M, P::kRows), roundUp(N, NR)};
  const bool upright = ceilDiv(N, NR) >= ceilDiv(M, P::kRows);
  g.depth = min(steps, max(KC, kPackedAtOnce / (upright ? g.rows : g.cols) / KC * KC));
  const int64_t lanes = upright ? N : M, most = upright ? kStrip : kTallest<P>, least = most / 2;
  const int64_t shared = (upright ? M : N) * g.depth;
  if (shared > kNear && ceilDiv(lanes, least) < kEnoughTasks) return blocksOf<P>(M, N, steps);
  (upright ? g.cols : g.rows) = stripOf(lanes, upright ? NR : P::kRows, least, most, shared);
  return g;
}

/** One panel of A or of B, as `packPanel`. */
template <class P, bool isA>
void packOne(float* dst, const float* src, int64_t ls, int64_t ks, int64_t lanes, int64_t kc) {
  packPanel<P, isA ? P::kRows : NR>(dst, src, ls, ks, lanes, kc);
}

#if defined(__AMX_BF16__)
template <>
void packOne<Bf16, true>(float* dst, const float* src, int64_t ls, int64_t ks, int64_t lanes, int64_t kc) {
  packTiles(dst, src, ls, ks, lanes, kc);
}
#endif

/** Packs KC steps of one panel. Successive tasks pack adjacent panels, whose rows share pages of memory. */
template <class P, bool isA>
void packBlock(float* packed, const float* src, int64_t ls, int64_t ks, int64_t lanes, int64_t kc, int64_t task) {
  constexpr int64_t width = isA ? P::kRows : NR;
  const int64_t panels = ceilDiv(lanes, width), l = task % panels * width, s0 = task / panels * KC;
  const int64_t k0 = s0 * P::kDepth;
  packOne<P, isA>(packed + l * stepsOf<P>(kc) + s0 * width, src + l * ls + k0 * ks, ls, ks, lanes - l,
                  min(kc - k0, KC * P::kDepth));
}

/**
 * Packs at most KC steps of the panels of `lanes` lanes; packed panels lie KC steps apart. Contiguous lanes are packed
 * row by row, with prefetching: rows lie pages apart, and the processor does not prefetch across pages. Tiles of AMX
 * need 16 rows at once, so that their panels are packed one by one.
 */
template <class P, bool isA>
void packStrip(float* packed, const float* src, int64_t ls, int64_t ks, int64_t lanes, int64_t kc) {
  constexpr int width = isA ? P::kRows : NR;
  if (ls != 1 || (isA && P::kWhole > 1)) {
    for (int64_t l = 0; l < lanes; l += width) {
      packOne<P, isA>(packed + l * KC, src + l * ls, ls, ks, lanes - l, kc);
    }
    return;
  }
  const int64_t steps = stepsOf<P>(kc);
  for (int64_t s = 0; s < steps; s++) {
    const float* ahead = src + (s + kRowsAhead) * P::kDepth * ks;
    for (int64_t l = 0; l < lanes; l += 16) {
      __builtin_prefetch(ahead + l);
      if (P::kDepth > 1) __builtin_prefetch(ahead + ks + l);
    }
    for (int64_t l = 0; l < lanes; l += width) packStep<P, width>(packed + l * KC, src + l, ks, lanes - l, s, kc);
  }
}

/** Panels of a packed operand, from some lane and some step on. */
struct Panels {
  const float* first;
  int64_t apart;  // words from one panel to the next

  const float* at(int64_t panel) const { return first + panel * apart; }
};

/** C (rows, cols), at `c`, = or += A·B over sc steps; `after` is the part of B that is read next. */
template <class P>
void multiplyBlock(const Product& p, Panels a, Panels b, int64_t rows, int64_t cols, int64_t sc, const float* after,
                   float* c, Store how) {
  auto howAt = [&](int64_t j) { return Store{how.add, how.bias ? how.bias + j : nullptr}; };
  int64_t j = 0;
  if (rows == 1) {
    for (; j + kAbreast * NR <= roundUp(cols, NR); j += kAbreast * NR) {
      rowTile<P>(sc, a.first, MR, b.at(j / NR), b.apart, c + j, cols - j, howAt(j));
    }
  }
  for (; j < cols; j += NR) {
    const float* panel = b.at(j / NR);
    const float* next = j + NR < cols ? panel + b.apart : after;
    for (int64_t i = 0; i < rows; i += MR) {
      tiles<P>[min(MR, rows - i) - 1](sc, a.at(i / MR), MR, panel, NR, next, c + i * p.ldc + j, p.ldc, cols - j,
                                      howAt(j));
      next += sc / kFetch * 16;
    }
  }
}

#if defined(__AMX_BF16__)

template <>
void multiplyBlock<Bf16>(const Product& p, Panels a, Panels b, int64_t rows, int64_t cols, int64_t sc,
                         const float* after, float* c, Store how) {
  const Tiles tiles;
  for (int64_t j = 0; j < cols; j += NR) {
    const float* panel = b.at(j / NR);
    const float* next = j + NR < cols ? panel + b.apart : after;
    const Store store = {how.add, how.bias ? how.bias + j : nullptr};
    for (int64_t i = 0; i < rows; i += Bf16::kRows, next += sc) {
      multiplyPanels(sc, a.at(i / Bf16::kRows), panel, next, c + i * p.ldc + j, p.ldc, rows - i, cols - j, store);
    }
  }
}

#endif

/**
 * The product; if `b` is null, B is already packed. All threads first pack the operands that several tasks need; a task
 * packs an operand that only it needs.
 */
template <class P>
void run(const Product& p, const Matrix* b, const float* packedB) {
  if (p.M == 0 || p.N == 0 || p.K == 0) return;  // K is 0 only in sums over rows, which are added to C
  const int64_t all = stepsOf<P>(p.K);
  const Grid g = (b ? stripsOf<P> : blocksOf<P>)(p.M, p.N, all);
  const bool ownsA = g.across(p.N) == 1, ownsB = b && g.down(p.M) == 1;
  const int64_t wordsA = roundUp(min(p.M, g.height), P::kRows) * g.depth, wordsB = roundUp(p.N, NR) * g.depth;
  float* sharedA = ownsA ? nullptr : sharedScratch(kPackedA, (size_t)wordsA * sizeof(float));
  float* sharedB = !b || ownsB ? nullptr : sharedScratch(kPackedB, (size_t)wordsB * sizeof(float));
  const int64_t ownA = ownsA ? g.rows * KC : 0, ownB = ownsB ? g.cols * KC : 0;
  if (ownA + ownB > 0) reserveScratch((size_t)(ownA + ownB) * sizeof(float));
  for (int64_t s0 = 0; s0 < all; s0 += g.depth) {
    const int64_t k0 = s0 * P::kDepth, K = min(p.K - k0, g.depth * P::kDepth);
    const int64_t steps = stepsOf<P>(K), blocks = ceilDiv(steps, KC);
    for (int64_t m0 = 0; m0 < p.M; m0 += g.height) {
      const int64_t M = min(g.height, p.M - m0);
      const float* dataA = p.a.data + m0 * p.a.rs + k0 * p.a.cs;
      const float* dataB = b ? b->data + k0 * b->rs : nullptr;
      const int64_t tasksA = ownsA ? 0 : ceilDiv(M, P::kRows) * blocks;
      const int64_t tasksB = sharedB && m0 == 0 ? ceilDiv(p.N, NR) * blocks : 0;
      parallel(tasksA + tasksB, [&](int64_t task, int) {
        if (task < tasksA) packBlock<P, true>(sharedA, dataA, p.a.rs, p.a.cs, M, K, task);
        else packBlock<P, false>(sharedB, dataB, b->cs, b->rs, p.N, K, task - tasksA);
      });
      const float* panels = b ? sharedB : packedB + s0 * NR;
      const int64_t roomB = (b ? steps : all) * NR, across = g.across(p.N);
      parallel(g.down(M) * across, [&](int64_t task, int worker) {
        // Across before down: threads start at different rows, which each has packed, and read the same parts of B.
        const int64_t i0 = task / across * g.rows, j0 = task % across * g.cols;
        const int64_t rows = min(g.rows, M - i0), cols = min(g.cols, p.N - j0);
        float* own = ownA + ownB > 0 ? workerScratch(worker) : nullptr;
        for (int64_t s = 0; s < steps; s += KC) {
          const int64_t k = s * P::kDepth, kc = min(K - k, KC * P::kDepth);
          Panels a = {sharedA + i0 * steps + s * P::kRows, steps * P::kRows};
          Panels bs = {panels + j0 / NR * roomB + s * NR, roomB};
          const float* after = s + KC < steps ? bs.first + KC * NR : bs.at((cols - 1) / NR);
          if (ownsA) {
            packStrip<P, true>(own, dataA + i0 * p.a.rs + k * p.a.cs, p.a.rs, p.a.cs, rows, kc);
            a = {own, P::kRows * KC};
          }
          if (ownsB) {
            packStrip<P, false>(own + ownA, dataB + j0 * b->cs + k * b->rs, b->cs, b->rs, cols, kc);
            bs = {own + ownA, NR * KC};
            after = own + ownA;
          }
          const bool first = s0 + s == 0;
          multiplyBlock<P>(p, a, bs, rows, cols, stepsOf<P>(kc), after, p.c + (m0 + i0) * p.ldc + j0,
                           {p.accumulate || !first, p.bias && first ? p.bias + j0 : nullptr});
        }
      });
    }
  }
}

}  // namespace

template <class P>
void pack(float* packed, const Matrix& b, int64_t K, int64_t N) {
  parallel(ceilDiv(N, NR) * ceilDiv(stepsOf<P>(K), KC), [&](int64_t task, int) {
    packBlock<P, false>(packed, b.data, b.cs, b.rs, N, K, task);
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
  // Runs of rows are summed separately first: shorter sums have smaller rounding errors.
  constexpr int64_t kRun = 64, kVectors = 4, kCols = kVectors * W;
  parallel(ceilDiv(C, kCols), [&](int64_t task, int) {
    const int64_t c0 = task * kCols, n = min(C - c0, kCols);
    vf total[kVectors] = {};
    for (int64_t r0 = 0; r0 < R; r0 += kRun) {
      vf run[kVectors] = {};
      for (int64_t r = r0; r < min(r0 + kRun, R); r++) {
        const float* row = rows + r * C + c0;
        for (int64_t line = 0; line < kCols; line += 16) __builtin_prefetch(row + kSumAhead * C + line);
#pragma GCC unroll 4
        for (int64_t v = 0; v < kVectors; v++) {
          if (v * W < n) run[v] += loadUpTo(row + v * W, n - v * W);
        }
      }
      for (int64_t v = 0; v < kVectors; v++) total[v] += run[v];
    }
    for (int64_t v = 0; v * W < n; v++) {
      float* to = sums + c0 + v * W;
      storeUpTo(to, loadUpTo(to, n - v * W) + total[v], n - v * W);
    }
  });
}

}  // namespace LOOPNN_ISA
}  // namespace loopnn
