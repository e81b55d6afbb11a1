/** Kernels on single elements: fill, copy, add, accumulate, dropout. */
#include "elements.h"
#include "families.h"

namespace loopnn {
namespace LOOPNN_ISA {
namespace {

/** dst (n) = value. */
void fill(const FillArgs& args) {
  float* dst = args.dst;
  const float value = static_cast<float>(args.value);
  const int64_t n = args.n;
  const vf v = set1(value);
  forEachVector(n, [&](int64_t i, int64_t left) { storeUpTo(dst + i, v, left); });
}

/** dst (n) = src (n). */
void copy(const CopyArgs& args) {
  float* dst = args.dst;
  const float* src = args.src;
  const int64_t n = args.n;
  forEachVector(n, [&](int64_t i, int64_t left) { storeUpTo(dst + i, loadUpTo(src + i, left), left); });
}

/** out (n) = a + b. */
void add(const AddArgs& args) {
  float* out = args.out;
  const float *a = args.a, *b = args.b;
  const int64_t n = args.n;
  forEachVector(n, [&](int64_t i, int64_t left) {
    storeUpTo(out + i, loadUpTo(a + i, left) + loadUpTo(b + i, left), left);
  });
}

/** out (n) += inp (n). */
void accumulate(const AccumulateArgs& args) {
  float* out = args.out;
  const float* inp = args.inp;
  forEachVector(args.n, [&](int64_t i, int64_t left) {
    storeUpTo(out + i, loadUpTo(out + i, left) + loadUpTo(inp + i, left), left);
  });
}

/**
 * out (R, C) = or += inp/(1 − p) where an element is kept, 0 elsewhere: element (r mod T)·C + c of sample
 * firstSample + ⌊r/T⌋. The backward pass is the same kernel on gradients.
 */
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
        // A dropped element is 0 even if the input is infinite or NaN.
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
  k.dropout = dropout;
}

}  // namespace LOOPNN_ISA
}  // namespace loopnn
