/**
 * Products with a weight in int8: each column is split into groups of kGroup values along k, and each group has a
 * scale, so that weight = scale·integer. Rows of the input are rounded likewise, to 16 bits, so that the sum over a
 * group is of integers, and exact. For inference: outputs are overwritten, never added to.
 */
#pragma once

#include "gemm.h"

namespace loopnn {
namespace LOOPNN_ISA {

/** Floats that a packed B (K, N) takes. */
int64_t int8Length(int64_t K, int64_t N);
/** Packs B (K, N): integers from −127 to 127 and, for each group, the scale that its largest value needs. */
void packInt8(float* packed, const Matrix& b, int64_t K, int64_t N);
/** out (R, N) = inp (R, K)·B + bias; `bias` may be null. The bits of a row depend on that row and B alone. */
void linearInt8(float* out, const float* inp, const float* packed, const float* bias, int64_t R, int64_t K, int64_t N);

}  // namespace LOOPNN_ISA
}  // namespace loopnn
