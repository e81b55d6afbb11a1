/** The finished table of one instruction set. */
#include "families.h"

namespace loopnn {
namespace LOOPNN_ISA {

const Kernels& kernels() {
  static const Kernels table = [] {
    Kernels k{};
    addElementwise(k);
    addResidual(k);
    addRows(k);
    addExits(k);
    addEmbedding(k);
    addLayernorm(k);
    addLinear(k);
    addInt8(k);
    addAttention(k);
    addCache(k);
    addHead(k);
    addOptimizer(k);
    addPeaks(k);
    return k;
  }();
  return table;
}

}  // namespace LOOPNN_ISA
}  // namespace loopnn
