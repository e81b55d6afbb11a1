/** What kernels and the pool need from the operating system and the processor. */
#pragma once

#include <cstddef>

namespace loopnn {

/** 64-byte-aligned zeroed memory; from 4 MiB on in huge pages where the system has them. Null when short. */
void* allocatePages(size_t bytes);
void freePages(void* memory, size_t bytes);

/**
 * CPUs that this process may use: those of its affinity, and not more than its container's share of time. At least 1.
 */
int processors();

/** Keeps this library loaded until the process ends. */
void stayLoaded();

/** Instructions that the processor has and the system allows. */
struct Instructions {
  bool crc32, avx2, avx512, avx512bf16;
  /**
   * Whether bf16 products are faster than float32's: twice as fast on AMD's processors; on Intel's one dot product a
   * cycle stands against two multiply-adds, and an Xeon was measured at half of float32's rate.
   */
  bool fastBf16;
};
const Instructions& instructions();

}  // namespace loopnn
