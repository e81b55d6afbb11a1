/**
 * Linear layers, out = inp·weight + bias with weight (K, N): three products that differ in strides only.
 * The gradient of the input is overwritten or added to; those of weight and bias are always added to.
 */
#include "families.h"
#include "gemm.h"

namespace loopnn {
namespace LOOPNN_ISA {
namespace {

void forward(float* out, const float* inp, const float* weight, const float* bias, int64_t R, int64_t K, int64_t N) {
  gemm({out, N, {inp, K, 1}, {weight, N, 1}, bias, R, N, K, false});
}

void backwardInput(float* dinp, const float* dout, const float* weight, int64_t R, int64_t K, int64_t N,
                   bool accumulate) {
  gemm({dinp, K, {dout, N, 1}, {weight, 1, N}, nullptr, R, K, N, accumulate, true});
}

void backwardWeight(float* dweight, float* dbias, const float* dout, const float* inp, int64_t R, int64_t K,
                    int64_t N) {
  gemm({dweight, N, {inp, 1, K}, {dout, N, 1}, nullptr, K, N, R, true, true});
  if (dbias) addColumnSums(dbias, dout, R, N);
}

}  // namespace

void addLinear(Kernels& k) {
  k.linearForward = forward;
  k.linearBackwardInput = backwardInput;
  k.linearBackwardWeight = backwardWeight;
}

}  // namespace LOOPNN_ISA
}  // namespace loopnn
