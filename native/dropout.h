/** Dropout as kernels read it, from the host's numbers. */
#pragma once

#include "kernels.h"

namespace loopnn {

/** For 0 < p < 1. The threshold is ⌊p·2³²⌋: the conversion truncates. */
inline Dropout dropoutOf(double p, uint32_t key0, uint32_t key1, uint32_t firstSample) {
  return {key0, key1, firstSample, static_cast<uint32_t>(p * 4294967296.0), static_cast<float>(1 / (1 - p))};
}

}  // namespace loopnn
