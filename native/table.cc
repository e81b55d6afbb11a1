/**
 * The complete kernel table of one instruction set, to which each family adds its kernels. A set that differs from
 * another, LOOPNN_BASE, only in matrix products brings their families and takes the rest from that set.
 */
#ifdef __cpp_exceptions
#include <stdexcept>
#include <string>
#endif

#include "families.h"

namespace loopnn {
#if defined(LOOPNN_BASE)
namespace LOOPNN_BASE {
const Kernels& kernels();
}
#endif

namespace LOOPNN_ISA {
namespace {

[[noreturn]] void missing(size_t kernel) {
#ifdef __cpp_exceptions
  throw std::logic_error("no family adds kernel " + std::to_string(kernel) + " of KernelTable");
#else
  (void)kernel;
  __builtin_trap();
#endif
}

}  // namespace

const Kernels& kernels() {
  static const Kernels table = [] {
#if defined(LOOPNN_BASE)
    Kernels k = LOOPNN_BASE::kernels();
#else
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
    addInt8(k);
    addAttention(k);
    addCache(k);
    addOptimizer(k);
#endif
    addLinear(k);
    addHead(k);
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
