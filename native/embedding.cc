/**
 * Token embedding, and position embedding if there is one. The backward pass splits its work by channels, not by rows,
 * so that one thread adds up the rows of a repeated token, in their order.
 */
#include "families.h"
#include "vec.h"

namespace loopnn {
namespace LOOPNN_ISA {
namespace {

/** out (R, C) = wte[tokens[r]] + wpe[positions[r]], or wte[tokens[r]] alone; wte (V, C), wpe (P, C). */
void forward(const EmbeddingForwardArgs& args) {
  float* out = args.out;
  const int32_t *tokens = args.tokens, *positions = args.positions;
  const float *wte = args.wte, *wpe = args.wpe;
  const int64_t R = args.R, C = args.C;
  constexpr int64_t kRows = 32;
  parallel(ceilDiv(R, kRows), [&](int64_t task, int) {
    for (int64_t r = task * kRows; r < min((task + 1) * kRows, R); r++) {
      const float* token = wte + tokens[r] * C;
      const float* position = wpe ? wpe + positions[r] * C : nullptr;
      for (int64_t c = 0; c < C; c += W) {
        const vf own = loadUpTo(token + c, C - c);
        storeUpTo(out + r * C + c, position ? own + loadUpTo(position + c, C - c) : own, C - c);
      }
    }
  });
}

/**
 * In the forward pass this was out[r] = wte[tokens[r]] + wpe[positions[r]]: dwte[tokens[r]] += dout[r] and
 * dwpe[positions[r]] += dout[r].
 */
void backward(const EmbeddingBackwardArgs& args) {
  float *dwte = args.dwte, *dwpe = args.dwpe;
  const float* dout = args.dout;
  const int32_t *tokens = args.tokens, *positions = args.positions;
  const int64_t R = args.R, C = args.C;
  constexpr int64_t kCols = 64;
  parallel(ceilDiv(C, kCols), [&](int64_t task, int) {
    const int64_t begin = task * kCols, end = min(begin + kCols, C);
    for (int64_t r = 0; r < R; r++) {
      float* token = dwte + tokens[r] * C;
      float* position = dwpe ? dwpe + positions[r] * C : nullptr;
      for (int64_t c = begin; c < end; c += W) {
        const vf d = loadUpTo(dout + r * C + c, end - c);
        storeUpTo(token + c, loadUpTo(token + c, end - c) + d, end - c);
        if (position) storeUpTo(position + c, loadUpTo(position + c, end - c) + d, end - c);
      }
    }
  });
}

}  // namespace

void addEmbedding(Kernels& k) {
  k.embeddingForward = forward;
  k.embeddingBackward = backward;
}

}  // namespace LOOPNN_ISA
}  // namespace loopnn
