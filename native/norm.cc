/**
 * Layer norm and RMSNorm over the channels of each row. For the backward pass, the forward pass keeps the mean and 1/σ
 * of each row, or the inverse of its root mean square. dinp is overwritten or added to; dweight and dbias are added to,
 * from partial sums over fixed runs of rows.
 */
#include "families.h"
#include "vec.h"

namespace loopnn {
namespace LOOPNN_ISA {
namespace {

constexpr int64_t kRows = 32;  // rows in a task, and in a partial sum

/** out (R, C) = x̂⊙weight + bias, x̂ = (inp − mean)·rstd; mean (R) over the channels, rstd (R) = 1/√(var + eps). */
void layernormForward(const LayernormForwardArgs& args) {
  float *out = args.out, *mean = args.mean, *rstd = args.rstd;
  const float *inp = args.inp, *weight = args.weight, *bias = args.bias;
  const int64_t R = args.R, C = args.C;
  const float eps = (float)args.eps;
  parallel(ceilDiv(R, kRows), [&](int64_t task, int) {
    for (int64_t r = task * kRows; r < min((task + 1) * kRows, R); r++) {
      const float* x = inp + r * C;
      vf sum{};
      for (int64_t c = 0; c < C; c += W) sum += loadUpTo(x + c, C - c);
      const float m = sumLanes(sum) / (float)C;
      vf squares{};
      for (int64_t c = 0; c < C; c += W) {
        // Lanes past the end must not count, so they are m, and their difference is 0.
        const vf d =
            (C - c >= W ? load(x + c) : (iota() < (int)(C - c) ? loadFirst(x + c, (int)(C - c)) : set1(m))) - m;
        squares = fma(d, d, squares);
      }
      const float s = 1.0f / __builtin_sqrtf(sumLanes(squares) / (float)C + eps);
      mean[r] = m;
      rstd[r] = s;
      for (int64_t c = 0; c < C; c += W) {
        const int64_t left = C - c;
        const vf norm = (loadUpTo(x + c, left) - m) * s;
        storeUpTo(out + r * C + c, fma(norm, loadUpTo(weight + c, left), bias ? loadUpTo(bias + c, left) : vf{}), left);
      }
    }
  });
}

/**
 * In the forward pass this was out = x̂⊙weight + bias, x̂ = (inp − mean)·rstd. With d = dout⊙weight, dinp (R, C) =
 * or += (d − mean(d) − x̂·mean(d⊙x̂))·rstd, the means being over the channels; dweight (C) += Σ_r dout⊙x̂, dbias (C) +=
 * Σ_r dout.
 */
void layernormBackward(const LayernormBackwardArgs& args) {
  float *dinp = args.dinp, *dweight = args.dweight, *dbias = args.dbias;
  const float *dout = args.dout, *inp = args.inp, *weight = args.weight, *mean = args.mean, *rstd = args.rstd;
  const int64_t R = args.R, C = args.C;
  const bool accumulate = args.accumulate;
  const int64_t blocks = ceilDiv(R, kRows);
  float* partials = sharedScratch(kRowSums, (size_t)(2 * blocks * C) * sizeof(float));  // (blocks, 2, C)
  parallel(blocks, [&](int64_t task, int) {
    float* sumWeight = partials + 2 * task * C;
    float* sumBias = sumWeight + C;
    for (int64_t c = 0; c < 2 * C; c++) sumWeight[c] = 0;
    for (int64_t r = task * kRows; r < min((task + 1) * kRows, R); r++) {
      const float* x = inp + r * C;
      const float* d = dout + r * C;
      const float m = mean[r], s = rstd[r];
      vf sum{}, sumNorm{};  // Σ dout·weight, and Σ dout·weight·x̂
      for (int64_t c = 0; c < C; c += W) {
        const int64_t left = C - c;
        const vf dv = loadUpTo(d + c, left);  // zero past the end, and so are both products
        const vf norm = (loadUpTo(x + c, left) - m) * s;
        const vf dnorm = dv * loadUpTo(weight + c, left);
        sum += dnorm;
        sumNorm = fma(dnorm, norm, sumNorm);
        storeUpTo(sumWeight + c, fma(dv, norm, loadUpTo(sumWeight + c, left)), left);
        storeUpTo(sumBias + c, dv + loadUpTo(sumBias + c, left), left);
      }
      const float average = sumLanes(sum) / (float)C, averageNorm = sumLanes(sumNorm) / (float)C;
      for (int64_t c = 0; c < C; c += W) {
        const int64_t left = C - c;
        const vf norm = (loadUpTo(x + c, left) - m) * s;
        const vf dnorm = loadUpTo(d + c, left) * loadUpTo(weight + c, left);
        vf dx = (dnorm - average - norm * averageNorm) * s;
        if (accumulate) dx += loadUpTo(dinp + r * C + c, left);
        storeUpTo(dinp + r * C + c, dx, left);
      }
    }
  });
  for (int64_t c = 0; c < C; c += W) {
    const int64_t left = C - c;
    vf totalWeight{}, totalBias{};
    for (int64_t block = 0; block < blocks; block++) {
      totalWeight += loadUpTo(partials + 2 * block * C + c, left);
      totalBias += loadUpTo(partials + (2 * block + 1) * C + c, left);
    }
    storeUpTo(dweight + c, loadUpTo(dweight + c, left) + totalWeight, left);
    if (dbias) storeUpTo(dbias + c, loadUpTo(dbias + c, left) + totalBias, left);
  }
}

/** out (R, C) = x̂⊙weight, x̂ = inp·rstd, rstd (R) = 1/√(mean(inp²) + eps). */
void rmsnormForward(const RmsnormForwardArgs& args) {
  float *out = args.out, *rstd = args.rstd;
  const float *inp = args.inp, *weight = args.weight;
  const int64_t R = args.R, C = args.C;
  const float eps = (float)args.eps;
  parallel(ceilDiv(R, kRows), [&](int64_t task, int) {
    for (int64_t r = task * kRows; r < min((task + 1) * kRows, R); r++) {
      const float* x = inp + r * C;
      vf squares{};
      for (int64_t c = 0; c < C; c += W) {
        const vf v = loadUpTo(x + c, C - c);
        squares = fma(v, v, squares);
      }
      const float s = 1.0f / __builtin_sqrtf(sumLanes(squares) / (float)C + eps);
      rstd[r] = s;
      for (int64_t c = 0; c < C; c += W) {
        const int64_t left = C - c;
        storeUpTo(out + r * C + c, loadUpTo(x + c, left) * s * loadUpTo(weight + c, left), left);
      }
    }
  });
}

/**
 * In the forward pass this was out = x̂⊙weight, x̂ = inp·rstd. With d = dout⊙weight, dinp (R, C) = or +=
 * (d − x̂·mean(d⊙x̂))·rstd; dweight (C) += Σ_r dout⊙x̂.
 */
void rmsnormBackward(const RmsnormBackwardArgs& args) {
  float *dinp = args.dinp, *dweight = args.dweight;
  const float *dout = args.dout, *inp = args.inp, *weight = args.weight, *rstd = args.rstd;
  const int64_t R = args.R, C = args.C;
  const bool accumulate = args.accumulate;
  const int64_t blocks = ceilDiv(R, kRows);
  float* partials = sharedScratch(kRowSums, (size_t)(blocks * C) * sizeof(float));  // (blocks, C)
  parallel(blocks, [&](int64_t task, int) {
    float* sumWeight = partials + task * C;
    for (int64_t c = 0; c < C; c++) sumWeight[c] = 0;
    for (int64_t r = task * kRows; r < min((task + 1) * kRows, R); r++) {
      const float* x = inp + r * C;
      const float* d = dout + r * C;
      const float s = rstd[r];
      vf sumNorm{};  // Σ dout·weight·x̂
      for (int64_t c = 0; c < C; c += W) {
        const int64_t left = C - c;
        const vf scaled = loadUpTo(d + c, left) * (loadUpTo(x + c, left) * s);
        sumNorm = fma(scaled, loadUpTo(weight + c, left), sumNorm);
        storeUpTo(sumWeight + c, scaled + loadUpTo(sumWeight + c, left), left);
      }
      const float averageNorm = sumLanes(sumNorm) / (float)C;
      for (int64_t c = 0; c < C; c += W) {
        const int64_t left = C - c;
        const vf norm = loadUpTo(x + c, left) * s;
        vf dx = (loadUpTo(d + c, left) * loadUpTo(weight + c, left) - norm * averageNorm) * s;
        if (accumulate) dx += loadUpTo(dinp + r * C + c, left);
        storeUpTo(dinp + r * C + c, dx, left);
      }
    }
  });
  for (int64_t c = 0; c < C; c += W) {
    const int64_t left = C - c;
    vf total{};
    for (int64_t block = 0; block < blocks; block++) total += loadUpTo(partials + block * C + c, left);
    storeUpTo(dweight + c, loadUpTo(dweight + c, left) + total, left);
  }
}

}  // namespace

void addNorm(Kernels& k) {
  k.layernormForward = layernormForward;
  k.layernormBackward = layernormBackward;
  k.rmsnormForward = rmsnormForward;
  k.rmsnormBackward = rmsnormBackward;
}

}  // namespace LOOPNN_ISA
}  // namespace loopnn
