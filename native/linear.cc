/**
 * Linear layers, logits among them. The product with a packed weight is both the forward pass, with weight (K, N), and
 * the gradient of the input, with its transpose; the gradients of weight and bias are always added to.
 */
#include "families.h"
#include "gemm.h"

namespace loopnn {
namespace LOOPNN_ISA {
namespace {

int64_t packedLength(int64_t K, int64_t N, bool bf16) {
  return bf16 ? packedWords<Bf16>(K, N) : packedWords<F32>(K, N);
}

/** packed = B (K, N): the weight (K, N), or with `transposed` the transpose of weight (N, K). */
void packWeight(const PackWeightArgs& k) {
  const Matrix b = k.transposed ? Matrix{k.weight, 1, k.K} : Matrix{k.weight, k.N, 1};
  (k.bf16 ? pack<Bf16> : pack<F32>)(k.packed, b, k.K, k.N);
}

void multiplyPacked(const Product& product, const float* packed, bool bf16) {
  bf16 ? multiply<Bf16>(product, packed) : multiply<F32>(product, packed);
}

/** out (R, N) = inp (R, K)·weight (K, N) + bias (N). */
void forward(const LinearForwardArgs& k) {
  multiplyPacked({k.out, k.N, {k.inp, k.K, 1}, k.bias, k.R, k.N, k.K, false}, k.packed, k.bf16);
}

/** In the forward pass this was out = inp·weight + bias: dinp (R, K) = or += dout (R, N)·weightᵀ. */
void backwardInput(const LinearBackwardInputArgs& k) {
  multiplyPacked({k.dinp, k.K, {k.dout, k.N, 1}, nullptr, k.R, k.K, k.N, k.accumulate}, k.packed, k.bf16);
}

/** out (R, V) = inp (R, C)·weightᵀ, weight (V, C). */
void logits(const LogitsArgs& k) {
  multiplyPacked({k.out, k.V, {k.inp, k.C, 1}, nullptr, k.R, k.V, k.C, false}, k.packed, k.bf16);
}

/** In the forward pass this was out = inp·weight + bias: dweight (K, N) += inpᵀ·dout, dbias (N) += Σ_r dout. */
void backwardWeight(const LinearBackwardWeightArgs& k) {
  const Product product = {k.dweight, k.N, {k.inp, 1, k.K}, nullptr, k.K, k.N, k.R, true};
  const Matrix b = {k.dout, k.N, 1};
  k.bf16 ? multiply<Bf16>(product, b, k.dbias) : multiply<F32>(product, b, k.dbias);
}

}  // namespace

void addLinear(Kernels& k) {
  k.packedLength = packedLength;
  k.packWeight = packWeight;
  k.linearForward = forward;
  k.linearBackwardInput = backwardInput;
  k.logits = logits;
  k.linearBackwardWeight = backwardWeight;
}

}  // namespace LOOPNN_ISA
}  // namespace loopnn
