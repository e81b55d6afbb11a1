/** The lists of the addon's functions. */
#pragma once

#include "args.h"
#include "kernels.h"

namespace loopnn {

/** One function of the addon. It takes exactly `arguments` arguments, and returns null for undefined. */
struct Binding {
  const char* name;
  size_t arguments;
  napi_value (*run)(Call&);
};

/**
 * The kernels (generated from their table), lengths and limits, memory and checksums; each list ends with a null name.
 */
extern const Binding kKernelBindings[];
extern const Binding kMeasureBindings[];
extern const Binding kMemoryBindings[];
extern const Binding kChecksumBindings[];

/** The kernels of the instruction set in use. */
inline const Kernels& kernels() { return currentIsa().kernels(); }

}  // namespace loopnn
