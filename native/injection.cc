/**
 * Parcae's stable injection (arXiv 2604.12946): keep⊙x + gain⊙u with keep = exp(−Δ·A), A = exp(a), Δ = softplus(b). The
 * gain is Δ, or with `exact` (1 − exp(−Δ·A))/A. Values that depend only on the channel are computed once per call; da
 * and db are always added to.
 */
#include <math.h>

#include "families.h"
#include "vec.h"

namespace loopnn {
namespace LOOPNN_ISA {
namespace {

constexpr int64_t kRows = 32;  // rows in a task, and in a partial sum

float softplus(float b) { return (b > 0 ? b : 0) + log1pf(expf(-fabsf(b))); }

/** keep (C) and gain (C), from a (C) and b (C). */
void channels(float* keep, float* gain, const float* a, const float* b, int64_t C, bool exact) {
  for (int64_t c = 0; c < C; c++) {
    const float A = expf(a[c]), delta = softplus(b[c]);
    keep[c] = expf(-delta * A);
    gain[c] = exact ? -expm1f(-delta * A) / A : delta;
  }
}

/** out (R, C) = keep⊙x + gain⊙u. */
void forward(const StableInjectionForwardArgs& args) {
  float* out = args.out;
  const float *x = args.x, *u = args.u;
  const int64_t R = args.R, C = args.C;
  float* keep = sharedScratch(kRowSums, (size_t)(2 * C) * sizeof(float));
  float* gain = keep + C;
  channels(keep, gain, args.a, args.b, C, args.exact);
  parallel(ceilDiv(R, kRows), [&](int64_t task, int) {
    for (int64_t r = task * kRows; r < min((task + 1) * kRows, R); r++) {
      for (int64_t c = 0; c < C; c += W) {
        const int64_t i = r * C + c, left = C - c;
        const vf kept = loadUpTo(keep + c, left) * loadUpTo(x + i, left);
        storeUpTo(out + i, fma(loadUpTo(gain + c, left), loadUpTo(u + i, left), kept), left);
      }
    }
  });
}

/**
 * In the forward pass this was out = keep⊙x + gain⊙u: dx (R, C) = or += keep⊙dout, du (R, C) = or += gain⊙dout; da (C)
 * and db (C) += keep′·Σ_r dout·x + gain′·Σ_r dout·u, with the derivatives by a and by b.
 */
void backward(const StableInjectionBackwardArgs& args) {
  float *dx = args.dx, *du = args.du;
  const float *dout = args.dout, *x = args.x, *u = args.u;
  const int64_t R = args.R, C = args.C;
  const bool exact = args.exact, accumulateX = args.accumulateX, accumulateU = args.accumulateU;
  const int64_t blocks = ceilDiv(R, kRows);
  float* keep = sharedScratch(kRowSums, (size_t)((2 + 2 * blocks) * C) * sizeof(float));
  float *gain = keep + C, *partials = gain + C;  // (blocks, 2, C): Σ dout·x and Σ dout·u
  channels(keep, gain, args.a, args.b, C, exact);
  parallel(blocks, [&](int64_t task, int) {
    float *byKeep = partials + 2 * task * C, *byGain = byKeep + C;
    for (int64_t c = 0; c < 2 * C; c++) byKeep[c] = 0;
    for (int64_t r = task * kRows; r < min((task + 1) * kRows, R); r++) {
      for (int64_t c = 0; c < C; c += W) {
        const int64_t i = r * C + c, left = C - c;
        const vf d = loadUpTo(dout + i, left);
        vf toX = loadUpTo(keep + c, left) * d, toU = loadUpTo(gain + c, left) * d;
        if (accumulateX) toX += loadUpTo(dx + i, left);
        if (accumulateU) toU += loadUpTo(du + i, left);
        storeUpTo(dx + i, toX, left);
        storeUpTo(du + i, toU, left);
        storeUpTo(byKeep + c, fma(d, loadUpTo(x + i, left), loadUpTo(byKeep + c, left)), left);
        storeUpTo(byGain + c, fma(d, loadUpTo(u + i, left), loadUpTo(byGain + c, left)), left);
      }
    }
  });
  for (int64_t c = 0; c < C; c++) {
    float byKeep = 0, byGain = 0;
    for (int64_t block = 0; block < blocks; block++) {
      byKeep += partials[2 * block * C + c];
      byGain += partials[(2 * block + 1) * C + c];
    }
    // dA/da = A and dΔ/db = σ(b).
    const float A = expf(args.a[c]), delta = softplus(args.b[c]), sigma = 1 / (1 + expf(-args.b[c]));
    args.da[c] += -delta * A * keep[c] * byKeep + (exact ? (delta * keep[c] - gain[c]) * byGain : 0);
    args.db[c] += (-A * keep[c] * byKeep + (exact ? keep[c] : 1) * byGain) * sigma;
  }
}

}  // namespace

void addInjection(Kernels& k) {
  k.stableInjectionForward = forward;
  k.stableInjectionBackward = backward;
}

}  // namespace LOOPNN_ISA
}  // namespace loopnn
