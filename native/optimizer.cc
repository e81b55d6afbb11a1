/** AdamW (arXiv 1711.05101), the sum of squares that clipping needs, and the sum that losses need. */
#include <cmath>

#include "families.h"
#include "vec.h"

namespace loopnn {
namespace LOOPNN_ISA {
namespace {

void adamw(const AdamwArgs& args) {
  if (args.nonFinite[0] != 0) return;
  constexpr int64_t kBlock = 8192;
  float *param = args.param, *m = args.m, *v = args.v;
  const float* grad = args.grad;
  const int64_t n = args.n;
  // Constants are computed in double precision and rounded once.
  const double norm = std::sqrt((double)args.squares[0]), ratio = args.gradClip / (norm + 1e-6);
  const float gradScale = (float)(args.gradClip > 0 && ratio < 1 ? ratio : 1.0);
  const float rest1 = (float)(1 - args.beta1), rest2 = (float)(1 - args.beta2);
  const float correction1 = (float)(1 - std::pow(args.beta1, (double)args.step));
  const float correction2 = (float)(1 - std::pow(args.beta2, (double)args.step));
  const float eps = (float)args.eps, lr = (float)args.lr;
  const vf beta1 = set1((float)args.beta1), beta2 = set1((float)args.beta2), decay = set1((float)args.weightDecay);
  parallel(ceilDiv(n, kBlock), [&](int64_t task, int) {
    const int64_t end = min((task + 1) * kBlock, n);
    for (int64_t i = task * kBlock; i < end; i += W) {
      const int64_t left = end - i;
      const vf g = loadUpTo(grad + i, left) * gradScale;
      const vf mv = fma(beta1, loadUpTo(m + i, left), g * rest1);
      const vf vv = fma(beta2, loadUpTo(v + i, left), g * g * rest2);
      const vf p = loadUpTo(param + i, left);
      const vf step = mv / correction1 / (sqrtv(vv / correction2) + eps);
      storeUpTo(m + i, mv, left);
      storeUpTo(v + i, vv, left);
      storeUpTo(param + i, p - lr * fma(decay, p, step), left);
    }
  });
}

/** Σ f(x) over all elements in double precision, by blocks whose sums are added in order; f works on halves of a vector. */
template <class F>
double sumOf(const float* inp, int64_t n, F f) {
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
      low += f(__builtin_convertvector(a, vd));
      high += f(__builtin_convertvector(b, vd));
    }
    const vd both = low + high;
    double sum = 0;
    for (int i = 0; i < kHalf; i++) sum += both[i];
    partials[task] = sum;
  });
  double total = 0;
  for (int64_t block = 0; block < blocks; block++) total += partials[block];
  return total;
}

void sum(const SumArgs& args) {
  const double total = sumOf(args.inp, args.n, [](vd x) { return x; });
  args.out[0] = (float)total;
  args.out[1] = (float)(total - (double)args.out[0]);
  if (!__builtin_isfinite(args.out[0])) args.nonFinite[0] = 1;
}

void sumSquares(const SumSquaresArgs& args) {
  args.out[0] = (float)sumOf(args.inp, args.n, [](vd x) { return x * x; });
  if (!__builtin_isfinite(args.out[0])) args.nonFinite[0] = 1;
}

}  // namespace

void addOptimizer(Kernels& k) {
  k.adamw = adamw;
  k.sum = sum;
  k.sumSquares = sumSquares;
}

}  // namespace LOOPNN_ISA
}  // namespace loopnn
