/**
 * One binding for each kernel: reads the arguments, checks them all, calls the kernel. Arguments come in the order
 * of src/backend/backend.ts with dimensions and options spread into numbers at the end.
 */
#include "bindings.h"

#include <cmath>

#include "kernels.h"

namespace loopnn {
namespace {

constexpr double kHuge = 3e38;

/** Dropout as five numbers p, key0, key1, firstSample from `index` on. */
Dropout readDropout(Call& call, size_t index) {
  const double p = call.number(index, "p", 0, 1);
  if (!(p > 0 && p < 1)) throw Refusal{"NativeError", "argument 'p' must lie between 0 and 1", "", p, true};
  return {call.word(index + 1, "key[0]"), call.word(index + 2, "key[1]"), call.word(index + 3, "firstSample"),
          static_cast<uint32_t>(std::floor(p * 4294967296.0)), static_cast<float>(1 / (1 - p))};
}

/** The same where `p` may be null: no dropout. */
const Dropout* readOptionalDropout(Call& call, size_t index, Dropout& store) {
  if (call.isNull(index)) return nullptr;
  store = readDropout(call, index);
  return &store;
}

napi_value fill(Call& call) {
  const int64_t n = call.length(0, "dst");
  float* dst = call.out(0, "dst", {n});
  double value;
  if (napi_get_value_double(call.env(), call.value(1), &value) != napi_ok) {
    throw Refusal{"NativeError", "argument 'value' must be a number", ""};
  }
  kernels().fill(dst, static_cast<float>(value), n);
  return nullptr;
}

napi_value copy(Call& call) {
  const int64_t n = call.length(0, "dst");
  float* dst = call.out(0, "dst", {n});
  const float* src = call.in(1, "src", {n});
  call.noOverlap();
  kernels().copy(dst, src, n);
  return nullptr;
}

napi_value add(Call& call) {
  const int64_t n = call.length(0, "out");
  float* out = call.out(0, "out", {n});
  const float* a = call.in(1, "a", {n});
  const float* b = call.in(2, "b", {n});
  call.noOverlap(true);
  kernels().add(out, a, b, n);
  return nullptr;
}

Activation readActivation(Call& call, size_t index) {
  const int64_t kind = call.dim(index, "activation", 0);
  if (kind >= static_cast<int64_t>(Activation::kCount)) {
    throw Refusal{"NativeError", "argument 'activation' must be the number of one", "", static_cast<double>(kind), true};
  }
  return static_cast<Activation>(kind);
}

napi_value activationForward(Call& call) {
  const int64_t n = call.length(0, "out");
  const Activation kind = readActivation(call, 2);
  float* out = call.out(0, "out", {n});
  const float* inp = call.in(1, "inp", {n});
  call.noOverlap();
  kernels().activationForward(out, inp, n, kind);
  return nullptr;
}

napi_value activationBackward(Call& call) {
  const int64_t n = call.length(0, "dinp");
  const Activation kind = readActivation(call, 3);
  const bool accumulate = call.flag(4, "accumulate");
  float* dinp = call.out(0, "dinp", {n});
  const float* dout = call.in(1, "dout", {n});
  const float* inp = call.in(2, "inp", {n});
  call.noOverlap();
  kernels().activationBackward(dinp, dout, inp, n, kind, accumulate);
  return nullptr;
}

napi_value dropout(Call& call) {
  const int64_t R = call.dim(2, "R", 0), C = call.dim(3, "C"), T = call.dim(4, "T");
  const Dropout drop = readDropout(call, 5);
  const bool accumulate = call.flag(9, "accumulate");
  float* out = call.out(0, "out", {R, C});
  const float* inp = call.in(1, "inp", {R, C});
  call.noOverlap();
  kernels().dropout(out, inp, R, C, T, drop, accumulate);
  return nullptr;
}

/** Elements of a gate over C channels: C or 1. */
int64_t readGateSize(Call& call, size_t index, int64_t C) {
  const int64_t G = call.dim(index, "G");
  if (G != 1 && G != C) {
    throw Refusal{"ShapeError", "argument 'G' must be 1 or " + std::to_string(C), "", static_cast<double>(G), true};
  }
  return G;
}

napi_value gatedResidualForward(Call& call) {
  const int64_t R = call.dim(4, "R", 0), C = call.dim(5, "C"), G = readGateSize(call, 6, C);
  const bool correction = call.flag(7, "correction");
  float* out = call.out(0, "out", {R, C});
  const float* x = call.in(1, "x", {R, C});
  const float* f = call.in(2, "f", {R, C});
  const float* gate = call.in(3, "gate", {G});
  call.noOverlap();
  kernels().gatedResidualForward(out, x, f, gate, R, C, G, correction);
  return nullptr;
}

napi_value gatedResidualBackward(Call& call) {
  const int64_t R = call.dim(7, "R", 0), C = call.dim(8, "C"), G = readGateSize(call, 9, C);
  const bool correction = call.flag(10, "correction");
  const bool accumulateX = call.flag(11, "accumulateX"), accumulateF = call.flag(12, "accumulateF");
  float* dx = call.out(0, "dx", {R, C});
  float* df = call.out(1, "df", {R, C});
  float* dgate = call.out(2, "dgate", {G});
  const float* dout = call.in(3, "dout", {R, C});
  const float* x = call.in(4, "x", {R, C});
  const float* f = call.in(5, "f", {R, C});
  const float* gate = call.in(6, "gate", {G});
  call.noOverlap();
  kernels().gatedResidualBackward(dx, df, dgate, dout, x, f, gate, R, C, G, correction, accumulateX, accumulateF);
  return nullptr;
}

napi_value embeddingForward(Call& call) {
  const int64_t R = call.dim(5, "R", 0), C = call.dim(6, "C");
  const int64_t V = call.rows(3, "wte", C), P = call.isNull(4) ? 0 : call.rows(4, "wpe", C);
  float* out = call.out(0, "out", {R, C});
  const int32_t* tokens = call.inInts(1, "tokens", {R});
  const int32_t* positions = call.inInts(2, "positions", {R});
  const float* wte = call.in(3, "wte", {V, C});
  const float* wpe = P ? call.in(4, "wpe", {P, C}) : nullptr;
  call.noOverlap();
  call.ids(tokens, R, "tokens", 0, V);
  if (P) call.ids(positions, R, "positions", 0, P);
  kernels().embeddingForward(out, tokens, positions, wte, wpe, R, C);
  return nullptr;
}

napi_value embeddingBackward(Call& call) {
  const int64_t R = call.dim(5, "R", 0), C = call.dim(6, "C");
  const int64_t V = call.rows(0, "dwte", C), P = call.isNull(1) ? 0 : call.rows(1, "dwpe", C);
  float* dwte = call.out(0, "dwte", {V, C});
  float* dwpe = P ? call.out(1, "dwpe", {P, C}) : nullptr;
  const float* dout = call.in(2, "dout", {R, C});
  const int32_t* tokens = call.inInts(3, "tokens", {R});
  const int32_t* positions = call.inInts(4, "positions", {R});
  call.noOverlap();
  call.ids(tokens, R, "tokens", 0, V);
  if (P) call.ids(positions, R, "positions", 0, P);
  kernels().embeddingBackward(dwte, dwpe, dout, tokens, positions, R, C);
  return nullptr;
}

napi_value layernormForward(Call& call) {
  const int64_t R = call.dim(6, "R", 0), C = call.dim(7, "C");
  float* out = call.out(0, "out", {R, C});
  float* mean = call.out(1, "mean", {R});
  float* rstd = call.out(2, "rstd", {R});
  const float* inp = call.in(3, "inp", {R, C});
  const float* weight = call.in(4, "weight", {C});
  const float* bias = call.isNull(5) ? nullptr : call.in(5, "bias", {C});
  call.noOverlap();
  kernels().layernormForward(out, mean, rstd, inp, weight, bias, R, C);
  return nullptr;
}

napi_value layernormBackward(Call& call) {
  const int64_t R = call.dim(8, "R", 0), C = call.dim(9, "C");
  const bool accumulate = call.flag(10, "accumulate");
  float* dinp = call.out(0, "dinp", {R, C});
  float* dweight = call.out(1, "dweight", {C});
  float* dbias = call.isNull(2) ? nullptr : call.out(2, "dbias", {C});
  const float* dout = call.in(3, "dout", {R, C});
  const float* inp = call.in(4, "inp", {R, C});
  const float* weight = call.in(5, "weight", {C});
  const float* mean = call.in(6, "mean", {R});
  const float* rstd = call.in(7, "rstd", {R});
  call.noOverlap();
  kernels().layernormBackward(dinp, dweight, dbias, dout, inp, weight, mean, rstd, R, C, accumulate);
  return nullptr;
}

/** A weight (K, N) that packWeight has packed. */
const float* readPacked(Call& call, size_t index, const char* name, int64_t K, int64_t N, bool bf16) {
  return call.in(index, name, {kernels().packedLength(K, N, bf16)});
}

napi_value packedLength(Call& call) {
  const int64_t K = call.dim(0, "K"), N = call.dim(1, "N");
  const bool bf16 = call.flag(2, "bf16");
  napi_value length;
  napi_create_int64(call.env(), kernels().packedLength(K, N, bf16), &length);
  return length;
}

napi_value packWeight(Call& call) {
  const int64_t K = call.dim(2, "K"), N = call.dim(3, "N");
  const bool transposed = call.flag(4, "transposed"), bf16 = call.flag(5, "bf16");
  float* packed = call.out(0, "packed", {kernels().packedLength(K, N, bf16)});
  const float* weight = call.in(1, "weight", {K, N});
  call.noOverlap();
  kernels().packWeight(packed, weight, K, N, transposed, bf16);
  return nullptr;
}

/** A weight (K, N) that packWeightInt8 has packed. */
const float* readInt8(Call& call, size_t index, int64_t K, int64_t N) {
  return call.in(index, "packed", {kernels().packedInt8Length(K, N)});
}

napi_value packedInt8Length(Call& call) {
  const int64_t K = call.dim(0, "K"), N = call.dim(1, "N");
  napi_value length;
  napi_create_int64(call.env(), kernels().packedInt8Length(K, N), &length);
  return length;
}

napi_value packWeightInt8(Call& call) {
  const int64_t K = call.dim(2, "K"), N = call.dim(3, "N");
  const bool transposed = call.flag(4, "transposed");
  float* packed = call.out(0, "packed", {kernels().packedInt8Length(K, N)});
  const float* weight = call.in(1, "weight", {K, N});
  call.noOverlap();
  kernels().packWeightInt8(packed, weight, K, N, transposed);
  return nullptr;
}

napi_value linearInt8(Call& call) {
  const int64_t R = call.dim(4, "R", 0), K = call.dim(5, "K"), N = call.dim(6, "N");
  float* out = call.out(0, "out", {R, N});
  const float* inp = call.in(1, "inp", {R, K});
  const float* packed = readInt8(call, 2, K, N);
  const float* bias = call.isNull(3) ? nullptr : call.in(3, "bias", {N});
  call.noOverlap();
  kernels().linearInt8(out, inp, packed, bias, R, K, N);
  return nullptr;
}

napi_value linearForward(Call& call) {
  const int64_t R = call.dim(4, "R", 0), K = call.dim(5, "K"), N = call.dim(6, "N");
  const bool bf16 = call.flag(7, "bf16");
  float* out = call.out(0, "out", {R, N});
  const float* inp = call.in(1, "inp", {R, K});
  const float* packed = readPacked(call, 2, "packed", K, N, bf16);
  const float* bias = call.isNull(3) ? nullptr : call.in(3, "bias", {N});
  call.noOverlap();
  kernels().linear(out, inp, packed, bias, R, K, N, false, bf16);
  return nullptr;
}

napi_value linearBackwardInput(Call& call) {
  const int64_t R = call.dim(3, "R", 0), K = call.dim(4, "K"), N = call.dim(5, "N");
  const bool accumulate = call.flag(6, "accumulate"), bf16 = call.flag(7, "bf16");
  float* dinp = call.out(0, "dinp", {R, K});
  const float* dout = call.in(1, "dout", {R, N});
  const float* packed = readPacked(call, 2, "packed", N, K, bf16);
  call.noOverlap();
  kernels().linear(dinp, dout, packed, nullptr, R, N, K, accumulate, bf16);
  return nullptr;
}

napi_value linearBackwardWeight(Call& call) {
  const int64_t R = call.dim(4, "R", 0), K = call.dim(5, "K"), N = call.dim(6, "N");
  const bool bf16 = call.flag(7, "bf16");
  float* dweight = call.out(0, "dweight", {K, N});
  float* dbias = call.isNull(1) ? nullptr : call.out(1, "dbias", {N});
  const float* dout = call.in(2, "dout", {R, N});
  const float* inp = call.in(3, "inp", {R, K});
  call.noOverlap();
  kernels().linearBackwardWeight(dweight, dbias, dout, inp, R, K, N, bf16);
  return nullptr;
}

napi_value attentionForward(Call& call) {
  const int64_t N = call.dim(4, "N", 0), B = call.dim(5, "B", 0), T = call.dim(6, "T");
  const int64_t NH = call.dim(7, "NH"), HS = call.dim(8, "HS");
  Dropout store;
  const Dropout* drop = readOptionalDropout(call, 9, store);
  const bool bf16 = call.flag(13, "bf16");
  const bool some = !call.isNull(3);
  float* out = call.out(0, "out", {some ? N : B * T, NH, HS});
  float* lse = call.out(1, "lse", {B, NH, T});
  const float* qkv = call.in(2, "qkv", {B, T, 3, NH, HS});
  const int32_t* rows = some ? readRows(call, 3, "rows", N, B * T) : nullptr;
  call.noOverlap();
  if (some && N == 0) return nullptr;  // an empty array has no address, and null would mean all
  kernels().attentionForward(out, lse, qkv, rows, N, B, T, NH, HS, drop, bf16);
  return nullptr;
}

napi_value attentionBackward(Call& call) {
  const int64_t B = call.dim(5, "B", 0), T = call.dim(6, "T"), NH = call.dim(7, "NH"), HS = call.dim(8, "HS");
  Dropout store;
  const Dropout* drop = readOptionalDropout(call, 9, store);
  const bool accumulate = call.flag(13, "accumulate"), bf16 = call.flag(14, "bf16");
  float* dqkv = call.out(0, "dqkv", {B, T, 3, NH, HS});
  const float* dout = call.in(1, "dout", {B, T, NH, HS});
  const float* out = call.in(2, "out", {B, T, NH, HS});
  const float* lse = call.in(3, "lse", {B, NH, T});
  const float* qkv = call.in(4, "qkv", {B, T, 3, NH, HS});
  call.noOverlap();
  kernels().attentionBackward(dqkv, dout, out, lse, qkv, B, T, NH, HS, drop, accumulate, bf16);
  return nullptr;
}

napi_value cachePageLength(Call& call) {
  const int64_t NH = call.dim(0, "NH"), HS = call.dim(1, "HS");
  const bool bf16 = call.flag(2, "bf16");
  napi_value length;
  napi_create_int64(call.env(), kernels().cachePageLength(NH, HS, bf16), &length);
  return length;
}

/** A table of S sequences whose rows add up to R, and whose positions lie in pages that exist. */
const int32_t* readTable(Call& call, size_t index, int64_t S, int64_t width, int64_t R, int64_t pages) {
  const int32_t* table = call.inInts(index, "table", {S, width});
  int64_t rows = 0;
  for (int64_t s = 0; s < S; s++) {
    const int32_t* entry = table + s * width;
    const int64_t end = int64_t{entry[0]} + entry[1], used = (end + kPagePositions - 1) / kPagePositions;
    if (entry[0] < 0 || entry[1] < 0 || used > width - 2) {
      throw Refusal{"ShapeError", "argument 'table' must give each sequence whole numbers of positions, and pages for them",
                    "", static_cast<double>(s), true};
    }
    call.ids(entry + 2, used, "table", 0, pages);
    rows += entry[0];
  }
  if (rows == R) return table;
  throw Refusal{"ShapeError", "argument 'table' must give the sequences " + std::to_string(R) + " rows in all", "",
                static_cast<double>(rows), true};
}

napi_value cachedAttention(Call& call) {
  const int64_t N = call.dim(5, "N", 0), R = call.dim(6, "R", 0), S = call.dim(7, "S", 0), width = call.dim(8, "width", 2);
  const int64_t NH = call.dim(9, "NH"), HS = call.dim(10, "HS");
  const bool bf16 = call.flag(11, "bf16"), some = !call.isNull(4);
  const int64_t pageLength = kernels().cachePageLength(NH, HS, bf16), pages = call.rows(1, "cache", pageLength);
  float* out = call.out(0, "out", {some ? N : R, NH, HS});
  float* cache = call.out(1, "cache", {pages, pageLength});
  const float* qkv = call.in(2, "qkv", {R, 3, NH, HS});
  const int32_t* table = readTable(call, 3, S, width, R, pages);
  const int32_t* rows = some ? readRows(call, 4, "rows", N, R) : nullptr;
  call.noOverlap();
  const int32_t none = 0;  // an empty array has no address, and null would mean all
  kernels().cachedAttention(out, cache, qkv, table, S, width, some && N == 0 ? &none : rows, N, NH, HS, bf16);
  return nullptr;
}

napi_value logits(Call& call) {
  const int64_t R = call.dim(3, "R", 0), C = call.dim(4, "C"), V = call.dim(5, "V");
  const bool bf16 = call.flag(6, "bf16");
  float* out = call.out(0, "out", {R, V});
  const float* inp = call.in(1, "inp", {R, C});
  const float* packed = readPacked(call, 2, "packed", C, V, bf16);
  call.noOverlap();
  kernels().linear(out, inp, packed, nullptr, R, C, V, false, bf16);
  return nullptr;
}

napi_value headForward(Call& call) {
  const int64_t R = call.dim(6, "R", 0), C = call.dim(7, "C"), V = call.dim(8, "V");
  const bool bf16 = call.flag(9, "bf16");
  float* loss = call.out(0, "loss", {R});
  int32_t* argmax = call.isNull(1) ? nullptr : call.outInts(1, "argmax", {R});
  float* maxProb = call.isNull(2) ? nullptr : call.out(2, "maxProb", {R});
  const float* inp = call.in(3, "inp", {R, C});
  const float* packed = readPacked(call, 4, "packed", C, V, bf16);
  const int32_t* targets = call.inInts(5, "targets", {R});
  call.noOverlap();
  call.ids(targets, R, "targets", -1, V);
  kernels().head(loss, argmax, maxProb, nullptr, nullptr, inp, packed, nullptr, targets, nullptr, R, C, V, bf16);
  return nullptr;
}

napi_value headInt8(Call& call) {
  const int64_t R = call.dim(6, "R", 0), C = call.dim(7, "C"), V = call.dim(8, "V");
  float* loss = call.out(0, "loss", {R});
  int32_t* argmax = call.isNull(1) ? nullptr : call.outInts(1, "argmax", {R});
  float* maxProb = call.isNull(2) ? nullptr : call.out(2, "maxProb", {R});
  const float* inp = call.in(3, "inp", {R, C});
  const float* packed = readInt8(call, 4, C, V);
  const int32_t* targets = call.inInts(5, "targets", {R});
  call.noOverlap();
  call.ids(targets, R, "targets", -1, V);
  kernels().headInt8(loss, argmax, maxProb, inp, packed, targets, R, C, V);
  return nullptr;
}

napi_value headForwardBackward(Call& call) {
  const int64_t R = call.dim(10, "R", 0), C = call.dim(11, "C"), V = call.dim(12, "V");
  const bool bf16 = call.flag(13, "bf16");
  float* loss = call.out(0, "loss", {R});
  int32_t* argmax = call.isNull(1) ? nullptr : call.outInts(1, "argmax", {R});
  float* maxProb = call.isNull(2) ? nullptr : call.out(2, "maxProb", {R});
  float* dinp = call.out(3, "dinp", {R, C});
  float* dweight = call.out(4, "dweight", {V, C});
  const float* inp = call.in(5, "inp", {R, C});
  const float* packed = readPacked(call, 6, "packed", C, V, bf16);
  const float* packedTransposed = readPacked(call, 7, "packedTransposed", V, C, bf16);
  const int32_t* targets = call.inInts(8, "targets", {R});
  const float* rowWeights = call.in(9, "rowWeights", {R});
  call.noOverlap();
  call.ids(targets, R, "targets", -1, V);
  kernels().head(loss, argmax, maxProb, dinp, dweight, inp, packed, packedTransposed, targets, rowWeights, R, C, V,
                 bf16);
  return nullptr;
}

napi_value adamw(Call& call) {
  const int64_t n = call.length(0, "param");
  const double lr = call.number(4, "lr", -kHuge, kHuge);
  const double beta1 = call.number(5, "beta1", 0, 1), beta2 = call.number(6, "beta2", 0, 1);
  const double eps = call.number(7, "eps", 0, kHuge), weightDecay = call.number(8, "weightDecay", -kHuge, kHuge);
  const double step = static_cast<double>(call.dim(9, "step"));
  const double gradScale = call.number(10, "gradScale", -kHuge, kHuge);
  float* param = call.out(0, "param", {n});
  float* m = call.out(1, "m", {n});
  float* v = call.out(2, "v", {n});
  const float* grad = call.in(3, "grad", {n});
  call.noOverlap();
  const AdamW options = {static_cast<float>(lr),
                         static_cast<float>(beta1),
                         static_cast<float>(1 - beta1),
                         static_cast<float>(beta2),
                         static_cast<float>(1 - beta2),
                         static_cast<float>(eps),
                         static_cast<float>(weightDecay),
                         static_cast<float>(gradScale),
                         static_cast<float>(1 - std::pow(beta1, step)),
                         static_cast<float>(1 - std::pow(beta2, step))};
  kernels().adamw(param, grad, m, v, n, options);
  return nullptr;
}

napi_value sumSquares(Call& call) {
  const int64_t n = call.length(1, "inp");
  float* out = call.out(0, "out", {1});
  const float* inp = call.in(1, "inp", {n});
  call.noOverlap();
  kernels().sumSquares(out, inp, n);
  return nullptr;
}

/** FLOPs done. */
napi_value peakProducts(Call& call) {
  const int64_t iterations = static_cast<int64_t>(call.number(1, "iterations", 1, 1e6));
  const bool bf16 = call.flag(2, "bf16");
  float* out = call.out(0, "out", {1});
  napi_value flops;
  napi_create_double(call.env(), kernels().peakProducts(out, iterations, bf16), &flops);
  return flops;
}

napi_value peakRead(Call& call) {
  const int64_t n = call.length(1, "inp");
  float* out = call.out(0, "out", {1});
  const float* inp = call.in(1, "inp", {n});
  call.noOverlap();
  kernels().peakRead(out, inp, n);
  return nullptr;
}

}  // namespace

const Binding kKernelBindings[] = {
    {"fill", 2, fill},
    {"copy", 2, copy},
    {"add", 3, add},
    {"activationForward", 3, activationForward},
    {"activationBackward", 5, activationBackward},
    {"dropout", 10, dropout},
    {"gatedResidualForward", 8, gatedResidualForward},
    {"gatedResidualBackward", 13, gatedResidualBackward},
    {"embeddingForward", 7, embeddingForward},
    {"embeddingBackward", 7, embeddingBackward},
    {"layernormForward", 8, layernormForward},
    {"layernormBackward", 11, layernormBackward},
    {"packedLength", 3, packedLength},
    {"packWeight", 6, packWeight},
    {"packedInt8Length", 2, packedInt8Length},
    {"packWeightInt8", 5, packWeightInt8},
    {"linearInt8", 7, linearInt8},
    {"linearForward", 8, linearForward},
    {"linearBackwardInput", 8, linearBackwardInput},
    {"linearBackwardWeight", 8, linearBackwardWeight},
    {"attentionForward", 14, attentionForward},
    {"attentionBackward", 15, attentionBackward},
    {"cachePageLength", 3, cachePageLength},
    {"cachedAttention", 12, cachedAttention},
    {"logits", 7, logits},
    {"headForward", 10, headForward},
    {"headInt8", 9, headInt8},
    {"headForwardBackward", 14, headForwardBackward},
    {"adamw", 11, adamw},
    {"sumSquares", 2, sumSquares},
    {"peakProducts", 3, peakProducts},
    {"peakRead", 2, peakRead},
    {nullptr, 0, nullptr},
};

}  // namespace loopnn
