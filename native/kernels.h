/**
 * Every kernel, as a table of function pointers that each instruction set fills in. src/backend/kernel-table.ts says
 * what each kernel computes and names its arguments; src/backend/compiled/kernels.ts adds the kernels that only the
 * engines in C++ have. kernels.generated.h is made from both.
 *
 * It must not know JavaScript. Kernels check nothing: the bindings refuse wrong lengths, overlapping outputs and ids
 * out of range before a kernel runs.
 */
#pragma once

#include <cstdint>

namespace loopnn {

/** Counter-based dropout, as src/backend/memory/dropout.ts defines it: hash ≥ threshold keeps; `scale` = 1/(1 − p). */
struct Dropout {
  uint32_t key0, key1, firstSample, threshold;
  float scale;
};

/** Element-wise functions, in the order of ACTIVATIONS in src/backend/options.ts. */
enum class Activation : int32_t { kGeluNew, kGelu, kRelu, kRelu2, kSilu, kQuickGelu, kTanh, kSigmoid, kCount };

/** Forms of the loop update, in the order of LOOP_FORMS there: x + gate⊙f, or x + gate⊙(f − x). */
enum class LoopForm : int32_t { kOutput, kCorrection, kCount };

/** Positions in a page of the key/value cache. */
constexpr int64_t kPagePositions = 128;

}  // namespace loopnn

#include "kernels.generated.h"

namespace loopnn {

/** The kernels of the table, and the functions that are not kernels. */
struct Kernels : KernelTable {
  /** Floats that a weight (K, N) takes as `packWeight` and `packWeightInt8` pack it. */
  int64_t (*packedLength)(int64_t K, int64_t N, bool bf16);
  int64_t (*packedInt8Length)(int64_t K, int64_t N);
  /** Floats in a page of the key/value cache. */
  int64_t (*cachePageLength)(int64_t KV, int64_t HS, bool bf16);
  /** Multiply-adds without memory access; returns the FLOPs done. `out` keeps the compiler from removing the work. */
  double (*peakProducts)(float* out, int64_t iterations, bool bf16);
};

/** An instruction set: its name, how it multiplies bfloat16, whether the processor has it, its kernels. */
struct Isa {
  const char* name;
  bool bf16;  // itself, and not by way of float32
  /** Whether these products are faster than float32's. */
  bool (*fastBf16)();
  bool (*supported)();
  const Kernels& (*kernels)();
};

/** The set in use: LOOPNN_ISA, or the best that the processor has. Throws std::runtime_error as `setIsa`. */
const Isa& currentIsa();
/** Switches to the set called `name`; throws std::runtime_error if it is unknown or unsupported. */
void setIsa(const char* name);
/** The sets compiled in, best first, supported or not; ends with a null name. */
const Isa* allIsas();

}  // namespace loopnn
