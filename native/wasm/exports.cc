/** The module's exports besides the kernels: memory, lengths and threads. The host checks every argument. */
#include "host.h"
#include "kernels.h"
#include "pool.h"
#include "system.h"

namespace loopnn {
namespace LOOPNN_ISA {
const Kernels& kernels();
}

using LOOPNN_ISA::kernels;

/** Zeroed memory; null if it is short. */
LOOPNN_EXPORT(allocate) void* allocate(uint32_t bytes) { return allocatePages(bytes); }
LOOPNN_EXPORT(free) void release(void* memory) { freePages(memory, 0); }

LOOPNN_EXPORT(packedLength) double packedLength(int32_t K, int32_t N, int32_t bf16) {
  return static_cast<double>(kernels().packedLength(K, N, bf16));
}
LOOPNN_EXPORT(packedInt8Length) double packedInt8Length(int32_t K, int32_t N) {
  return static_cast<double>(kernels().packedInt8Length(K, N));
}
LOOPNN_EXPORT(cachePageLength) double cachePageLength(int32_t KV, int32_t HS, int32_t bf16) {
  return static_cast<double>(kernels().cachePageLength(KV, HS, bf16));
}

/** Runs multiply-adds; returns the number of FLOPs. */
LOOPNN_EXPORT(peakProducts) double peakProducts(float* out, int32_t iterations, int32_t bf16) {
  return kernels().peakProducts(out, iterations, bf16);
}

LOOPNN_EXPORT(setThreads) void setThreads(int32_t threads) { setThreadCount(threads); }

}  // namespace loopnn
