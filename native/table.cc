/** The finished table of one instruction set; each family adds its kernels. */
#ifdef __cpp_exceptions
#include <stdexcept>
#include <string>
#endif

#include "families.h"

namespace loopnn {
namespace LOOPNN_ISA {
namespace {

[[noreturn]] void missing(size_t kernel) {
#ifdef __cpp_exceptions
  throw std::logic_error("no family brings kernel " + std::to_string(kernel) + " of KernelTable");
#else
  (void)kernel;
  __builtin_trap();
#endif
}

}  // namespace

const Kernels& kernels() {
  static const Kernels table = [] {
    Kernels k{};
    addElementwise(k);
    addActivation(k);
    addResidual(k);
    addInjection(k);
    addStreams(k);
    addRows(k);
    addExits(k);
    addEmbedding(k);
    addNorm(k);
    addHeads(k);
    addLinear(k);
    addInt8(k);
    addAttention(k);
    addCache(k);
    addHead(k);
    addOptimizer(k);
    addPeaks(k);
    const auto* entries = reinterpret_cast<void (*const*)()>(static_cast<const KernelTable*>(&k));
    for (size_t i = 0; i < sizeof(KernelTable) / sizeof *entries; i++) {
      if (!entries[i]) missing(i);
    }
    return k;
  }();
  return table;
}

}  // namespace LOOPNN_ISA
}  // namespace loopnn
