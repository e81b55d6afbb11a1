/**
 * Gated residuals, the loop update of arXiv 2409.14199: x + gate⊙f, or x + gate⊙(f − x) ("correction").
 * The gate has one value for each channel or one for all. dgate is always added to.
 */
#include "families.h"
#include "vec.h"

namespace loopnn {
namespace LOOPNN_ISA {
namespace {

constexpr int64_t kRows = 32;  // rows in a task, and in a partial sum of dgate

/** The gate at channel c: its own value, or the one value of a scalar gate. */
LOOPNN_INLINE vf gateAt(const float* gate, int64_t G, int64_t C, int64_t c) {
  return G == 1 ? set1(gate[0]) : loadUpTo(gate + c, C - c);
}

/** out (R, C) = x + gate⊙f, or with `correction` x + gate⊙(f − x); gate (G), G = C or 1. */
void forward(const GatedResidualForwardArgs& args) {
  float* out = args.out;
  const float *x = args.x, *f = args.f, *gate = args.gate;
  const int64_t R = args.R, C = args.C, G = args.G;
  const bool correction = args.form == LoopForm::kCorrection;
  parallel(ceilDiv(R, kRows), [&](int64_t task, int) {
    for (int64_t r = task * kRows; r < min((task + 1) * kRows, R); r++) {
      for (int64_t c = 0; c < C; c += W) {
        const int64_t i = r * C + c, left = C - c;
        const vf xv = loadUpTo(x + i, left), fv = loadUpTo(f + i, left);
        storeUpTo(out + i, fma(gateAt(gate, G, C, c), correction ? fv - xv : fv, xv), left);
      }
    }
  });
}

/**
 * In the forward pass this was out = x + gate⊙step, step = f or f − x. dx (R, C) = or += dout, or dout⊙(1 − gate);
 * df (R, C) = or += gate⊙dout; dgate (G) += Σ_r dout⊙step, summed over the channels too if G = 1.
 */
void backward(const GatedResidualBackwardArgs& args) {
  float *dx = args.dx, *df = args.df, *dgate = args.dgate;
  const float *dout = args.dout, *x = args.x, *f = args.f, *gate = args.gate;
  const int64_t R = args.R, C = args.C, G = args.G;
  const bool correction = args.form == LoopForm::kCorrection, accumulateX = args.accumulateX,
      accumulateF = args.accumulateF;
  const int64_t blocks = ceilDiv(R, kRows);
  float* partials = sharedScratch(kRowSums, (size_t)(blocks * C) * sizeof(float));  // (blocks, C)
  parallel(blocks, [&](int64_t task, int) {
    float* sums = partials + task * C;
    for (int64_t c = 0; c < C; c++) sums[c] = 0;
    for (int64_t r = task * kRows; r < min((task + 1) * kRows, R); r++) {
      for (int64_t c = 0; c < C; c += W) {
        const int64_t i = r * C + c, left = C - c;
        const vf g = gateAt(gate, G, C, c);
        const vf d = loadUpTo(dout + i, left), fv = loadUpTo(f + i, left);
        vf toX = correction ? d - g * d : d;
        vf toF = g * d;
        if (accumulateX) toX += loadUpTo(dx + i, left);
        if (accumulateF) toF += loadUpTo(df + i, left);
        storeUpTo(dx + i, toX, left);
        storeUpTo(df + i, toF, left);
        const vf step = correction ? fv - loadUpTo(x + i, left) : fv;
        storeUpTo(sums + c, fma(d, step, loadUpTo(sums + c, left)), left);
      }
    }
  });
  if (G == 1) {
    double total = 0;
    for (int64_t i = 0; i < blocks * C; i++) total += partials[i];
    dgate[0] += (float)total;
    return;
  }
  for (int64_t c = 0; c < C; c += W) {
    vf total{};
    for (int64_t block = 0; block < blocks; block++) total += loadUpTo(partials + block * C + c, C - c);
    storeUpTo(dgate + c, loadUpTo(dgate + c, C - c) + total, C - c);
  }
}

}  // namespace

void addResidual(Kernels& k) {
  k.gatedResidualForward = forward;
  k.gatedResidualBackward = backward;
}

}  // namespace LOOPNN_ISA
}  // namespace loopnn
