/**
 * The head: logits = inp·weightᵀ, softmax cross-entropy against targets, and the gradients of inp and weight from the
 * same logits. weight (V, C) comes packed as B (C, V), and for gradients also as B (V, C). Only the logits of some rows
 * exist at a time; their number is a function of the shape alone. dinp is overwritten, dweight is added to. A target of
 * −1 gives loss 0 and no gradient.
 */
#include <math.h>

#include "families.h"
#include "gemm.h"
#include "int8.h"

namespace loopnn {
namespace LOOPNN_ISA {
namespace {

constexpr int64_t kScratchFloats = int64_t{26} << 20;  // 104 MiB of logits
constexpr int64_t kMostRows = 2048;

template <class P>
int64_t rowsAtOnce(int64_t R, int64_t V) {
  const int64_t fitting = max(1, min(kScratchFloats / V, kMostRows));
  // Whole blocks of the weight gradient's sum over rows, if there is room for one.
  return min(R, fitting >= KC * P::kDepth ? fitting / (KC * P::kDepth) * (KC * P::kDepth) : fitting);
}

struct Largest {
  float value;
  int32_t index;
};

/** The largest of n values and its first index. */
Largest findLargest(const float* x, int64_t n) {
  vf best = set1(-__builtin_inff());
  vi where{}, index = iota();
  for (int64_t i = 0; i < n; i += W) {
    const vf v = n - i >= W ? load(x + i) : (index < (int32_t)n ? loadFirst(x + i, (int)(n - i)) : best);
    const vi better = v > best;
    best = better ? v : best;
    where = better ? index : where;
    index += W;
  }
  Largest largest = {best[0], where[0]};
  for (int l = 1; l < W; l++) {
    if (best[l] > largest.value || (best[l] == largest.value && where[l] < largest.index)) {
      largest = {best[l], where[l]};
    }
  }
  return largest;
}

/** Σ e^(x − shift) of n values; with `keep`, the terms replace x. */
template <bool keep>
float sumExp(float* x, int64_t n, float shift) {
  vf sums[2] = {};
  for (int64_t i = 0; i < n; i += 2 * W) {
#pragma GCC unroll 2
    for (int u = 0; u < 2; u++) {
      const int64_t at = i + u * W, left = n - at;
      if (left <= 0) break;
      const vf e = expv(loadUpTo(x + at, left) - shift);
      if (keep) storeUpTo(x + at, e, left);
      sums[u] += left >= W ? e : (iota() < (int)left ? e : vf{});
    }
  }
  return sumLanes(sums[0] + sums[1]);
}

/** Loss, arg-max and its probability of one row; with `keep`, the logits become e^(x − max) and the sum is returned. */
template <bool keep>
float crossEntropy(float* x, int64_t V, int32_t target, float* loss, int32_t* argmax, float* maxProb) {
  const Largest largest = findLargest(x, V);
  const float atTarget = target >= 0 ? x[target] : 0;
  const float sum = sumExp<keep>(x, V, largest.value);
  *loss = target >= 0 ? logf(sum) + (largest.value - atTarget) : 0;
  if (argmax) *argmax = largest.index;
  if (maxProb) *maxProb = 1.0f / sum;
  return sum;
}

/**
 * In the forward pass this is loss[r] = −log p(targets[r]) with p = softmax(logits[r]). If dinp is not null:
 * dlogits[r] = rowWeights[r]·(p − onehot(targets[r])), dinp (R, C) = dlogits·weight, dweight (V, C) += dlogitsᵀ·inp.
 */
template <class P>
void headAs(const HeadForwardBackwardArgs& args) {
  float *loss = args.loss, *maxProb = args.maxProb, *dinp = args.dinp, *dweight = args.dweight;
  int32_t* argmax = args.argmax;
  const float *inp = args.inp, *packed = args.packed, *packedTransposed = args.packedTransposed;
  const int32_t* targets = args.targets;
  const float* rowWeights = args.rowWeights;
  const int64_t R = args.R, C = args.C, V = args.V;
  const int64_t most = rowsAtOnce<P>(R, V);
  float* scratch = sharedScratch(kLogits, (size_t)(most * V) * sizeof(float));
  for (int64_t r0 = 0; r0 < R; r0 += most) {
    const int64_t rows = min(most, R - r0);
    multiply<P>({scratch, V, {inp + r0 * C, C, 1}, nullptr, rows, V, C, false}, packed);
    parallel(rows, [&](int64_t task, int) {
      const int64_t r = r0 + task;
      float* x = scratch + task * V;
      int32_t* top = argmax ? argmax + r : nullptr;
      float* probability = maxProb ? maxProb + r : nullptr;
      const int32_t target = targets[r];
      if (!dinp) {
        crossEntropy<false>(x, V, target, loss + r, top, probability);
        return;
      }
      const float sum = crossEntropy<true>(x, V, target, loss + r, top, probability);
      // d loss / d logit = probability − 1 at the target, probability elsewhere.
      const float w = target >= 0 ? rowWeights[r] : 0.0f;
      const float scale = w / sum;
      for (int64_t i = 0; i < V; i += W) {
        storeUpTo(x + i, w == 0.0f ? vf{} : loadUpTo(x + i, V - i) * scale, V - i);
      }
      if (target >= 0) x[target] -= w;
    });
    if (!dinp) continue;
    multiply<P>({dinp + r0 * C, C, {scratch, V, 1}, nullptr, rows, C, V, false}, packedTransposed);
    multiply<P>({dweight, C, {scratch, 1, V}, nullptr, V, C, rows, true}, Matrix{inp + r0 * C, C, 1});
  }
}

void forwardBackward(const HeadForwardBackwardArgs& args) { args.bf16 ? headAs<Bf16>(args) : headAs<F32>(args); }

/** The same without gradients: `dinp` is null. */
void forward(const HeadForwardArgs& k) {
  HeadForwardBackwardArgs args{};
  args.loss = k.loss;
  args.argmax = k.argmax;
  args.maxProb = k.maxProb;
  args.inp = k.inp;
  args.packed = k.packed;
  args.targets = k.targets;
  args.R = k.R;
  args.C = k.C;
  args.V = k.V;
  args.bf16 = k.bf16;
  forwardBackward(args);
}

/** `forward` with a weight in int8. */
void forwardInt8(const HeadForwardInt8Args& args) {
  float *loss = args.loss, *maxProb = args.maxProb;
  int32_t* argmax = args.argmax;
  const float *inp = args.inp, *packed = args.packed;
  const int32_t* targets = args.targets;
  const int64_t R = args.R, C = args.C, V = args.V;
  const int64_t most = rowsAtOnce<F32>(R, V);
  float* scratch = sharedScratch(kLogits, (size_t)(most * V) * sizeof(float));
  for (int64_t r0 = 0; r0 < R; r0 += most) {
    const int64_t rows = min(most, R - r0);
    linearInt8(scratch, inp + r0 * C, packed, nullptr, rows, C, V);
    parallel(rows, [&](int64_t task, int) {
      const int64_t r = r0 + task;
      crossEntropy<false>(scratch + task * V, V, targets[r], loss + r, argmax ? argmax + r : nullptr,
                          maxProb ? maxProb + r : nullptr);
    });
  }
}

}  // namespace

void addHead(Kernels& k) {
  k.headForward = forward;
  k.headForwardBackward = forwardBackward;
  k.headForwardInt8 = forwardInt8;
}

}  // namespace LOOPNN_ISA
}  // namespace loopnn
