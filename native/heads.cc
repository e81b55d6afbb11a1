/**
 * Transforms queries and keys before their product, in place: RMS norm of each head, without weights, and rotation by
 * the position (Su et al. 2021, arXiv 2104.09864; the channels of a pair lie half a head apart, as in GPT-NeoX and
 * Llama).
 *
 * A rotation preserves a head's norm, so norm and rotation may be applied in either order. The backward pass needs only
 * the output and rstd, because rotation does not change the product of a head with its gradient.
 */
#include "families.h"
#include "vec.h"

namespace loopnn {
namespace LOOPNN_ISA {
namespace {

/** body(r, h, head) for every head of queries and keys; `qkv` has H heads in a row, of which these are the first QK. */
template <class Body>
LOOPNN_INLINE void forEachHead(float* qkv, int64_t R, int64_t H, int64_t QK, int64_t HS, Body body) {
  const int64_t rows = max(1, 8192 / (QK * HS));
  parallel(ceilDiv(R, rows), [&](int64_t task, int) {
    for (int64_t r = task * rows; r < min((task + 1) * rows, R); r++) {
      for (int64_t h = 0; h < QK; h++) body(r, h, qkv + (r * H + h) * HS);
    }
  });
}

/**
 * head (HS) = of(c, left) for its channels c, rotated by the angles whose ⌊HS/2⌋ cosines and sines are `turn`, or with
 * `back` by their opposites; not rotated if `turn` is null. `of` reads channels before they are written.
 */
template <class Of>
LOOPNN_INLINE void turned(float* head, int64_t HS, const float* turn, bool back, Of of) {
  const int64_t half = turn ? HS / 2 : 0;
  for (int64_t c = 0; c < half; c += W) {
    const int64_t left = half - c;
    const vf cosines = loadUpTo(turn + c, left), sines = loadUpTo(turn + half + c, left) * (back ? -1.0f : 1.0f);
    const vf a = of(c, left), b = of(half + c, left);
    storeUpTo(head + c, a * cosines - b * sines, left);
    storeUpTo(head + half + c, b * cosines + a * sines, left);
  }
  for (int64_t c = 2 * half; c < HS; c += W) storeUpTo(head + c, of(c, HS - c), HS - c);
}

/**
 * x = rotation of x·s, for the first QK heads x of each row of qkv (R, H, HS); s = rstd (R, QK) = 1/√(mean(x²) + eps),
 * or 1 if rstd is null.
 */
void forward(const HeadsForwardArgs& args) {
  float *qkv = args.qkv, *rstd = args.rstd;
  const int32_t* positions = args.positions;
  const float* rotation = args.rotation;
  const int64_t R = args.R, H = args.H, QK = args.QK, HS = args.HS;
  const float eps = (float)args.eps;
  forEachHead(qkv, R, H, QK, HS, [&](int64_t r, int64_t h, float* head) {
    float s = 1;
    if (rstd) {
      vf squares{};
      for (int64_t c = 0; c < HS; c += W) {
        const vf x = loadUpTo(head + c, HS - c);
        squares = fma(x, x, squares);
      }
      s = 1.0f / __builtin_sqrtf(sumLanes(squares) / (float)HS + eps);
      rstd[r * QK + h] = s;
    }
    const float* turn = rotation ? rotation + positions[r] * HS : nullptr;
    turned(head, HS, turn, false, [&](int64_t c, int64_t left) { return loadUpTo(head + c, left) * s; });
  });
}

/**
 * In the forward pass this was y = rotation of x·s. With d the gradient of y, the gradient of x is
 * s·rotation⁻¹ of (d − y·mean(d ⊙ y)); it replaces d in dqkv (R, H, HS).
 */
void backward(const HeadsBackwardArgs& args) {
  float* dqkv = args.dqkv;
  const float *qkv = args.qkv, *rstd = args.rstd, *rotation = args.rotation;
  const int32_t* positions = args.positions;
  const int64_t R = args.R, H = args.H, QK = args.QK, HS = args.HS;
  forEachHead(dqkv, R, H, QK, HS, [&](int64_t r, int64_t h, float* d) {
    const float* turn = rotation ? rotation + positions[r] * HS : nullptr;
    if (!rstd) {
      turned(d, HS, turn, true, [&](int64_t c, int64_t left) { return loadUpTo(d + c, left); });
      return;
    }
    const float* y = qkv + (r * H + h) * HS;
    const float s = rstd[r * QK + h];
    vf sum{};
    for (int64_t c = 0; c < HS; c += W) sum = fma(loadUpTo(d + c, HS - c), loadUpTo(y + c, HS - c), sum);
    const float average = sumLanes(sum) / (float)HS;
    turned(d, HS, turn, true,
           [&](int64_t c, int64_t left) { return (loadUpTo(d + c, left) - loadUpTo(y + c, left) * average) * s; });
  });
}

}  // namespace

void addHeads(Kernels& k) {
  k.headsForward = forward;
  k.headsBackward = backward;
}

}  // namespace LOOPNN_ISA
}  // namespace loopnn
