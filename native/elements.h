/** Parallel loops with the same work for all elements of an array, or for all its rows. */
#pragma once

#include "vec.h"

namespace loopnn {
namespace LOOPNN_ISA {

constexpr int64_t kBlock = 8192;  // elements in a task

/** body(i, left) for every vector of [0, n): it starts at i, and left ≥ 1 elements remain. */
template <class Body>
LOOPNN_INLINE void forEachVector(int64_t n, Body body) {
  parallel(ceilDiv(n, kBlock), [&](int64_t task, int) {
    const int64_t end = min((task + 1) * kBlock, n);
    for (int64_t i = task * kBlock; i < end; i += W) body(i, end - i);
  });
}

/** body(r) for each of R rows of `width` floats. */
template <class Body>
LOOPNN_INLINE void forEachRow(int64_t R, int64_t width, Body body) {
  const int64_t rows = max(1, kBlock / width);
  parallel(ceilDiv(R, rows), [&](int64_t task, int) {
    for (int64_t r = task * rows; r < min((task + 1) * rows, R); r++) body(r);
  });
}

}  // namespace LOOPNN_ISA
}  // namespace loopnn
