/**
 * Every kernel, as a table of function pointers that each instruction set fills in. src/backend/kernel-table.ts says
 * what each computes and names its arguments, of which kernels.generated.h is made; src/backend/compiled/kernels.ts has
 * those that only this engine has.
 *
 * Knows no JavaScript. Nothing is checked here: the bindings have refused wrong lengths, overlapping outputs and ids
 * out of range before a kernel runs.
 */
#pragma once

#include <cstdint>

namespace loopnn {

/** Counter-based dropout (host.ts has the definition); `scale` = 1/(1 - p), an element with hash >= threshold stays. */
struct Dropout {
  uint32_t key0, key1, firstSample, threshold;
  float scale;
};

/** Element-wise functions, numbered as src/backend/options.ts lists them. */
enum class Activation : int32_t { kGeluNew, kGelu, kRelu, kRelu2, kSilu, kQuickGelu, kTanh, kSigmoid, kCount };

/** Readings of the loop update, numbered likewise: x + gate⊙f, or x + gate⊙(f − x). */
enum class LoopForm : int32_t { kOutput, kCorrection, kCount };

/** Positions in a page of the key/value cache. */
constexpr int64_t kPagePositions = 128;

}  // namespace loopnn

#include "kernels.generated.h"

namespace loopnn {

/** The kernels of the table, and what they need that is not a kernel. */
struct Kernels : KernelTable {
  /** Floats that a weight (K, N) takes as `packWeight` and `packWeightInt8` pack it. */
  int64_t (*packedLength)(int64_t K, int64_t N, bool bf16);
  int64_t (*packedInt8Length)(int64_t K, int64_t N);
  /** Floats in a page of the key/value cache. */
  int64_t (*cachePageLength)(int64_t KV, int64_t HS, bool bf16);
  /** Multiply-adds that wait for no memory: the FLOPs done; `out` keeps the work alive. */
  double (*peakProducts)(float* out, int64_t iterations, bool bf16);
};

/** One instruction set: its name, whether it multiplies bfloat16 itself, what the processor must have, its kernels. */
struct Isa {
  const char* name;
  bool bf16;
  bool (*supported)();
  const Kernels& (*kernels)();
};

/** The set in use; `LOOPNN_ISA` or the best one the processor has. Throws std::runtime_error on an impossible wish. */
const Isa& currentIsa();
/** Switches to the set called `name`; throws std::runtime_error when it is unknown or unsupported. */
void setIsa(const char* name);
/** The sets compiled in, best first, supported or not; ends with a null name. */
const Isa* allIsas();

}  // namespace loopnn
