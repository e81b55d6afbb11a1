/** Bindings of the kernels that work row by row: see bindings.cc. */
#include <string>

#include "bindings.h"

namespace loopnn {

const int32_t* readRows(Call& call, size_t index, const char* name, int64_t N, int64_t R) {
  const int32_t* rows = call.inInts(index, name, {N});
  call.ids(rows, N, name, 0, R);
  for (int64_t i = 1; i < N; i++) {
    if (rows[i] > rows[i - 1]) continue;
    throw Refusal{"ShapeError", std::string("argument '") + name + "' must ascend", "", static_cast<double>(rows[i]),
                  true};
  }
  return rows;
}

namespace {

napi_value selectRows(Call& call) {
  const int64_t R = call.dim(4, "R", 0), C = call.dim(5, "C");
  const bool accumulate = call.flag(6, "accumulate");
  float* out = call.out(0, "out", {R, C});
  const int32_t* mask = call.inInts(1, "mask", {R});
  const float* a = call.isNull(2) ? nullptr : call.in(2, "a", {R, C});
  const float* b = call.isNull(3) ? nullptr : call.in(3, "b", {R, C});
  call.noOverlap();
  kernels().selectRows(out, mask, a, b, R, C, accumulate);
  return nullptr;
}

napi_value scaleRowsForward(Call& call) {
  const int64_t R = call.dim(3, "R", 0), C = call.dim(4, "C");
  const bool accumulate = call.flag(5, "accumulate");
  float* out = call.out(0, "out", {R, C});
  const float* inp = call.in(1, "inp", {R, C});
  const float* scale = call.in(2, "scale", {R});
  call.noOverlap();
  kernels().scaleRowsForward(out, inp, scale, R, C, accumulate);
  return nullptr;
}

napi_value scaleRowsBackward(Call& call) {
  const int64_t R = call.dim(5, "R", 0), C = call.dim(6, "C");
  const bool accumulate = call.flag(7, "accumulate");
  float* dinp = call.isNull(0) ? nullptr : call.out(0, "dinp", {R, C});
  float* dscale = call.isNull(1) ? nullptr : call.out(1, "dscale", {R});
  const float* dout = call.in(2, "dout", {R, C});
  const float* inp = call.in(3, "inp", {R, C});
  const float* scale = call.in(4, "scale", {R});
  call.noOverlap();
  kernels().scaleRowsBackward(dinp, dscale, dout, inp, scale, R, C, accumulate);
  return nullptr;
}

napi_value copyColumns(Call& call) {
  const int64_t R = call.dim(2, "R", 0), C = call.dim(3, "C"), first = call.dim(4, "first", 0), count = call.dim(5, "count");
  const bool accumulate = call.flag(6, "accumulate");
  float* out = call.out(0, "out", {R, C});
  const float* inp = call.in(1, "inp", {R, C});
  if (first + count > C) {
    throw Refusal{"ShapeError", "arguments 'first' + 'count' must be at most C", "", static_cast<double>(first + count),
                  true};
  }
  call.noOverlap();
  kernels().copyColumns(out, inp, R, C, first, count, accumulate);
  return nullptr;
}

napi_value gatherRows(Call& call) {
  const int64_t N = call.dim(3, "N", 0), R = call.dim(4, "R", 0), C = call.dim(5, "C");
  float* out = call.out(0, "out", {N, C});
  const float* inp = call.in(1, "inp", {R, C});
  const int32_t* index = readRows(call, 2, "index", N, R);
  call.noOverlap();
  kernels().gatherRows(out, inp, index, N, C);
  return nullptr;
}

napi_value scatterRows(Call& call) {
  const int64_t N = call.dim(3, "N", 0), R = call.dim(4, "R", 0), C = call.dim(5, "C");
  float* out = call.out(0, "out", {R, C});
  const float* inp = call.in(1, "inp", {N, C});
  const int32_t* index = readRows(call, 2, "index", N, R);
  call.noOverlap();
  kernels().scatterRows(out, inp, index, N, C);
  return nullptr;
}

napi_value rowChange(Call& call) {
  const int64_t R = call.dim(4, "R", 0), C = call.dim(5, "C");
  float* out = call.out(0, "out", {R});
  const float* x = call.in(1, "x", {R, C});
  const float* former = call.in(2, "former", {R, C});
  const float* before = call.isNull(3) ? nullptr : call.in(3, "before", {R, C});
  call.noOverlap();
  kernels().rowChange(out, x, former, before, R, C);
  return nullptr;
}

napi_value rowEntropy(Call& call) {
  const int64_t R = call.dim(2, "R", 0), V = call.dim(3, "V");
  float* out = call.out(0, "out", {R});
  const float* logits = call.in(1, "logits", {R, V});
  call.noOverlap();
  kernels().rowEntropy(out, logits, R, V);
  return nullptr;
}

napi_value rowDivergence(Call& call) {
  const int64_t N = call.dim(4, "N", 0), R = call.dim(5, "R", 0), V = call.dim(6, "V");
  const bool some = !call.isNull(3);
  float* out = call.out(0, "out", {some ? N : R});
  const float* logits = call.in(1, "logits", {some ? N : R, V});
  const float* former = call.in(2, "former", {R, V});
  const int32_t* rows = some ? readRows(call, 3, "rows", N, R) : nullptr;
  call.noOverlap();
  kernels().rowDivergence(out, logits, former, rows, some ? N : R, V);
  return nullptr;
}

}  // namespace

const Binding kRowBindings[] = {
    {"selectRows", 7, selectRows},
    {"scaleRowsForward", 6, scaleRowsForward},
    {"scaleRowsBackward", 8, scaleRowsBackward},
    {"copyColumns", 7, copyColumns},
    {"gatherRows", 6, gatherRows},
    {"scatterRows", 6, scatterRows},
    {"rowChange", 6, rowChange},
    {"rowEntropy", 4, rowEntropy},
    {"rowDivergence", 7, rowDivergence},
    {nullptr, 0, nullptr},
};

}  // namespace loopnn
