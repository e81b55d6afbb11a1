/** Loops over arrays whose elements are all treated alike. */
#pragma once

#include "vec.h"

namespace loopnn {
namespace LOOPNN_ISA {

constexpr int64_t kBlock = 8192;  // elements in a task

/** body(i, n) for every vector of [0, n): it starts at i and has n ≥ 1 elements left. */
template <class Body>
LOOPNN_INLINE void forEachVector(int64_t n, Body body) {
  parallel(ceilDiv(n, kBlock), [&](int64_t task, int) {
    const int64_t end = min((task + 1) * kBlock, n);
    for (int64_t i = task * kBlock; i < end; i += W) body(i, end - i);
  });
}

}  // namespace LOOPNN_ISA
}  // namespace loopnn
