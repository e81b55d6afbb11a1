/** Checks of a call that its entry in the table cannot express. */
#pragma once

#include <string>

#include "args.h"
#include "dropout.h"
#include "kernels.h"

namespace loopnn {

constexpr double kHuge = 3e38;

/** Dropout from the four arguments p, key0, key1 and firstSample, at `index`; null if p is null and `optional`. */
inline const Dropout* readDropout(Call& call, size_t index, Dropout& mask, bool optional) {
  if (optional && call.isNull(index)) return nullptr;
  const double p = call.number(index, "p", 0, 1);
  if (!(p > 0 && p < 1)) throw Refusal{"BackendError", "argument 'p' must lie between 0 and 1", "", p, true};
  mask = dropoutOf(p, call.word(index + 1, "key[0]"), call.word(index + 2, "key[1]"),
                   call.word(index + 3, "firstSample"));
  return &mask;
}

/** Most kernels have nothing more to check. */
template <class Args>
void check(Call&, const Args&) {}

/** A gate over C channels has C elements, or 1. */
inline void checkGate(int64_t G, int64_t C) {
  if (G == 1 || G == C) return;
  throw Refusal{"ShapeError", "argument 'G' must be 1 or " + std::to_string(C), "", static_cast<double>(G), true};
}
inline void check(Call&, const GatedResidualForwardArgs& k) { checkGate(k.G, k.C); }
inline void check(Call&, const GatedResidualBackwardArgs& k) { checkGate(k.G, k.C); }

inline void check(Call&, const CopyColumnsArgs& k) {
  if (k.first + k.count <= k.C) return;
  throw Refusal{"ShapeError", "arguments 'first' + 'count' must be at most C", "",
                static_cast<double>(k.first + k.count), true};
}

/** All key heads serve equally many query heads. */
inline void checkHeads(int64_t NH, int64_t KV) {
  if (NH % KV == 0) return;
  const std::string rule = "argument 'KV' must divide NH = " + std::to_string(NH);
  throw Refusal{"ShapeError", rule, "", static_cast<double>(KV), true};
}
inline void check(Call&, const HeadsForwardArgs& k) { checkHeads(k.NH, k.KV); }
inline void check(Call&, const HeadsBackwardArgs& k) { checkHeads(k.NH, k.KV); }
inline void check(Call&, const AttentionForwardArgs& k) { checkHeads(k.NH, k.KV); }
inline void check(Call&, const AttentionBackwardArgs& k) { checkHeads(k.NH, k.KV); }

/** The rows of a table's sequences add up to R, and their positions lie in pages that exist. */
inline void check(Call& call, const CachedAttentionArgs& k) {
  checkHeads(k.NH, k.KV);
  int64_t rows = 0;
  for (int64_t s = 0; s < k.S; s++) {
    const int32_t* entry = k.table + s * k.width;
    const int64_t end = int64_t{entry[0]} + entry[1], used = (end + kPagePositions - 1) / kPagePositions;
    if (entry[0] < 0 || entry[1] < 0 || used > k.width - 2) {
      throw Refusal{"ShapeError",
                    "argument 'table' must give each sequence whole numbers of positions, and pages for them", "",
                    static_cast<double>(s), true};
    }
    call.ids(entry + 2, used, "table", 0, k.pages);
    rows += entry[0];
  }
  if (rows == k.R) return;
  throw Refusal{"ShapeError", "argument 'table' must give the sequences " + std::to_string(k.R) + " rows in all", "",
                static_cast<double>(rows), true};
}

}  // namespace loopnn
