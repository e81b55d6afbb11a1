/** Dropout as kernels take it, from the numbers that the host has. */
#pragma once

#include "kernels.h"

namespace loopnn {

/** For 0 < p < 1. The conversion cuts off the fraction. */
inline Dropout dropoutOf(double p, uint32_t key0, uint32_t key1, uint32_t firstSample) {
  return {key0, key1, firstSample, static_cast<uint32_t>(p * 4294967296.0), static_cast<float>(1 / (1 - p))};
}

}  // namespace loopnn
