/** How functions of the addon are listed and entered. */
#pragma once

#include "args.h"
#include "kernels.h"

namespace loopnn {

/** One function of the addon: called with exactly `arguments` arguments; returns null for undefined. */
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

/** Those of the instruction set in use. */
inline const Kernels& kernels() { return currentIsa().kernels(); }

}  // namespace loopnn
