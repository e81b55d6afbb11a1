/**
 * Every kernel, as a table of function pointers that each instruction set fills in.
 *
 * Dimensions: B batch, T time, R = B*T rows, C channels, NH heads, HS head size (C = NH*HS), V vocabulary,
 * K and N the input and output width of a linear layer, G gate elements (C or 1), n elements.
 * Arrays are dense and row-major; src/backend/backend.ts says what each kernel computes. Outputs come first.
 *
 * Knows no JavaScript. Nothing is checked here: args.h and addon.cc have refused wrong lengths, overlapping
 * outputs and ids out of range before a kernel runs.
 */
#pragma once

#include <cstdint>

namespace loopnn {

/** Counter-based dropout (host.ts has the definition); `scale` = 1/(1 - p), an element with hash >= threshold stays. */
struct Dropout {
  uint32_t key0, key1, firstSample, threshold;
  float scale;
};

/** One AdamW update; rest = 1 - beta and the bias corrections 1 - beta^step come rounded from double precision. */
struct AdamW {
  float lr, beta1, rest1, beta2, rest2, eps, weightDecay, gradScale, correction1, correction2;
};

/** Element-wise functions, numbered as src/backend/backend.ts lists them. */
enum class Activation : int32_t { kGelu, kRelu, kTanh, kSigmoid, kCount };

/** Positions in a page of the key/value cache. */
constexpr int64_t kPagePositions = 128;

struct Kernels {
  // element-wise
  void (*fill)(float* dst, float value, int64_t n);
  void (*copy)(float* dst, const float* src, int64_t n);
  void (*add)(float* out, const float* a, const float* b, int64_t n);
  void (*activationForward)(float* out, const float* inp, int64_t n, Activation);
  void (*activationBackward)(float* dinp, const float* dout, const float* inp, int64_t n, Activation, bool accumulate);
  void (*dropout)(float* out, const float* inp, int64_t R, int64_t C, int64_t T, const Dropout&, bool accumulate);
  void (*gatedResidualForward)(float* out, const float* x, const float* f, const float* gate, int64_t R, int64_t C,
                               int64_t G, bool correction);
  void (*gatedResidualBackward)(float* dx, float* df, float* dgate, const float* dout, const float* x,
                                const float* f, const float* gate, int64_t R, int64_t C, int64_t G,
                                bool correction, bool accumulateX, bool accumulateF);
  // rows; `a` or `b` of selectRows may be null for zeros, an output of scaleRowsBackward may be null
  void (*selectRows)(float* out, const int32_t* mask, const float* a, const float* b, int64_t R, int64_t C,
                     bool accumulate);
  void (*scaleRowsForward)(float* out, const float* inp, const float* scale, int64_t R, int64_t C, bool accumulate);
  void (*scaleRowsBackward)(float* dinp, float* dscale, const float* dout, const float* inp, const float* scale,
                            int64_t R, int64_t C, bool accumulate);
  void (*copyColumns)(float* out, const float* inp, int64_t R, int64_t C, int64_t first, int64_t count, bool accumulate);
  void (*gatherRows)(float* out, const float* inp, const int32_t* index, int64_t N, int64_t C);
  void (*scatterRows)(float* out, const float* inp, const int32_t* index, int64_t N, int64_t C);
  // exits; `before` may be null; `rows` are the N rows of `former` that those of `logits` are compared with, null for all
  void (*rowChange)(float* out, const float* x, const float* former, const float* before, int64_t R, int64_t C);
  void (*rowEntropy)(float* out, const float* logits, int64_t R, int64_t V);
  void (*rowDivergence)(float* out, const float* logits, const float* former, const int32_t* rows, int64_t N, int64_t V);
  // embedding; `wpe` and `dwpe` may be null
  void (*embeddingForward)(float* out, const int32_t* tokens, const int32_t* positions, const float* wte,
                           const float* wpe, int64_t R, int64_t C);
  void (*embeddingBackward)(float* dwte, float* dwpe, const float* dout, const int32_t* tokens,
                            const int32_t* positions, int64_t R, int64_t C);
  // layer norm
  void (*layernormForward)(float* out, float* mean, float* rstd, const float* inp, const float* weight,
                           const float* bias, int64_t R, int64_t C);
  void (*layernormBackward)(float* dinp, float* dweight, float* dbias, const float* dout, const float* inp,
                            const float* weight, const float* mean, const float* rstd, int64_t R, int64_t C,
                            bool accumulate);
  // linear; a weight is read as `packWeight` has packed it, into packedLength floats
  int64_t (*packedLength)(int64_t K, int64_t N, bool bf16);
  void (*packWeight)(float* packed, const float* weight, int64_t K, int64_t N, bool transposed, bool bf16);
  void (*linear)(float* out, const float* inp, const float* packed, const float* bias, int64_t R, int64_t K,
                 int64_t N, bool accumulate, bool bf16);
  void (*linearBackwardWeight)(float* dweight, float* dbias, const float* dout, const float* inp, int64_t R,
                               int64_t K, int64_t N, bool bf16);
  // linear with a weight in int8 of packedInt8Length floats, see int8.h
  int64_t (*packedInt8Length)(int64_t K, int64_t N);
  void (*packWeightInt8)(float* packed, const float* weight, int64_t K, int64_t N, bool transposed);
  void (*linearInt8)(float* out, const float* inp, const float* packed, const float* bias, int64_t R, int64_t K,
                     int64_t N);
  // attention; `dropout` may be null; `rows` are N ascending queries b·T + t with a row of `out` each, null for all
  void (*attentionForward)(float* out, float* lse, const float* qkv, const int32_t* rows, int64_t N, int64_t B,
                           int64_t T, int64_t NH, int64_t HS, const Dropout* dropout, bool bf16);
  void (*attentionBackward)(float* dqkv, const float* dout, const float* out, const float* lse, const float* qkv,
                            int64_t B, int64_t T, int64_t NH, int64_t HS, const Dropout* dropout, bool accumulate,
                            bool bf16);
  // attention over a cache of pages of cachePageLength floats each; `table` (S, width) holds for each sequence the number of
  // its rows, its past positions, and its pages; `rows` and N as above
  int64_t (*cachePageLength)(int64_t NH, int64_t HS, bool bf16);
  void (*cachedAttention)(float* out, float* cache, const float* qkv, const int32_t* table, int64_t S, int64_t width,
                          const int32_t* rows, int64_t N, int64_t NH, int64_t HS, bool bf16);
  // head; `argmax` and `maxProb` may be null, `dinp` null asks for no gradients
  void (*head)(float* loss, int32_t* argmax, float* maxProb, float* dinp, float* dweight, const float* inp,
               const float* packed, const float* packedTransposed, const int32_t* targets, const float* rowWeights,
               int64_t R, int64_t C, int64_t V, bool bf16);
  // the same without gradients, from a weight in int8
  void (*headInt8)(float* loss, int32_t* argmax, float* maxProb, const float* inp, const float* packed,
                   const int32_t* targets, int64_t R, int64_t C, int64_t V);
  // optimizer
  void (*adamw)(float* param, const float* grad, float* m, float* v, int64_t n, const AdamW&);
  void (*sumSquares)(float* out, const float* inp, int64_t n);
  // the machine's limits: the FLOPs that were done, and a sum over whole cache lines; `out` keeps the work alive
  double (*peakProducts)(float* out, int64_t iterations, bool bf16);
  void (*peakRead)(float* out, const float* inp, int64_t n);
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
