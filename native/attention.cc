/**
 * Causal self-attention over whole sequences. The forward pass is that of attention.h, which packs keys and values as
 * it reads them. The backward pass adds the heads of a group in a fixed order.
 */
#include "attention.h"

#include "families.h"

namespace loopnn {
namespace LOOPNN_ISA {
namespace {

constexpr int64_t QS = 8 * MR;   // queries in a step of the backward pass: whole words of pairs
// Maxima of query heads with shared keys whose gradients are separate at a time, and of floats of these gradients.
constexpr int64_t kApart = 64, kApartFloats = 1 << 24;
constexpr int64_t kSumRows = 64;  // positions in a task that sums them
static_assert(MR % 2 == 0, "a panel of queries is made of whole words of pairs");

/**
 * out (B·T, C), or only its N rows in `rows`: (D⊙softmax(q·kᵀ/√HS))·v for each query head over the positions up to the
 * row's own, D being dropout's factors; lse (B, NH, T): the log-sum-exp of the scaled scores. Reads qkv (B, T, H, HS).
 */
template <class P>
void forwardAs(const AttentionForwardArgs& args) {
  float *out = args.out, *lse = args.lse;
  const float* qkv = args.qkv;
  const int32_t* rows = args.rows;
  const int64_t N = args.N, B = args.B, T = args.T, NH = args.NH, KV = args.KV, HS = args.HS;
  const Dropout* drop = args.dropout;
  const int64_t C = NH * HS, H = args.H, G = NH / KV, length = positionsOf(G), parts = ceilDiv(T, length);
  int64_t size = 0;
  ForwardScratch({nullptr}, G, HS, &size);
  reserveScratch((size_t)size * sizeof(float));
  parallel(B * KV * parts, [&](int64_t task, int worker) {
    const int64_t group = task / parts, b = group / KV, h = group % KV * G;
    const int64_t i0 = (parts - 1 - task % parts) * length;  // the longest rows first, so that threads finish together
    int64_t first = b * T, count = T;                      // rows of `out` that belong to the sequence
    if (rows) {
      first = firstNotBelow(rows, N, b * T);
      count = firstNotBelow(rows, N, (b + 1) * T) - first;
    }
    if (i0 >= count) return;
    const int64_t n = min(length, count - i0);
    const Queries queries = rows ? Queries{rows + first + i0, b * T, n, 0} : Queries{nullptr, i0, n, 0};
    const uint32_t sample = drop ? (drop->firstSample + (uint32_t)b) * (uint32_t)NH + (uint32_t)h : 0;
    const ForwardScratch s({workerScratch(worker)}, G, HS);
    const HeadView x = headView(qkv + b * T * H * HS, h, NH, KV, HS);
    forwardQueries<P>(out + (first + i0) * C + h * HS, lse + (b * NH + h) * T, T, x.q, x.stride,
                      FreshKeys<P>{x, HS, s.k, s.v}, queries, G, C, HS, drop, sample, s);
  });
}

void forward(const AttentionForwardArgs& args) { args.bf16 ? forwardAs<Bf16>(args) : forwardAs<F32>(args); }

struct BackwardScratch {
  // For all T positions: queries and output gradients as both operands, the row terms δ, and the gradient of the
  // queries.
  float *qA, *doutA, *qB, *doutB, *delta, *dq;
  // For one key block, and for one step of queries against it.
  float *kT, *vT, *kB, *dk, *dv, *weights, *dscores, *panel;

