/** Kernels on whole rows: select, scale, gather and scatter them, and copy columns. Tasks are runs of rows. */
#include "elements.h"
#include "families.h"

namespace loopnn {
namespace LOOPNN_ISA {
namespace {

LOOPNN_INLINE void copyRow(float* to, const float* from, int64_t C) {
  for (int64_t c = 0; c < C; c += W) storeUpTo(to + c, loadUpTo(from + c, C - c), C - c);
}

/** out (R, C) = or += a[r] where mask[r], b[r] elsewhere; null stands for zeros. */
void select(const SelectRowsArgs& args) {
  float* out = args.out;
  const int32_t* mask = args.mask;
  const float *a = args.a, *b = args.b;
  const int64_t R = args.R, C = args.C;
  const bool accumulate = args.accumulate;
  forEachRow(R, C, [&](int64_t r) {
    const float* from = mask[r] ? a : b;
    float* to = out + r * C;
    if (!from && accumulate) return;
    for (int64_t c = 0; c < C; c += W) {
      const vf value = from ? loadUpTo(from + r * C + c, C - c) : vf{};
      storeUpTo(to + c, accumulate ? loadUpTo(to + c, C - c) + value : value, C - c);
    }
  });
}

/** out (R, C) = or += scale[r]·inp[r]. */
void scaleForward(const ScaleRowsForwardArgs& args) {
  float* out = args.out;
  const float *inp = args.inp, *scale = args.scale;
  const int64_t R = args.R, C = args.C;
  const bool accumulate = args.accumulate;
  forEachRow(R, C, [&](int64_t r) {
    const vf factor = set1(scale[r]);
    for (int64_t c = r * C; c < (r + 1) * C; c += W) {
      const int64_t left = (r + 1) * C - c;
      const vf value = loadUpTo(inp + c, left) * factor;
      storeUpTo(out + c, accumulate ? loadUpTo(out + c, left) + value : value, left);
    }
  });
}

/**
 * In the forward pass this was out[r] = scale[r]·inp[r]: dinp (R, C) = or += scale[r]·dout[r], dscale (R) += Σ_c
 * dout⊙inp; either may be null.
 */
void scaleBackward(const ScaleRowsBackwardArgs& args) {
  float *dinp = args.dinp, *dscale = args.dscale;
  const float *dout = args.dout, *inp = args.inp, *scale = args.scale;
  const int64_t R = args.R, C = args.C;
  const bool accumulate = args.accumulate;
  forEachRow(R, C, [&](int64_t r) {
    const vf factor = set1(scale[r]);
    vf sum{};
    for (int64_t c = r * C; c < (r + 1) * C; c += W) {
      const int64_t left = (r + 1) * C - c;
      const vf d = loadUpTo(dout + c, left);
      if (dscale) sum = fma(d, loadUpTo(inp + c, left), sum);
      if (dinp) storeUpTo(dinp + c, accumulate ? fma(d, factor, loadUpTo(dinp + c, left)) : d * factor, left);
    }
    if (dscale) dscale[r] += sumLanes(sum);
  });
}

/** Columns [first, first + count) of out (R, C) = or += those of inp (R, C). */
void columns(const CopyColumnsArgs& args) {
  float* out = args.out;
  const float* inp = args.inp;
  const int64_t R = args.R, C = args.C, first = args.first, count = args.count;
  const bool accumulate = args.accumulate;
  forEachRow(R, C, [&](int64_t r) {
    float* to = out + r * C + first;
    const float* from = inp + r * C + first;
    for (int64_t c = 0; c < count; c += W) {
      const vf value = loadUpTo(from + c, count - c);
      storeUpTo(to + c, accumulate ? loadUpTo(to + c, count - c) + value : value, count - c);
    }
  });
}

/** out (N, C): out[i] = inp[index[i]]. */
void gather(const GatherRowsArgs& args) {
  float* out = args.out;
  const float* inp = args.inp;
  const int32_t* index = args.index;
  const int64_t N = args.N, C = args.C;
  forEachRow(N, C, [&](int64_t i) { copyRow(out + i * C, inp + index[i] * C, C); });
}

/** out (R, C): out[index[i]] = inp[i] for the N rows of inp; other rows stay. */
void scatter(const ScatterRowsArgs& args) {
  float* out = args.out;
  const float* inp = args.inp;
  const int32_t* index = args.index;
  const int64_t N = args.N, C = args.C;
  forEachRow(N, C, [&](int64_t i) { copyRow(out + index[i] * C, inp + i * C, C); });
}

}  // namespace

void addRows(Kernels& k) {
  k.selectRows = select;
  k.scaleRowsForward = scaleForward;
  k.scaleRowsBackward = scaleBackward;
  k.copyColumns = columns;
  k.gatherRows = gather;
  k.scatterRows = scatter;
}

}  // namespace LOOPNN_ISA
}  // namespace loopnn
