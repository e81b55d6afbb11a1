/** Chooses the instruction set whose kernels run: the processor's best, unless LOOPNN_ISA names another. */
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>

#include "kernels.h"
#include "system.h"

namespace loopnn {

#if defined(__x86_64__)
namespace amx {
const Kernels& kernels();
}
namespace avx512bf16 {
const Kernels& kernels();
}
namespace avx512 {
const Kernels& kernels();
}
namespace avx2 {
const Kernels& kernels();
}
#endif
namespace portable {
const Kernels& kernels();
}

namespace {

#ifdef LOOPNN_EMULATED
constexpr bool kEmulated = true;
#else
constexpr bool kEmulated = false;
#endif

[[maybe_unused]] bool always() { return true; }
bool never() { return false; }

const Isa kIsas[] = {
#if defined(__x86_64__)
    {"amx", true, always, [] { return kEmulated || instructions().amx; }, amx::kernels},
    {"avx512bf16", true, [] { return instructions().fastDots; },
     [] { return kEmulated || instructions().avx512bf16; }, avx512bf16::kernels},
    {"avx512", false, never, [] { return kEmulated || instructions().avx512; }, avx512::kernels},
    {"avx2", false, never, [] { return instructions().avx2; }, avx2::kernels},
#endif
    {"portable", false, never, [] { return true; }, portable::kernels},
    {nullptr, false, nullptr, nullptr, nullptr},
};

const Isa* chosen = nullptr;

std::string supportedNames() {
  std::string names;
  for (const Isa* isa = kIsas; isa->name; isa++) {
    if (isa->supported()) names += std::string(names.empty() ? "" : ", ") + isa->name;
  }
  return names;
}

}  // namespace

const Isa* allIsas() { return kIsas; }

void setIsa(const char* name) {
  for (const Isa* isa = kIsas; isa->name; isa++) {
    if (std::strcmp(isa->name, name) != 0) continue;
    if (!isa->supported()) break;
    chosen = isa;
    return;
  }
  throw std::runtime_error("instruction set must be one that this machine has (" + supportedNames() + "), got '" +
                           name + "'");
}

const Isa& currentIsa() {
  if (!chosen) {
    const char* wish = std::getenv("LOOPNN_ISA");
    if (wish && *wish) {
      setIsa(wish);
    } else {
      const Isa* isa = kIsas;
      while (!isa->supported()) isa++;
      chosen = isa;
    }
  }
  return *chosen;
}

}  // namespace loopnn
