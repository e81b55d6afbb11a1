/** The finished table of one instruction set, each kernel of which some family has brought. */
#include <stdexcept>
#include <string>

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
    const auto* entries = reinterpret_cast<void (*const*)()>(static_cast<const KernelTable*>(&k));
    for (size_t i = 0; i < sizeof(KernelTable) / sizeof *entries; i++) {
      if (!entries[i]) throw std::logic_error("no family brings kernel " + std::to_string(i) + " of KernelTable");
    }
    return k;
  }();
  return table;
}

}  // namespace LOOPNN_ISA
}  // namespace loopnn