  BackwardScratch(Carver carver, int64_t T, int64_t HS, int64_t* size = nullptr) {
    const int64_t wide = roundUp(HS, NR), rows = roundUp(T, MR);
    qA = carver.take(rows * HS);
    doutA = carver.take(rows * HS);
    qB = carver.take(T * wide);
    doutB = carver.take(T * wide);
    delta = carver.take(T);
    dq = carver.take(T * wide);
    kT = carver.take(KB * HS);
    vT = carver.take(KB * HS);
    kB = carver.take(KB * wide);
    dk = carver.take(KB * wide);
    dv = carver.take(KB * wide);
    weights = carver.take(QS * KB);
    dscores = carver.take(QS * KB);
    panel = carver.take(max(KB, QS) * MR);
    if (size) *size = carver.used;
  }
};

/**
 * Turns the first `visible` scores of a row into the weights D⊙P of v, and its dout·vᵀ into the gradient of the raw
 * scores, P⊙(dP − δ)/√HS (lines 2 to 6 of backwardHead); both are 0 from key n on.
 */
LOOPNN_INLINE void softmaxBackward(float* scores, float* dscores, int64_t n, int64_t visible, float scale, float lse,
                                   float delta, const Dropout* drop, SampleKey key, uint32_t element) {
  const int64_t keys = max(0, min(n, visible));
  const vf scales = set1(scale), log2Scales = set1(scale * kLog2E), minusLse = set1(-lse * kLog2E);
  forEachKey(keys, [&](int64_t j, int64_t left) {
    const vf weight = firstLanes(exp2v(fma(load(scores + j), log2Scales, minusLse)), left, vf{});
    vf dropped = weight, dweight = load(dscores + j);
    if (drop) {
      const vf mask = dropoutMask(key, element + (uint32_t)j, drop->threshold, drop->scale);
      dropped = weight * mask;
      dweight = dweight * mask;
    }
    store(scores + j, dropped);
    store(dscores + j, firstLanes(weight * (dweight - delta) * scales, left, vf{}));
  });
  for (int64_t j = roundUp(keys, W); j < visible; j += W) {
    store(scores + j, vf{});
    store(dscores + j, vf{});
  }
}

/** HeadView for writing. */
struct GradView {
  float *q, *k, *v;
  int64_t stride;  // of keys and values
};

/** dst rows (n, HS), `stride` apart, = or += src rows, `wide` apart. */
void deliver(float* dst, int64_t stride, const float* src, int64_t wide, int64_t n, int64_t HS, bool accumulate) {
  for (int64_t i = 0; i < n; i++) {
    for (int64_t c = 0; c < HS; c += W) {
      float* to = dst + i * stride + c;
      const vf v = loadUpTo(src + i * wide + c, HS - c);
      storeUpTo(to, accumulate ? loadUpTo(to, HS - c) + v : v, HS - c);
    }
  }
}

/**
 * C (keys, wide) += Aᵀ·B, A (queries, KB) being the weights or their gradients and `b` packed rows of one step. Query 0
 * is the first that sees key `first`; queries that do not see a key are skipped.
 */
template <class P>
void addTransposed(float* c, const float* a, const float* b, int64_t queries, int64_t keys, int64_t first, int64_t wide,
                   int64_t room, float* panel) {
  for (int64_t j = 0; j < keys; j += MR) {
    const int64_t from = max(0, j - first) / P::kDepth * P::kDepth, steps = stepsOf<P>(queries - from);
    if (from >= queries) break;
    const TileFn multiply = tiles<P>[min(MR, keys - j) - 1];
    const float* operand = a + from * KB + j;
    if (P::kDepth > 1) {  // pairs along the queries must be packed; floats are read in place
      for (int64_t s = 0; s < steps; s++) packStep<P, MR>(panel, operand, KB, keys - j, s, queries - from);
      operand = panel;
    }
    for (int64_t n = 0; n < wide; n += NR) {
      multiply(steps, operand, P::kDepth > 1 ? MR : KB, b + n * room + from / P::kDepth * NR, NR, b, c + j * wide + n,
               wide, NR, {true, nullptr});
    }
  }
}

/**
 * The backward pass of one query head of one sequence. For query i, keys j ≤ i, and D, the dropout factor:
 * 1. In the forward pass this was s_ij = q_i·k_j/√HS, P_ij = exp(s_ij − lse_i), o_i = Σ_j D_ij·P_ij·v_j.
 * 2. dv_j = Σ_i D_ij·P_ij·do_i.
 * 3. dP_ij = D_ij·(do_i·v_j).
 * 4. With ∂P_ik/∂s_ij = P_ik·([j = k] − P_ij) the softmax gives ds_ij = P_ij·(dP_ij − δ_i), δ_i = Σ_k P_ik·dP_ik.
 * 5. Lines 3 and 1 give δ_i = do_i·Σ_k D_ik·P_ik·v_k = do_i·o_i, which needs no pass over the keys.
 * 6. dq_i = Σ_j ds_ij·k_j/√HS and dk_j = Σ_i ds_ij·q_i/√HS.
 *
 * `dx` points to the gradients of the query head and of its key head. With `accumulate`, dq is added to; with `adds`,
 * dk and dv are.
 */
template <class P>
void backwardHead(GradView dx, const float* dout, const float* out, const float* lse, HeadView x, int64_t T, int64_t C,
                  int64_t HS, const Dropout* drop, SampleKey key, bool accumulate, bool adds,
                  const BackwardScratch& s) {
  const int64_t wide = roundUp(HS, NR), steps = stepsOf<P>(HS), room = stepsOf<P>(T), keyRoom = stepsOf<P>(KB);
  const float scale = 1.0f / __builtin_sqrtf((float)HS);
  packRowsA<P>(s.qA, x.q, x.stride, T, HS);
  packRowsA<P>(s.doutA, dout, C, T, HS);
  packRowsB<P>(s.qB, x.q, x.stride, T, HS, room);
  packRowsB<P>(s.doutB, dout, C, T, HS, room);
  for (int64_t t = 0; t < T; t++) {
    vf sum{};
    for (int64_t c = 0; c < HS; c += W) {
      sum = fma(loadUpTo(dout + t * C + c, HS - c), loadUpTo(out + t * C + c, HS - c), sum);
    }
    s.delta[t] = sumLanes(sum);
  }
  for (int64_t i = 0; i < T * wide; i++) s.dq[i] = 0;
  for (int64_t j0 = 0; j0 < T; j0 += KB) {
    const int64_t keys = min(KB, T - j0);
    packRowsTransposedB<P>(s.kT, x.k + j0 * x.stride, x.stride, keys, HS);
    packRowsTransposedB<P>(s.vT, x.v + j0 * x.stride, x.stride, keys, HS);
    packRowsB<P>(s.kB, x.k + j0 * x.stride, x.stride, keys, HS, keyRoom);
    for (int64_t i = 0; i < KB * wide; i++) s.dk[i] = s.dv[i] = 0;
    for (int64_t i0 = j0 / MR * MR; i0 < T; i0 += QS) {
      const int64_t queries = min(QS, T - i0);
      const int64_t visible = min(keys, i0 + queries - j0);
      for (int64_t i = 0; i < queries; i += MR) {
        const int64_t rows = min(MR, queries - i);
        const int64_t seen = min(keys, i0 + i + rows - j0);  // keys that the last row of the panel sees
        const TileFn multiply = tiles<P>[rows - 1];
        for (int64_t j = 0; j < seen; j += NR) {
          multiply(steps, s.qA + (i0 + i) * steps, MR, s.kT + j * steps, NR, s.vT, s.weights + i * KB + j, KB, NR,
                   {false, nullptr});
          multiply(steps, s.doutA + (i0 + i) * steps, MR, s.vT + j * steps, NR, s.kB, s.dscores + i * KB + j, KB, NR,
                   {false, nullptr});
        }
        for (int64_t r = i; r < i + rows; r++) {
          const int64_t query = i0 + r;
          softmaxBackward(s.weights + r * KB, s.dscores + r * KB, query - j0 + 1, visible, scale, lse[query],
                          s.delta[query], drop, key, (uint32_t)query * 65536u + (uint32_t)j0);
        }
        packPanel<P, MR>(s.panel, s.dscores + i * KB, KB, 1, rows, seen);
        for (int64_t c = 0; c < wide; c += NR) {
          multiply(stepsOf<P>(seen), s.panel, MR, s.kB + c * keyRoom, NR, s.kT, s.dq + (i0 + i) * wide + c, wide, NR,
                   {true, nullptr});
        }
      }
      const int64_t at = stepsOf<P>(i0) * NR;
      addTransposed<P>(s.dv, s.weights, s.doutB + at, queries, visible, i0 - j0, wide, room, s.panel);
      addTransposed<P>(s.dk, s.dscores, s.qB + at, queries, visible, i0 - j0, wide, room, s.panel);
    }
    deliver(dx.k + j0 * dx.stride, dx.stride, s.dk, wide, keys, HS, adds);
    deliver(dx.v + j0 * dx.stride, dx.stride, s.dv, wide, keys, HS, adds);
  }
  deliver(dx.q, x.stride, s.dq, wide, T, HS, accumulate);
}

/** dqkv (B, T, H, HS) = or += the gradient of all heads, by backwardHead, from dout and out (B, T, C). */
template <class P>
void backwardAs(const AttentionBackwardArgs& args) {
  float* dqkv = args.dqkv;
  const float *dout = args.dout, *out = args.out, *lse = args.lse, *qkv = args.qkv;
  const int64_t B = args.B, T = args.T, NH = args.NH, KV = args.KV, HS = args.HS;
  const Dropout* drop = args.dropout;
  const bool accumulate = args.accumulate;
  const int64_t C = NH * HS, H = args.H, G = NH / KV;
  int64_t size = 0;
  BackwardScratch({nullptr}, T, HS, &size);
  reserveScratch((size_t)size * sizeof(float));
  // Head h of sequence b is number b·NH + h, and a group's heads are adjacent.
  auto head = [&](int64_t number, GradView keys, bool adds, int worker) {
    const int64_t b = number / NH, h = number % NH, at = b * T * C + h * HS;
    const SampleKey key =
        drop ? sampleKey(drop->key0, drop->key1, (drop->firstSample + (uint32_t)b) * (uint32_t)NH + (uint32_t)h)
             : SampleKey{};
    const HeadView x = headView(qkv + b * T * H * HS, h, NH, KV, HS);
    GradView dx = {dqkv + (x.q - qkv), dqkv + (x.k - qkv), dqkv + (x.v - qkv), x.stride};
    if (keys.k) dx = {dx.q, keys.k, keys.v, keys.stride};
    backwardHead<P>(dx, dout + at, out + at, lse + number * T, x, T, C, HS, drop, key, accumulate, adds,
                    BackwardScratch({workerScratch(worker)}, T, HS));
  };
  if (G == 1) {
    parallel(B * NH, [&](int64_t number, int worker) { head(number, {}, accumulate, worker); });
    return;
  }
  // The heads of a group run side by side, each with separate gradients of keys and values, which are then summed.
  const int64_t part = T * HS, heads = min(kApart, kApartFloats / (2 * part)), groups = max(1, heads / G);
  float* own = sharedScratch(kRowSums, (size_t)(groups * G * 2 * part) * sizeof(float));
  for (int64_t first = 0; first < B * KV; first += groups) {
    const int64_t n = min(groups, B * KV - first), pieces = ceilDiv(T, kSumRows);
    parallel(n * G, [&](int64_t task, int worker) {
      float* k = own + task * 2 * part;
      head(first * G + task, {nullptr, k, k + part, HS}, false, worker);
    });
    parallel(n * pieces, [&](int64_t task, int) {
      const int64_t group = task / pieces, from = task % pieces * kSumRows, rows = min(kSumRows, T - from);
      const int64_t b = (first + group) / KV, kv = (first + group) % KV;
      for (int64_t i = 0; i < 2 * rows; i++) {  // keys, then values
        const int64_t values = i / rows, t = from + i % rows;
        const float* d = own + (2 * group * G + values) * part + t * HS;
        float* to = dqkv + ((b * T + t) * H + NH + values * KV + kv) * HS;
        for (int64_t c = 0; c < HS; c += W) {
          vf sum = loadUpTo(d + c, HS - c);
          for (int64_t g = 1; g < G; g++) sum += loadUpTo(d + g * 2 * part + c, HS - c);
          storeUpTo(to + c, accumulate ? loadUpTo(to + c, HS - c) + sum : sum, HS - c);
        }
      }
    });
  }
}

void backward(const AttentionBackwardArgs& args) { args.bf16 ? backwardAs<Bf16>(args) : backwardAs<F32>(args); }

}  // namespace

void addAttention(Kernels& k) {
  k.attentionForward = forward;
  k.attentionBackward = backward;
}

}  // namespace LOOPNN_ISA
}  // namespace loopnn
