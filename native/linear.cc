/**
 * Linear layers. The product with a packed weight is both the forward pass, with weight (K, N), and the gradient of
 * the input, with its transpose; the gradients of weight and bias are always added to.
 */
#include "families.h"
#include "gemm.h"

namespace loopnn {
namespace LOOPNN_ISA {
namespace {

int64_t packedLength(int64_t K, int64_t N, bool bf16) {
  return bf16 ? packedWords<Bf16>(K, N) : packedWords<F32>(K, N);
}

void packWeight(float* packed, const float* weight, int64_t K, int64_t N, bool transposed, bool bf16) {
  (bf16 ? pack<Bf16> : pack<F32>)(packed, transposed ? Matrix{weight, 1, K} : Matrix{weight, N, 1}, K, N);
}

void linear(float* out, const float* inp, const float* packed, const float* bias, int64_t R, int64_t K, int64_t N,
            bool accumulate, bool bf16) {
  const Product product = {out, N, {inp, K, 1}, bias, R, N, K, accumulate};
  bf16 ? multiply<Bf16>(product, packed) : multiply<F32>(product, packed);
}

void backwardWeight(float* dweight, float* dbias, const float* dout, const float* inp, int64_t R, int64_t K,
                    int64_t N, bool bf16) {
  const Product product = {dweight, N, {inp, 1, K}, nullptr, K, N, R, true};
  const Matrix b = {dout, N, 1};
  bf16 ? multiply<Bf16>(product, b) : multiply<F32>(product, b);
  if (dbias) addColumnSums(dbias, dout, R, N);
}

}  // namespace

void addLinear(Kernels& k) {
  k.packedLength = packedLength;
  k.packWeight = packWeight;
  k.linear = linear;
  k.linearBackwardWeight = backwardWeight;
}

}  // namespace LOOPNN_ISA
}  // namespace loopnn
