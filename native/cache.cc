/**
 * Attention over a key/value cache. A page holds the keys and values of one key block of attention.h, for every key
 * head, as the packed panels that the tiles read: nothing is packed twice, and the bits are the same as over whole
 * sequences. The queries of a group read a page together.
 *
 * A sequence is a row of the table: the number of its new rows, the number of its past positions, and its pages in
 * order.
 */
#include "attention.h"

#include "families.h"

namespace loopnn {
namespace LOOPNN_ISA {
namespace {

static_assert(KB == kPagePositions, "a page is a block of keys");

template <class P>
int64_t keyWords(int64_t HS) {
  return KB * stepsOf<P>(HS);
}

/** Words of a page that belong to one key head: keys, then values. */
template <class P>
int64_t headWords(int64_t HS) {
  return keyWords<P>(HS) + roundUp(HS, NR) * stepsOf<P>(KB);
}

int64_t pageLength(int64_t KV, int64_t HS, bool bf16) { return KV * (bf16 ? headWords<Bf16>(HS) : headWords<F32>(HS)); }

/** One key head of one sequence in the cache. */
template <class P>
struct CachedKeys {
  float* head;  // of page 0 of the pool
  const int32_t* pages;
  int64_t pageWords, HS;

  float* at(int64_t position) const { return head + pages[position / KB] * pageWords; }

  KeyBlock block(int64_t j0, int64_t) const {
    const float* k = at(j0);
    return {k, k + keyWords<P>(HS), stepsOf<P>(KB)};
  }

  /** Stores the key and value of a position; the content of the page after that position is no longer valid. */
  void append(int64_t position, const float* key, const float* value) const {
    const int64_t t = position % KB, steps = stepsOf<P>(HS);
    float* k = at(position);
    float* lane = k + t / NR * NR * steps + t % NR;
    for (int64_t s = 0; s < steps; s += W) {
      const vf words = P::along(key, s, HS);
      for (int64_t i = 0; i < min(W, steps - s); i++) lane[(s + i) * NR] = words[i];
    }
    float* v = k + keyWords<P>(HS) + t / P::kDepth * NR;
    for (int64_t c = 0; c < HS; c += W) {
      float* words = v + c / NR * NR * stepsOf<P>(KB) + c % NR;
      store(words, P::place(load(words), loadUpTo(value + c, HS - c), t));
    }
  }
};

/**
 * Appends the keys and values of qkv (R, H, HS) to the cache. out (N, C) = softmax(q·kᵀ/√HS)·v for each query head of
 * the rows in `rows`, or of all, over the cached positions up to the row's own.
 */
template <class P>
void attentionAs(const CachedAttentionArgs& args) {
  float *out = args.out, *cache = args.cache;
  const float* qkv = args.qkv;
  const int32_t *table = args.table, *rows = args.rows;
  const int64_t S = args.S, width = args.width, N = args.N, NH = args.NH, KV = args.KV, HS = args.HS;
  const int64_t C = NH * HS, G = NH / KV, length = positionsOf(G), pageWords = KV * headWords<P>(HS);
  int64_t size = 0;
  ForwardScratch({nullptr}, G, HS, &size);
  reserveScratch((size_t)size * sizeof(float));
  parallel(S * KV, [&](int64_t task, int worker) {
    const int64_t sequence = task / KV, kv = task % KV, h = kv * G;
    const int32_t* entry = table + sequence * width;
    int64_t first = 0;
    for (int64_t s = 0; s < sequence; s++) first += table[s * width];
    const int64_t count = entry[0], past = entry[1];
    const HeadView x = headView(qkv + first * args.H * HS, h, NH, KV, HS);
    const CachedKeys<P> keys = {cache + kv * headWords<P>(HS), entry + 2, pageWords, HS};
    for (int64_t i = 0; i < count; i++) keys.append(past + i, x.k + i * x.stride, x.v + i * x.stride);
    const int64_t from = rows ? firstNotBelow(rows, N, first) : first;  // rows of `out`
    const int64_t to = rows ? firstNotBelow(rows, N, first + count) : first + count;
    const ForwardScratch s({workerScratch(worker)}, G, HS);
    for (int64_t i = from; i < to; i += length) {
      const int64_t n = min(length, to - i);
      const Queries queries = rows ? Queries{rows + i, first, n, past} : Queries{nullptr, i - first, n, past};
      forwardQueries<P>(out + i * C + h * HS, nullptr, 0, x.q, x.stride, keys, queries, G, C, HS, nullptr, 0, s);
    }
  });
}

void attention(const CachedAttentionArgs& args) { args.bf16 ? attentionAs<Bf16>(args) : attentionAs<F32>(args); }

}  // namespace

void addCache(Kernels& k) {
  k.cachePageLength = pageLength;
  k.cachedAttention = attention;
}

}  // namespace LOOPNN_ISA
}  // namespace loopnn
