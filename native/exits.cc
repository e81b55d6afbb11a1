/**
 * Measures that decide whether a row exits: how far its state moved, how uncertain its prediction is, and how much the
 * prediction changed. Each row is computed separately, always in the same order.
 */
#include <math.h>

#include "elements.h"
#include "families.h"

namespace loopnn {
namespace LOOPNN_ISA {
namespace {

/**
 * out (R) = ‖x − former‖/‖former‖ of rows (R, C); with `before` (R, C), ‖(x − former) − (former − before)‖/‖former‖.
 */
void change(const RowChangeArgs& args) {
  float* out = args.out;
  const float *x = args.x, *former = args.former, *before = args.before;
  const int64_t R = args.R, C = args.C;
  forEachRow(R, C, [&](int64_t r) {
    vf moved{}, size{};
    for (int64_t c = r * C; c < (r + 1) * C; c += W) {
      const int64_t left = (r + 1) * C - c;
      const vf from = loadUpTo(former + c, left);
      vf step = loadUpTo(x + c, left) - from;
      if (before) step -= from - loadUpTo(before + c, left);
      moved = fma(step, step, moved);
      size = fma(from, from, size);
    }
    out[r] = __builtin_sqrtf(sumLanes(moved) / sumLanes(size));
  });
}

/** The largest of n values. */
float largest(const float* x, int64_t n) {
  vf best = set1(-__builtin_inff());
  for (int64_t i = 0; i < n; i += W) {
    const int64_t left = n - i;
    best = maxv(best, left >= W ? load(x + i) : (iota() < (int)left ? loadFirst(x + i, (int)left) : best));
  }
  return maxLanes(best);
}

/** x, but 0 in the lanes past the `left` elements that remain. */
LOOPNN_INLINE vf within(vf x, int64_t left) { return left >= W ? x : (iota() < (int)left ? x : vf{}); }

/** out (R) = log Σ e^z − (Σ z·e^z)/Σ e^z, z = logits − max: the entropy of softmax(logits (R, V)) in nats. */
void entropy(const RowEntropyArgs& args) {
  float* out = args.out;
  const float* logits = args.logits;
  const int64_t R = args.R, V = args.V;
  forEachRow(R, V, [&](int64_t r) {
    const float* x = logits + r * V;
    const float shift = largest(x, V);
    vf sum{}, weighted{};
    for (int64_t i = 0; i < V; i += W) {
      const vf z = loadUpTo(x + i, V - i) - shift;
      const vf e = within(expv(z), V - i);
      sum += e;
      weighted = fma(e, z, weighted);
    }
    const float total = sumLanes(sum);
    out[r] = logf(total) - sumLanes(weighted) / total;
  });
}

/**
 * out (N) = KL(p ‖ q) = Σ p·(log p − log q) in nats, p = softmax(logits (N, V)), q = softmax of row rows[i] of
 * former (R, V), or of row i.
 */
void divergence(const RowDivergenceArgs& args) {
  float* out = args.out;
  const float *logits = args.logits, *former = args.former;
  const int32_t* rows = args.rows;
  const int64_t N = args.N, V = args.V;
  forEachRow(N, V, [&](int64_t r) {
    const float *x = logits + r * V, *y = former + (rows ? rows[r] : r) * V;
    const float shiftX = largest(x, V), shiftY = largest(y, V);
    vf sumX{}, sumY{}, weighted{};
    for (int64_t i = 0; i < V; i += W) {
      const int64_t left = V - i;
      const vf zx = loadUpTo(x + i, left) - shiftX, zy = loadUpTo(y + i, left) - shiftY;
      const vf e = within(expv(zx), left);
      sumX += e;
      sumY += within(expv(zy), left);
      weighted = fma(e, zx - zy, weighted);
    }
    const float total = sumLanes(sumX);
    const float d = sumLanes(weighted) / total - logf(total) + logf(sumLanes(sumY));
    out[r] = d < 0 ? 0 : d;  // below 0 only by rounding; NaN stays NaN
  });
}

}  // namespace

void addExits(Kernels& k) {
  k.rowChange = change;
  k.rowEntropy = entropy;
  k.rowDivergence = divergence;
}

}  // namespace LOOPNN_ISA
}  // namespace loopnn
