/**
 * Activations, alone and in a gated MLP, where one half of the input gates the other. A function is a struct with its
 * value and its slope, the derivative; all kernels are made from it.
 */
#include "elements.h"
#include "families.h"

namespace loopnn {
namespace LOOPNN_ISA {
namespace {

/**
 * e^x, but 0 where e^x is below the normal floats: there expv differs between instruction sets, and the derivatives
 * multiply the result by factors up to infinity.
 */
LOOPNN_INLINE vf vanishingExp(vf x) {
  const vf e = expv(x);
  return e < 1.17549435e-38f ? vf{} : e;
}

/** s(1 − s) of the logistic s = 1/(1 + e), without cancellation. */
LOOPNN_INLINE vf logisticSlope(vf s, vf e) { return s * (s < set1(0.5f) ? set1(1.0f) - s : e * s); }

/** x times the logistic function of u(x) = x·U::factor(x), whose derivative is U::slope(x). */
template <class U>
struct TimesLogistic {
  LOOPNN_INLINE vf value(vf x) { return x / (set1(1.0f) + expv(-x * U::factor(x))); }
  LOOPNN_INLINE vf slope(vf x) {
    const vf e = vanishingExp(-x * U::factor(x));
    const vf s = set1(1.0f) / (set1(1.0f) + e);
    const vf spread = logisticSlope(s, e);
    return s + (spread == 0.0f ? vf{} : x * U::slope(x) * spread);
  }
};

/** GELU in the tanh form: ½(1 + tanh v) is the logistic function of 2v, v = √(2/π)(x + 0.044715x³). */
struct GeluNewArgument {
  static constexpr float kScale = 1.5957691216f, kCubic = 0.044715f;  // 2√(2/π)
  LOOPNN_INLINE vf factor(vf x) { return fma(x * x, set1(kScale * kCubic), set1(kScale)); }
  LOOPNN_INLINE vf slope(vf x) { return fma(x * x, set1(3 * kScale * kCubic), set1(kScale)); }
};
struct SiluArgument {
  LOOPNN_INLINE vf factor(vf) { return set1(1.0f); }
  LOOPNN_INLINE vf slope(vf) { return set1(1.0f); }
};
struct QuickGeluArgument {
  LOOPNN_INLINE vf factor(vf) { return set1(1.702f); }
  LOOPNN_INLINE vf slope(vf) { return set1(1.702f); }
};

/** Φ(x), the distribution function of the standard normal, and e^(−x²/2). */
struct Normal {
  vf below, exponential;
};

/**
 * Φ(−z) = e^(−z²/2)·t·p(t) with t = 1/(1 + 0.35z) for z ≥ 0. The polynomial p is fitted for the least relative error,
 * 2^-25 up to z = 15, where the exponential vanishes; with rounding the error is 4e-7.
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

struct Gelu {
  LOOPNN_INLINE vf value(vf x) { return x * normal(x).below; }
  LOOPNN_INLINE vf slope(vf x) {  // Φ(x) + x·φ(x)
    const Normal at = normal(x);
    return at.exponential == 0.0f ? at.below : fma(x * set1(0.39894228f), at.exponential, at.below);
  }
};
struct Relu {
  LOOPNN_INLINE vf value(vf x) { return x > 0.0f ? x : vf{}; }
  LOOPNN_INLINE vf slope(vf x) { return x > 0.0f ? set1(1.0f) : vf{}; }
};
struct Relu2 {
  LOOPNN_INLINE vf value(vf x) { return x > 0.0f ? x * x : vf{}; }
  LOOPNN_INLINE vf slope(vf x) { return x > 0.0f ? x + x : vf{}; }
};
struct Tanh {
  LOOPNN_INLINE vf value(vf x) {
    const vf one = set1(1.0f), two = set1(2.0f);
    return one - two / (one + expv(two * x));
  }
  LOOPNN_INLINE vf slope(vf x) {  // tanh x = 2σ(2x) − 1: four times the slope of σ at 2x
    const vf e = expv(-set1(2.0f) * x);
    return set1(4.0f) * logisticSlope(set1(1.0f) / (set1(1.0f) + e), e);
  }
};
struct Sigmoid {
  LOOPNN_INLINE vf value(vf x) { return set1(1.0f) / (set1(1.0f) + expv(-x)); }
  LOOPNN_INLINE vf slope(vf x) {
    const vf e = expv(-x);
    return logisticSlope(set1(1.0f) / (set1(1.0f) + e), e);
  }
};

/** Calls `body` with the function of a kind. */
template <class Body>
void withFunction(Activation kind, Body body) {
  switch (kind) {
    case Activation::kGeluNew:
      return body(TimesLogistic<GeluNewArgument>{});
    case Activation::kGelu:
      return body(Gelu{});
    case Activation::kRelu:
      return body(Relu{});
    case Activation::kRelu2:
      return body(Relu2{});
    case Activation::kSilu:
      return body(TimesLogistic<SiluArgument>{});
    case Activation::kQuickGelu:
      return body(TimesLogistic<QuickGeluArgument>{});
    case Activation::kTanh:
      return body(Tanh{});
    case Activation::kSigmoid:
      return body(Sigmoid{});
    case Activation::kCount:
      return;
  }
}

/** out (n) = f(inp (n)). */
void activationForward(const ActivationForwardArgs& args) {
  float* out = args.out;
  const float* inp = args.inp;
  withFunction(args.kind, [&](auto function) {
    forEachVector(args.n, [&](int64_t i, int64_t left) {
      storeUpTo(out + i, function.value(loadUpTo(inp + i, left)), left);
    });
  });
}

/** In the forward pass this was out = f(inp): dinp (n) = or += dout ⊙ f′(inp). */
void activationBackward(const ActivationBackwardArgs& args) {
  float* dinp = args.dinp;
  const float *dout = args.dout, *inp = args.inp;
  const bool accumulate = args.accumulate;
  withFunction(args.kind, [&](auto function) {
    forEachVector(args.n, [&](int64_t i, int64_t left) {
      vf d = loadUpTo(dout + i, left) * function.slope(loadUpTo(inp + i, left));
      if (accumulate) d += loadUpTo(dinp + i, left);
      storeUpTo(dinp + i, d, left);
    });
  });
}

/**
 * body(r, i, left) for every vector of R rows of I elements: it starts at element i of row r, of which left ≥ 1
 * elements remain.
 */
template <class Body>
LOOPNN_INLINE void forEachVectorOfRows(int64_t R, int64_t I, Body body) {
  const int64_t rows = max(1, kBlock / I);
  parallel(ceilDiv(R, rows), [&](int64_t task, int) {
    for (int64_t r = task * rows; r < min((task + 1) * rows, R); r++) {
      for (int64_t i = 0; i < I; i += W) body(r, i, I - i);
    }
  });
}

/** out (R, I) = f(gate) ⊙ other, where each row of inp (R, 2·I) is gate (I), then other (I). */
void gatedActivationForward(const GatedActivationForwardArgs& args) {
  float* out = args.out;
  const float* inp = args.inp;
  const int64_t I = args.I;
  withFunction(args.kind, [&](auto function) {
    forEachVectorOfRows(args.R, I, [&](int64_t r, int64_t i, int64_t left) {
      const float* gate = inp + 2 * r * I + i;
      storeUpTo(out + r * I + i, function.value(loadUpTo(gate, left)) * loadUpTo(gate + I, left), left);
    });
  });
}

/**
 * In the forward pass this was out = f(gate) ⊙ other. Each row of dinp (R, 2·I) is = or += dout ⊙ other ⊙ f′(gate),
 * then dout ⊙ f(gate).
 */
void gatedActivationBackward(const GatedActivationBackwardArgs& args) {
  float* dinp = args.dinp;
  const float *dout = args.dout, *inp = args.inp;
  const int64_t I = args.I;
  const bool accumulate = args.accumulate;
  withFunction(args.kind, [&](auto function) {
    forEachVectorOfRows(args.R, I, [&](int64_t r, int64_t i, int64_t left) {
      const float* gate = inp + 2 * r * I + i;
      float* dgate = dinp + 2 * r * I + i;
      const vf d = loadUpTo(dout + r * I + i, left), x = loadUpTo(gate, left);
      vf first = d * loadUpTo(gate + I, left) * function.slope(x);
      vf second = d * function.value(x);
      if (accumulate) {
        first += loadUpTo(dgate, left);
        second += loadUpTo(dgate + I, left);
      }
      storeUpTo(dgate, first, left);
      storeUpTo(dgate + I, second, left);
    });
  });
}

}  // namespace

void addActivation(Kernels& k) {
  k.activationForward = activationForward;
  k.activationBackward = activationBackward;
  k.gatedActivationForward = gatedActivationForward;
  k.gatedActivationBackward = gatedActivationBackward;
}

}  // namespace LOOPNN_ISA
}  // namespace loopnn
