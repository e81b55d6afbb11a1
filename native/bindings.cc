/**
 * Bindings besides the kernels: lengths that depend on the instruction set, and the machine's limit of multiply-adds.
 */
#include "bindings.h"

namespace loopnn {
namespace {

napi_value number(Call& call, double value) {
  napi_value result;
  napi_create_double(call.env(), value, &result);
  return result;
}

napi_value packedLength(Call& call) {
  const int64_t K = call.dim(0, "K"), N = call.dim(1, "N");
  return number(call, static_cast<double>(kernels().packedLength(K, N, call.flag(2, "bf16"))));
}

napi_value packedInt8Length(Call& call) {
  const int64_t K = call.dim(0, "K"), N = call.dim(1, "N");
  return number(call, static_cast<double>(kernels().packedInt8Length(K, N)));
}

napi_value cachePageLength(Call& call) {
  const int64_t KV = call.dim(0, "KV"), HS = call.dim(1, "HS");
  return number(call, static_cast<double>(kernels().cachePageLength(KV, HS, call.flag(2, "bf16"))));
}

/** Runs multiply-adds; returns the number of FLOPs. */
napi_value peakProducts(Call& call) {
  const int64_t iterations = static_cast<int64_t>(call.number(1, "iterations", 1, 1e6));
  const bool bf16 = call.flag(2, "bf16");
  return number(call, kernels().peakProducts(call.out(0, "out", {1}), iterations, bf16));
}

}  // namespace

const Binding kMeasureBindings[] = {
    {"packedLength", 3, packedLength},
    {"packedInt8Length", 2, packedInt8Length},
    {"cachePageLength", 3, cachePageLength},
    {"peakProducts", 3, peakProducts},
    {nullptr, 0, nullptr},
};

}  // namespace loopnn
