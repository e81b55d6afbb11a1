/** How functions of the addon are listed and entered. */
#pragma once

#include "args.h"

namespace loopnn {

/** One function of the addon: called with exactly `arguments` arguments; returns null for undefined. */
struct Binding {
  const char* name;
  size_t arguments;
  napi_value (*run)(Call&);
};

/** The kernels, and the functions for memory; each list ends with a null name. */
extern const Binding kKernelBindings[];
extern const Binding kMemoryBindings[];

}  // namespace loopnn
