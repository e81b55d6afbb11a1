/** Kernels that treat every element alike: fill, copy, add, activations, dropout. */
#include "families.h"
#include "vec.h"

namespace loopnn {
namespace LOOPNN_ISA {
namespace {

constexpr int64_t kBlock = 8192;  // elements in a task

/** body(i, n) for every vector of [0, n): it starts at i and has n ≥ 1 elements left. */
template <class Body>
LOOPNN_INLINE void forEachVector(int64_t n, Body body) {
  parallel(ceilDiv(n, kBlock), [&](int64_t task, int) {
    const int64_t end = min((task + 1) * kBlock, n);
    for (int64_t i = task * kBlock; i < end; i += W) body(i, end - i);
  });
}

void fill(const FillArgs& args) {
  float* dst = args.dst;
  const float value = static_cast<float>(args.value);
  const int64_t n = args.n;
  const vf v = set1(value);
  forEachVector(n, [&](int64_t i, int64_t left) { storeUpTo(dst + i, v, left); });
}

void copy(const CopyArgs& args) {
  float* dst = args.dst;
  const float* src = args.src;
  const int64_t n = args.n;
  forEachVector(n, [&](int64_t i, int64_t left) { storeUpTo(dst + i, loadUpTo(src + i, left), left); });
}

void add(const AddArgs& args) {
  float* out = args.out;
  const float *a = args.a, *b = args.b;
  const int64_t n = args.n;
  forEachVector(n, [&](int64_t i, int64_t left) {
    storeUpTo(out + i, loadUpTo(a + i, left) + loadUpTo(b + i, left), left);
  });
}

void accumulate(const AccumulateArgs& args) {
  float* out = args.out;
  const float* inp = args.inp;
  forEachVector(args.n, [&](int64_t i, int64_t left) {
    storeUpTo(out + i, loadUpTo(out + i, left) + loadUpTo(inp + i, left), left);
  });
}

/** body(x) of every element. */
template <class Body>
void mapElements(float* out, const float* inp, int64_t n, Body body) {
  forEachVector(n, [&](int64_t i, int64_t left) { storeUpTo(out + i, body(loadUpTo(inp + i, left)), left); });
}

/** dout times body(x), the function's derivative. */
template <class Body>
void mapGradients(float* dinp, const float* dout, const float* inp, int64_t n, bool accumulate, Body body) {
  forEachVector(n, [&](int64_t i, int64_t left) {
    vf d = loadUpTo(dout + i, left) * body(loadUpTo(inp + i, left));
    if (accumulate) d += loadUpTo(dinp + i, left);
    storeUpTo(dinp + i, d, left);
  });
}

/**
 * e^x, and 0 where it is below the normal numbers: there expv differs between instruction sets, and what the derivatives multiply
 * it by may be anything up to infinity.
 */
LOOPNN_INLINE vf vanishingExp(vf x) {
  const vf e = expv(x);
  return e < 1.17549435e-38f ? vf{} : e;
}

/** s(1 − s) of the logistic s = 1/(1 + e), without cancellation. */
LOOPNN_INLINE vf logisticSlope(vf s, vf e) { return s * (s < set1(0.5f) ? set1(1.0f) - s : e * s); }

// x times the logistic function of some u(x). A struct gives u as x·factor(x), and du/dx.

/** GELU in the tanh form: ½(1 + tanh v) is the logistic function of 2v, v = √(2/π)(x + 0.044715x³). */
struct GeluNew {
  static constexpr float kScale = 1.5957691216f, kCubic = 0.044715f;  // 2√(2/π)
  LOOPNN_INLINE vf factor(vf x) { return fma(x * x, set1(kScale * kCubic), set1(kScale)); }
  LOOPNN_INLINE vf slope(vf x) { return fma(x * x, set1(3 * kScale * kCubic), set1(kScale)); }
};
struct Silu {
  LOOPNN_INLINE vf factor(vf) { return set1(1.0f); }
  LOOPNN_INLINE vf slope(vf) { return set1(1.0f); }
};
struct QuickGelu {
  LOOPNN_INLINE vf factor(vf) { return set1(1.702f); }
  LOOPNN_INLINE vf slope(vf) { return set1(1.702f); }
};

template <class U>
void timesLogisticForward(float* out, const float* inp, int64_t n) {
  mapElements(out, inp, n, [](vf x) { return x / (set1(1.0f) + expv(-x * U::factor(x))); });
}

template <class U>
void timesLogisticBackward(float* dinp, const float* dout, const float* inp, int64_t n, bool accumulate) {
  mapGradients(dinp, dout, inp, n, accumulate, [](vf x) {
    const vf e = vanishingExp(-x * U::factor(x));
    const vf s = set1(1.0f) / (set1(1.0f) + e);
    const vf spread = logisticSlope(s, e);
    return s + (spread == 0.0f ? vf{} : x * U::slope(x) * spread);
  });
}

/** Φ(x), the normal distribution's, and e^(−x²/2). */
struct Normal {
  vf below, exponential;
};

/**
 * Φ(−z) = e^(−z²/2)·t·p(t) with t = 1/(1 + 0.35z) for z ≥ 0. The polynomial p is fitted for the least relative error, 2^-25 up to
 * z = 15, where the exponential vanishes; rounded, it comes to 4e-7.
 */
LOOPNN_INLINE Normal normal(vf x) {
  const vf z = maxv(x, -x);
  const vf exponential = vanishingExp(set1(-0.5f) * x * x);
  const vf t = set1(1.0f) / fma(z, set1(0.35f), set1(1.0f));
  vf p = set1(-0.02916384083f);
  p = fma(p, t, set1(0.1440603823f));
  p = fma(p, t, set1(-0.2559009861f));
  p = fma(p, t, set1(0.1593919053f));
  p = fma(p, t, set1(-0.02326314631f));
  p = fma(p, t, set1(0.1055745157f));
  p = fma(p, t, set1(0.1198155681f));
  p = fma(p, t, set1(0.139864327f));
  p = fma(p, t, set1(0.1396212589f));
  const vf above = exponential * (t * p);
  return {x < 0.0f ? above : set1(1.0f) - above, exponential};
}

void activationForward(const ActivationForwardArgs& args) {
  float* out = args.out;
  const float* inp = args.inp;
  const int64_t n = args.n;
  const Activation kind = args.kind;
  const vf one = set1(1.0f), two = set1(2.0f);
  switch (kind) {
    case Activation::kGeluNew:
      return timesLogisticForward<GeluNew>(out, inp, n);
    case Activation::kGelu:
      return mapElements(out, inp, n, [](vf x) { return x * normal(x).below; });
    case Activation::kRelu:
      return mapElements(out, inp, n, [](vf x) { return x > 0.0f ? x : vf{}; });
    case Activation::kSilu:
      return timesLogisticForward<Silu>(out, inp, n);
    case Activation::kQuickGelu:
      return timesLogisticForward<QuickGelu>(out, inp, n);
    case Activation::kTanh:
      return mapElements(out, inp, n, [=](vf x) { return one - two / (one + expv(two * x)); });
    case Activation::kSigmoid:
      return mapElements(out, inp, n, [=](vf x) { return one / (one + expv(-x)); });
    case Activation::kCount:
      return;
  }
}

void activationBackward(const ActivationBackwardArgs& args) {
  float* dinp = args.dinp;
  const float *dout = args.dout, *inp = args.inp;
  const int64_t n = args.n;
  const Activation kind = args.kind;
  const bool accumulate = args.accumulate;
  const vf one = set1(1.0f), two = set1(2.0f), four = set1(4.0f);
  switch (kind) {
    case Activation::kGeluNew:
      return timesLogisticBackward<GeluNew>(dinp, dout, inp, n, accumulate);
    case Activation::kGelu:  // Φ(x) + x·φ(x)
      return mapGradients(dinp, dout, inp, n, accumulate, [](vf x) {
        const Normal at = normal(x);
        return at.exponential == 0.0f ? at.below : fma(x * set1(0.39894228f), at.exponential, at.below);
      });
    case Activation::kRelu:
      return mapGradients(dinp, dout, inp, n, accumulate, [=](vf x) { return x > 0.0f ? one : vf{}; });
    case Activation::kSilu:
      return timesLogisticBackward<Silu>(dinp, dout, inp, n, accumulate);
    case Activation::kQuickGelu:
      return timesLogisticBackward<QuickGelu>(dinp, dout, inp, n, accumulate);
    case Activation::kTanh:  // of the logistic of 2x, four times the slope
      return mapGradients(dinp, dout, inp, n, accumulate, [=](vf x) {
        const vf e = expv(-two * x);
        const vf s = one / (one + e);
        return four * logisticSlope(s, e);
      });
    case Activation::kSigmoid:
      return mapGradients(dinp, dout, inp, n, accumulate, [=](vf x) {
        const vf e = expv(-x);
        return logisticSlope(one / (one + e), e);
      });
    case Activation::kCount:
      return;
  }
}

void dropout(const DropoutArgs& args) {
  float* out = args.out;
  const float* inp = args.inp;
  const int64_t R = args.R, C = args.C, T = args.T;
  const Dropout& drop = *args.dropout;
  const bool accumulate = args.accumulate;
  const int64_t rows = max(1, kBlock / C);
  parallel(ceilDiv(R, rows), [&](int64_t task, int) {
    for (int64_t r = task * rows; r < min((task + 1) * rows, R); r++) {
      const SampleKey key = sampleKey(drop.key0, drop.key1, drop.firstSample + (uint32_t)(r / T));
      const uint32_t first = (uint32_t)(r % T * C);
      const float* from = inp + r * C;
      float* to = out + r * C;
      for (int64_t c = 0; c < C; c += W) {
        const vf mask = dropoutMask(key, first + (uint32_t)c, drop.threshold, drop.scale);
        // A dropped element is 0 even where the input is infinite or NaN.
        const vf kept = mask > 0.0f ? loadUpTo(from + c, C - c) * mask : vf{};
        storeUpTo(to + c, accumulate ? loadUpTo(to + c, C - c) + kept : kept, C - c);
      }
    }
  });
}

}  // namespace

void addElementwise(Kernels& k) {
  k.fill = fill;
  k.copy = copy;
  k.add = add;
  k.accumulate = accumulate;
  k.activationForward = activationForward;
  k.activationBackward = activationBackward;
  k.dropout = dropout;
}

}  // namespace LOOPNN_ISA
}  // namespace loopnn
