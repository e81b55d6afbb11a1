/** AdamW (arXiv 1711.05101) and the sum of squares that gradient clipping needs. */
#include "families.h"
#include "vec.h"

namespace loopnn {
namespace LOOPNN_ISA {
namespace {

void adamw(float* param, const float* grad, float* m, float* v, int64_t n, const AdamW& o) {
  constexpr int64_t kBlock = 8192;
  const vf beta1 = set1(o.beta1), beta2 = set1(o.beta2);
  parallel(ceilDiv(n, kBlock), [&](int64_t task, int) {
    const int64_t end = min((task + 1) * kBlock, n);
    for (int64_t i = task * kBlock; i < end; i += W) {
      const int64_t left = end - i;
      const vf g = loadUpTo(grad + i, left) * o.gradScale;
      const vf mv = fma(beta1, loadUpTo(m + i, left), g * o.rest1);
      const vf vv = fma(beta2, loadUpTo(v + i, left), g * g * o.rest2);
      const vf p = loadUpTo(param + i, left);
      const vf step = mv / o.correction1 / (sqrtv(vv / o.correction2) + o.eps);
      storeUpTo(m + i, mv, left);
      storeUpTo(v + i, vv, left);
      storeUpTo(param + i, p - o.lr * fma(set1(o.weightDecay), p, step), left);
    }
  });
}

void sumSquares(float* out, const float* inp, int64_t n) {
  constexpr int64_t kBlock = 32768, kHalf = W / 2;
  const int64_t blocks = ceilDiv(n, kBlock);
  double* partials = (double*)sharedScratch(kRowSums, (size_t)(blocks + 1) * sizeof(double));
  parallel(blocks, [&](int64_t task, int) {
    const int64_t end = min((task + 1) * kBlock, n);
    vd low{}, high{};
    for (int64_t i = task * kBlock; i < end; i += W) {
      float x[W];
      store(x, loadUpTo(inp + i, end - i));
      half_vf a, b;
      __builtin_memcpy(&a, x, sizeof a);
      __builtin_memcpy(&b, x + kHalf, sizeof b);
      const vd da = __builtin_convertvector(a, vd), db = __builtin_convertvector(b, vd);
      low += da * da;
      high += db * db;
    }
    const vd both = low + high;
    double sum = 0;
    for (int i = 0; i < kHalf; i++) sum += both[i];
    partials[task] = sum;
  });
  double total = 0;
  for (int64_t block = 0; block < blocks; block++) total += partials[block];
  out[0] = (float)total;
}

}  // namespace

void addOptimizer(Kernels& k) {
  k.adamw = adamw;
  k.sumSquares = sumSquares;
}

}  // namespace LOOPNN_ISA
}  // namespace loopnn
