/** What kernels and the pool need from the operating system and the processor. */
#pragma once

#include <cstddef>

namespace loopnn {

/** Zeroed memory, aligned to 64 bytes; from 4 MiB on in huge pages where the system has them. Null if it is short. */
void* allocatePages(size_t bytes);
void freePages(void* memory, size_t bytes);

/**
 * The number of CPUs that this process may use: those of its affinity, at most its container's share of time, and at
 * least 1.
 */
int processors();

/** Keeps this library loaded until the process ends. */
void stayLoaded();

/** Instructions that the processor has and the system allows. */
struct Instructions {
  bool crc32, avx2, avx512, avx512bf16, amx;
  /**
   * Whether avx512bf16's products are faster than float32's. On AMD's processors they are twice as fast; Intel's start
   * one dot product a cycle against two multiply-adds, and a Xeon was measured at half of float32's rate.
   */
  bool fastDots;
};
const Instructions& instructions();

}  // namespace loopnn
