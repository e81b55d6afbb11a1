/**
 * Hyper-connections (arXiv 2409.19606): the input that a loop reads from M streams, and the change that it writes to
 * them. A row has P = M + 2 coefficients for each stream i: mix_i0 .. mix_i(M−1), read_i, write_i. Writing folds the
 * reading into the mixing,
 *
 *     out_i = Σ_j (mix_ij − write_i·read_j)·s_j + write_i·y,
 *
 * so that equal streams, read from one of them and written equally, become y bit for bit.
 */
#include "elements.h"
#include "families.h"

namespace loopnn {
namespace LOOPNN_ISA {
namespace {

/** to = factor·x, or to += factor·x. */
LOOPNN_INLINE void scaled(float* to, float factor, const float* x, int64_t C, bool accumulate) {
  const vf f = set1(factor);
  for (int64_t c = 0; c < C; c += W) {
    const vf value = loadUpTo(x + c, C - c);
    storeUpTo(to + c, accumulate ? fma(f, value, loadUpTo(to + c, C - c)) : f * value, C - c);
  }
}

LOOPNN_INLINE float dot(const float* a, const float* b, int64_t C) {
  vf sum{};
  for (int64_t c = 0; c < C; c += W) sum = fma(loadUpTo(a + c, C - c), loadUpTo(b + c, C - c), sum);
  return sumLanes(sum);
}

/** out (R, C) = Σ_i read_i·s_i of streams s (R, M, C), with coefficients (R, M, P). */
void readForward(const ReadStreamsForwardArgs& args) {
  const int64_t C = args.C, M = args.M, P = args.P;
  forEachRow(args.R, M * C, [&](int64_t r) {
    for (int64_t s = r * M; s < (r + 1) * M; s++) {
      scaled(args.out + r * C, args.coefficients[s * P + M], args.streams + s * C, C, s > r * M);
    }
  });
}

/**
 * In the forward pass this was out = Σ_i read_i·s_i: dstreams (R, M, C) = or += read_i·dout, dread_i += Σ_c dout⊙s_i in
 * dcoefficients (R, M, P), if it and the streams are not null.
 */
void readBackward(const ReadStreamsBackwardArgs& args) {
  const int64_t C = args.C, M = args.M, P = args.P;
  forEachRow(args.R, M * C, [&](int64_t r) {
    const float* d = args.dout + r * C;
    for (int64_t s = r * M; s < (r + 1) * M; s++) {
      scaled(args.dstreams + s * C, args.coefficients[s * P + M], d, C, args.accumulate);
      if (args.dcoefficients && args.streams) args.dcoefficients[s * P + M] += dot(d, args.streams + s * C, C);
    }
  });
}

/** out (R, M, C) by the formula above, from streams s (R, M, C), y (R, C) and coefficients (R, M, P). */
void writeForward(const WriteStreamsForwardArgs& args) {
  const int64_t C = args.C, M = args.M, P = args.P;
  forEachRow(args.R, M * C, [&](int64_t r) {
    const float *k = args.coefficients + r * M * P, *streams = args.streams + r * M * C;
    for (int64_t i = 0; i < M; i++) {
      float* out = args.out + (r * M + i) * C;
      const float write = k[i * P + M + 1];
      for (int64_t j = 0; j < M; j++) scaled(out, k[i * P + j] - write * k[j * P + M], streams + j * C, C, j > 0);
      scaled(out, write, args.y + r * C, C, true);
    }
  });
}

/**
 * In the forward pass this was the formula above. With d_i = dout_i: dy (R, C) = or += Σ_i write_i·d_i, dstreams_j =
 * or += Σ_i (mix_ij − write_i·read_j)·d_i. In dcoefficients, with products over c: dmix_ij += d_i·s_j, dread_j −=
 * Σ_i write_i·d_i·s_j, dwrite_i += d_i·(y − Σ_j read_j·s_j).
 */
void writeBackward(const WriteStreamsBackwardArgs& args) {
  const int64_t C = args.C, M = args.M, P = args.P;
  forEachRow(args.R, M * C, [&](int64_t r) {
    const float *k = args.coefficients + r * M * P, *streams = args.streams + r * M * C;
    const float *dout = args.dout + r * M * C, *y = args.y + r * C;
    float* dk = args.dcoefficients + r * M * P;
    for (int64_t i = 0; i < M; i++) {
      const float* d = dout + i * C;
      const float write = k[i * P + M + 1];
      float change = dot(d, y, C);  // of write_i: d·(y − Σ_j read_j·s_j)
      for (int64_t j = 0; j < M; j++) {
        const float product = dot(d, streams + j * C, C);
        dk[i * P + j] += product;
        dk[j * P + M] -= write * product;
        change -= k[j * P + M] * product;
      }
      dk[i * P + M + 1] += change;
      scaled(args.dy + r * C, write, d, C, i > 0 || args.accumulateY);
    }
    for (int64_t j = 0; j < M; j++) {
      float* to = args.dstreams + (r * M + j) * C;
      for (int64_t i = 0; i < M; i++) {
        const float factor = k[i * P + j] - k[i * P + M + 1] * k[j * P + M];
        scaled(to, factor, dout + i * C, C, i > 0 || args.accumulateStreams);
      }
    }
  });
}

}  // namespace

void addStreams(Kernels& k) {
  k.readStreamsForward = readForward;
  k.readStreamsBackward = readBackward;
  k.writeStreamsForward = writeForward;
  k.writeStreamsBackward = writeBackward;
}

}  // namespace LOOPNN_ISA
}  // namespace loopnn
