/**
 * AdamW (arXiv 1711.05101), Muon (Jordan et al. 2024) without its matrix products, the average of weights, the sum of
 * squares for clipping, and the sum for losses.
 */
#include <cmath>

#include "families.h"
#include "vec.h"

namespace loopnn {
namespace LOOPNN_ISA {
namespace {

constexpr int64_t kBlock = 8192;  // elements in a task

// Constants are computed in double precision and rounded once.

/** The factor of a gradient from clipping: min(1, gradClip/(√squares + 1e-6)), or 1 if gradClip is 0. */
float clipping(const float* squares, double gradClip) {
  const double ratio = gradClip / (std::sqrt((double)squares[0]) + 1e-6);
  return (float)(gradClip > 0 && ratio < 1 ? ratio : 1.0);
}

/** body(i, left) for every vector of [0, n): it starts at i, and left ≥ 1 elements remain. */
template <class Body>
LOOPNN_INLINE void forEachVector(int64_t n, Body body) {
  parallel(ceilDiv(n, kBlock), [&](int64_t task, int) {
    const int64_t end = min((task + 1) * kBlock, n);
    for (int64_t i = task * kBlock; i < end; i += W) body(i, end - i);
  });
}

/**
 * body(i, j, left) for every vector of columns [first, first + count): it starts at i in the matrix (R, C), at j in a
 * matrix (R, count) of these columns alone, and left ≥ 1 elements of its row remain.
 */
template <class Body>
LOOPNN_INLINE void forEachInColumns(int64_t R, int64_t C, int64_t first, int64_t count, Body body) {
  const int64_t rows = max(1, kBlock / count);
  parallel(ceilDiv(R, rows), [&](int64_t task, int) {
    for (int64_t r = task * rows; r < min((task + 1) * rows, R); r++) {
      for (int64_t c = 0; c < count; c += W) body(r * C + first + c, r * count + c, count - c);
    }
  });
}

/**
 * In place: g = grad·clipping, m = β1·m + (1 − β1)·g, v = β2·v + (1 − β2)·g², param −= lr·(m̂/(√v̂ + eps) +
 * weightDecay·param), m̂ = m/(1 − β1^step), v̂ = v/(1 − β2^step); all (n). Nothing changes if nonFinite.
 */
void adamw(const AdamwArgs& args) {
  if (args.nonFinite[0] != 0) return;
  float *param = args.param, *m = args.m, *v = args.v;
  const float* grad = args.grad;
  const int64_t n = args.n;
  const float gradScale = clipping(args.squares, args.gradClip);
  const float rest1 = (float)(1 - args.beta1), rest2 = (float)(1 - args.beta2);
  const float correction1 = (float)(1 - std::pow(args.beta1, (double)args.step));
  const float correction2 = (float)(1 - std::pow(args.beta2, (double)args.step));
  const float eps = (float)args.eps, lr = (float)args.lr;
  const vf beta1 = set1((float)args.beta1), beta2 = set1((float)args.beta2), decay = set1((float)args.weightDecay);
  forEachVector(n, [&](int64_t i, int64_t left) {
    const vf g = loadUpTo(grad + i, left) * gradScale;
    const vf mv = fma(beta1, loadUpTo(m + i, left), g * rest1);
    const vf vv = fma(beta2, loadUpTo(v + i, left), g * g * rest2);
    const vf p = loadUpTo(param + i, left);
    const vf step = mv / correction1 / (sqrtv(vv / correction2) + eps);
    storeUpTo(m + i, mv, left);
    storeUpTo(v + i, vv, left);
    storeUpTo(param + i, p - lr * fma(decay, p, step), left);
  });
}

/**
 * Of columns [first, first + count) of momentum and grad (R, C): momentum = β·momentum + g, out (R, count) = g +
 * β·momentum, g = grad·clipping; out = 0 if nonFinite.
 */
void muonMomentum(const MuonMomentumArgs& args) {
  float *out = args.out, *momentum = args.momentum;
  const float* grad = args.grad;
  const vf beta = set1((float)args.beta);
  if (args.nonFinite[0] != 0) {
    return forEachVector(args.R * args.count, [&](int64_t i, int64_t left) { storeUpTo(out + i, vf{}, left); });
  }
  const float scale = clipping(args.squares, args.gradClip);
  forEachInColumns(args.R, args.C, args.first, args.count, [&](int64_t i, int64_t j, int64_t left) {
    const vf g = loadUpTo(grad + i, left) * scale;
    const vf m = fma(beta, loadUpTo(momentum + i, left), g);
    storeUpTo(momentum + i, m, left);
    storeUpTo(out + j, fma(beta, m, g), left);
  });
}

/** x (n) /= √squares + eps. */
void scaleByNorm(const ScaleByNormArgs& args) {
  float* x = args.x;
  const vf factor = set1((float)(1 / (std::sqrt((double)args.squares[0]) + args.eps)));
  forEachVector(args.n, [&](int64_t i, int64_t left) { storeUpTo(x + i, loadUpTo(x + i, left) * factor, left); });
}

/** out (N, N) = a·I + b·x + c·square. */
void matrixPolynomial(const MatrixPolynomialArgs& args) {
  float* out = args.out;
  const float *x = args.x, *square = args.square;
  const int64_t N = args.N, rows = max(1, kBlock / N);
  const float a = (float)args.a;
  const vf b = set1((float)args.b), c = set1((float)args.c);
  parallel(ceilDiv(N, rows), [&](int64_t task, int) {
    for (int64_t r = task * rows; r < min((task + 1) * rows, N); r++) {
      for (int64_t j = 0; j < N; j += W) {
        const int64_t i = r * N + j, left = N - j;
        storeUpTo(out + i, fma(c, loadUpTo(square + i, left), b * loadUpTo(x + i, left)), left);
      }
      out[r * N + r] += a;
    }
  });
}

/** Columns [first, first + count) of param (R, C) −= lr·(scale·update (R, count) + weightDecay·param). */
void muonUpdate(const MuonUpdateArgs& args) {
  if (args.nonFinite[0] != 0) return;
  float* param = args.param;
  const float* update = args.update;
  const vf rate = set1((float)(-args.lr * args.scale)), keep = set1((float)(1 - args.lr * args.weightDecay));
  forEachInColumns(args.R, args.C, args.first, args.count, [&](int64_t i, int64_t j, int64_t left) {
    storeUpTo(param + i, fma(rate, loadUpTo(update + j, left), keep * loadUpTo(param + i, left)), left);
  });
}

/** average (n) = decay·average + (1 − decay)·param. */
void averageWeights(const AverageWeightsArgs& args) {
  if (args.nonFinite[0] != 0) return;
  float* average = args.average;
  const float* param = args.param;
  const vf decay = set1((float)args.decay), rest = set1((float)(1 - args.decay));
  forEachVector(args.n, [&](int64_t i, int64_t left) {
    storeUpTo(average + i, fma(decay, loadUpTo(average + i, left), rest * loadUpTo(param + i, left)), left);
  });
}

/**
 * Σ f(x) over all elements in double precision, by blocks whose sums are added in order; f works on halves of a vector.
 */
template <class F>
double sumOf(const float* inp, int64_t n, F f) {
  constexpr int64_t kLong = 32768, kHalf = W / 2;
  const int64_t blocks = ceilDiv(n, kLong);
  double* partials = (double*)sharedScratch(kRowSums, (size_t)(blocks + 1) * sizeof(double));
  parallel(blocks, [&](int64_t task, int) {
    const int64_t end = min((task + 1) * kLong, n);
    vd low{}, high{};
    for (int64_t i = task * kLong; i < end; i += W) {
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

/**
 * out[0] + out[1] = Σ inp (n): the sum rounded to a float, and the rounding error. nonFinite becomes 1 if the sum is
 * not finite.
 */
void sum(const SumArgs& args) {
  const double total = sumOf(args.inp, args.n, [](vd x) { return x; });
  args.out[0] = (float)total;
  args.out[1] = (float)(total - (double)args.out[0]);
  if (!__builtin_isfinite(args.out[0])) args.nonFinite[0] = 1;
}

/** out[0] = Σ inp² (n); nonFinite becomes 1 if the sum is not finite. */
void sumSquares(const SumSquaresArgs& args) {
  args.out[0] = (float)sumOf(args.inp, args.n, [](vd x) { return x * x; });
  if (!__builtin_isfinite(args.out[0])) args.nonFinite[0] = 1;
}

}  // namespace

void addOptimizer(Kernels& k) {
  k.adamw = adamw;
  k.muonMomentum = muonMomentum;
  k.scaleByNorm = scaleByNorm;
  k.matrixPolynomial = matrixPolynomial;
  k.muonUpdate = muonUpdate;
  k.averageWeights = averageWeights;
  k.sum = sum;
  k.sumSquares = sumSquares;
}

}  // namespace LOOPNN_ISA
}  // namespace loopnn
