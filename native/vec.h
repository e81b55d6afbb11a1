/**
 * One vector of floats, whatever the instruction set: the only file that knows which instructions exist.
 *
 * Compiled once for each set with LOOPNN_ISA (the name, also the namespace) and LOOPNN_WIDTH (floats in a
 * vector) defined. Everything here is static and inlined, and nothing heavier than <cstdint> is included: an
 * inline function of the standard library compiled with AVX-512 flags could otherwise be the copy that the linker
 * keeps for all files. Multiply-add is explicit (`fma`), and a flag forbids the compiler to contract, so that a
 * vector and its masked tail round alike.
 */
#pragma once

#include <cstddef>
#include <cstdint>

#include "pool.h"

#if LOOPNN_WIDTH > 4
#include <immintrin.h>
#elif defined(__SSE2__)
#include <emmintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#elif defined(__wasm__)
#include <wasm_simd128.h>
#endif

// Lanes of two vectors by constant indices; GCC before 12 has another name for it.
#if defined(__clang__) || __GNUC__ >= 12
#define LOOPNN_SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define LOOPNN_SHUFFLE(a, b, ...) __builtin_shuffle(a, b, vi{__VA_ARGS__})
#endif
#define LOOPNN_INLINE static inline __attribute__((always_inline))

namespace loopnn {
namespace LOOPNN_ISA {

constexpr int W = LOOPNN_WIDTH;

typedef float vf __attribute__((vector_size(4 * W)));
typedef int32_t vi __attribute__((vector_size(4 * W)));
typedef uint32_t vu __attribute__((vector_size(4 * W)));
typedef float half_vf __attribute__((vector_size(2 * W)));
typedef double vd __attribute__((vector_size(4 * W)));

LOOPNN_INLINE int64_t min(int64_t a, int64_t b) { return a < b ? a : b; }
LOOPNN_INLINE int64_t max(int64_t a, int64_t b) { return a > b ? a : b; }
LOOPNN_INLINE int64_t ceilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }
LOOPNN_INLINE int64_t roundUp(int64_t a, int64_t b) { return ceilDiv(a, b) * b; }

/** Runs body(task, worker) for every task in [0, tasks) on the pool. */
template <class Body>
LOOPNN_INLINE void parallel(int64_t tasks, Body body) {
  runTasks(tasks, [](void* context, int64_t task, int worker) { (*static_cast<Body*>(context))(task, worker); },
           &body);
}

/** x in every lane. Written out: 0 + x would be an addition, since it turns −0 into 0. */
LOOPNN_INLINE vf set1(float x) {
#if LOOPNN_WIDTH == 16
  return vf{x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x};
#elif LOOPNN_WIDTH == 8
  return vf{x, x, x, x, x, x, x, x};
#else
  return vf{x, x, x, x};
#endif
}

LOOPNN_INLINE vf load(const float* p) {
  vf v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}

LOOPNN_INLINE void store(float* p, vf v) { __builtin_memcpy(p, &v, sizeof v); }

/** 0, 1, 2, … */
LOOPNN_INLINE vi iota() {
  vi v;
  for (int i = 0; i < W; i++) v[i] = i;
  return v;
}

#if LOOPNN_WIDTH == 16

LOOPNN_INLINE vf fma(vf a, vf b, vf c) { return (vf)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c); }
LOOPNN_INLINE vf maxv(vf a, vf b) { return (vf)_mm512_max_ps((__m512)a, (__m512)b); }
LOOPNN_INLINE vf minv(vf a, vf b) { return (vf)_mm512_min_ps((__m512)a, (__m512)b); }
/** x·2^n for whole n. */
LOOPNN_INLINE vf timesPowerOf2(vf x, vf n) { return (vf)_mm512_scalef_ps((__m512)x, (__m512)n); }
LOOPNN_INLINE vf sqrtv(vf a) { return (vf)_mm512_sqrt_ps((__m512)a); }
/** The first n < W floats of p, zeros after them. */
LOOPNN_INLINE vf loadFirst(const float* p, int n) {
  return (vf)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p);
}
LOOPNN_INLINE void storeFirst(float* p, vf v, int n) {
  _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), (__m512)v);
}

#elif LOOPNN_WIDTH == 8

LOOPNN_INLINE vf fma(vf a, vf b, vf c) { return (vf)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c); }
LOOPNN_INLINE vf maxv(vf a, vf b) { return (vf)_mm256_max_ps((__m256)a, (__m256)b); }
LOOPNN_INLINE vf minv(vf a, vf b) { return (vf)_mm256_min_ps((__m256)a, (__m256)b); }
LOOPNN_INLINE vf sqrtv(vf a) { return (vf)_mm256_sqrt_ps((__m256)a); }
LOOPNN_INLINE vf loadFirst(const float* p, int n) { return (vf)_mm256_maskload_ps(p, (__m256i)(iota() < n)); }
LOOPNN_INLINE void storeFirst(float* p, vf v, int n) {
  _mm256_maskstore_ps(p, (__m256i)(iota() < n), (__m256)v);
}

#else

#if defined(__ARM_NEON) && defined(__aarch64__)
LOOPNN_INLINE vf fma(vf a, vf b, vf c) { return (vf)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b); }
LOOPNN_INLINE vf sqrtv(vf a) { return (vf)vsqrtq_f32((float32x4_t)a); }
#elif defined(__SSE2__)
LOOPNN_INLINE vf fma(vf a, vf b, vf c) { return a * b + c; }
LOOPNN_INLINE vf sqrtv(vf a) { return (vf)_mm_sqrt_ps((__m128)a); }
#elif defined(__wasm__)
#if defined(__wasm_relaxed_simd__)
/** Rounds once or twice, depending on the processor, and always alike in a run. */
LOOPNN_INLINE vf fma(vf a, vf b, vf c) { return __builtin_wasm_relaxed_madd_f32x4(a, b, c); }
#else
LOOPNN_INLINE vf fma(vf a, vf b, vf c) { return a * b + c; }
#endif
LOOPNN_INLINE vf sqrtv(vf a) { return __builtin_elementwise_sqrt(a); }
#define LOOPNN_OWN_EXTREMES
/** Builtins, since LLVM compiles comparisons to relaxed SIMD's own, which may return either operand if one is NaN. */
LOOPNN_INLINE vf maxv(vf a, vf b) { return __builtin_wasm_pmax_f32x4(b, a); }
LOOPNN_INLINE vf minv(vf a, vf b) { return __builtin_wasm_pmin_f32x4(b, a); }
#else
LOOPNN_INLINE vf fma(vf a, vf b, vf c) { return a * b + c; }
LOOPNN_INLINE vf sqrtv(vf a) {
  for (int i = 0; i < W; i++) a[i] = __builtin_sqrtf(a[i]);
  return a;
}
#endif
#if !defined(LOOPNN_OWN_EXTREMES)
LOOPNN_INLINE vf maxv(vf a, vf b) { return a > b ? a : b; }
LOOPNN_INLINE vf minv(vf a, vf b) { return a < b ? a : b; }
#endif
LOOPNN_INLINE vf loadFirst(const float* p, int n) {
  vf v{};
  for (int i = 0; i < W; i++) {
    if (i < n) v[i] = p[i];
  }
  return v;
}
LOOPNN_INLINE void storeFirst(float* p, vf v, int n) {
  for (int i = 0; i < W; i++) {
    if (i < n) p[i] = v[i];
  }
}

#endif

#if LOOPNN_WIDTH < 16
/**
 * x·2^n for whole n in [−127, 128], written as the exponent of a float: 2^−127 becomes 0, and 2^128 infinity.
 */
LOOPNN_INLINE vf timesPowerOf2(vf x, vf n) { return x * (vf)((__builtin_convertvector(n, vi) + 127) << 23); }
#endif

/**
 * Keeps the order of computation: what comes before this call is computed before what follows. For WebAssembly, LLVM
 * would otherwise compute a tile's products column by column, with more live values than a processor has registers.
 */
LOOPNN_INLINE void inOrder([[maybe_unused]] vf& a, [[maybe_unused]] vf& b) {
#if defined(__wasm__)
  asm volatile("" : "+r"(a), "+r"(b) : : "memory");
#endif
}

/** Hides a pointer's origin from the compiler. */
LOOPNN_INLINE void forget([[maybe_unused]] float*& p) {
#if defined(__GNUC__)
  asm("" : "+r"(p));
#endif
}

/** The next min(n, W) floats of an array that has n > 0 left. */
LOOPNN_INLINE vf loadUpTo(const float* p, int64_t n) { return n >= W ? load(p) : loadFirst(p, (int)n); }
LOOPNN_INLINE void storeUpTo(float* p, vf v, int64_t n) {
  if (n >= W) {
    store(p, v);
  } else {
    storeFirst(p, v, (int)n);
  }
}

/** Lane l of the result is lane (l + D) mod W of v. */
template <int D>
LOOPNN_INLINE vf rotate(vf v) {
#if LOOPNN_WIDTH == 16
  return LOOPNN_SHUFFLE(v, v, D, D + 1, D + 2, D + 3, D + 4, D + 5, D + 6, D + 7, D + 8, D + 9, D + 10, D + 11,
                                 D + 12, D + 13, D + 14, D + 15);
#elif LOOPNN_WIDTH == 8
  return LOOPNN_SHUFFLE(v, v, D, D + 1, D + 2, D + 3, D + 4, D + 5, D + 6, D + 7);
#else
  return LOOPNN_SHUFFLE(v, v, D, D + 1, D + 2, D + 3);
#endif
}

/** Sum of the lanes, halving: the order is the same for every caller. */
LOOPNN_INLINE float sumLanes(vf v) {
#if LOOPNN_WIDTH == 16
  v += rotate<8>(v);
#endif
#if LOOPNN_WIDTH >= 8
  v += rotate<4>(v);
#endif
  v += rotate<2>(v);
  v += rotate<1>(v);
  return v[0];
}

LOOPNN_INLINE float maxLanes(vf v) {
#if LOOPNN_WIDTH == 16
  v = maxv(v, rotate<8>(v));
#endif
#if LOOPNN_WIDTH >= 8
  v = maxv(v, rotate<4>(v));
#endif
  v = maxv(v, rotate<2>(v));
  v = maxv(v, rotate<1>(v));
  return v[0];
}

/**
 * e^x to about 1 ulp; from −88 down (so also for −inf) 0, or with 16 lanes 6e-39; inf above 88.72 (narrow vectors:
 * 88.37), NaN for NaN.
 * x = n·ln2 + r with |r| ≤ ln2/2, where this polynomial, fitted for the least relative error, is within 2^-28 of e^r.
 */
LOOPNN_INLINE vf expv(vf x) {
  x = minv(set1(89.0f), maxv(set1(-88.0f), x));  // both return their second operand for NaN
  const vf rounder = set1(12582912.0f);  // 1.5·2^23: adding it rounds to an integer
  const vf n = fma(x, set1(1.44269504f), rounder) - rounder;
  vf r = fma(n, set1(-0.693359375f), x);  // ln2 in two parts: n·(the first) is exact
  r = fma(n, set1(2.12194440e-4f), r);
  vf p = set1(1.38145988e-3f);
  p = fma(p, r, set1(8.36871658e-3f));
  p = fma(p, r, set1(4.16683890e-2f));
  p = fma(p, r, set1(1.66665211e-1f));
  p = fma(p, r, set1(0.49999994f));
  p = fma(p, r, set1(1.0f));
  p = fma(p, r, set1(1.0f));
  return timesPowerOf2(p, n);
}

/**
 * 2^x to about 1 ulp; from −127 down 0, or with 16 lanes 6e-39; inf from 128 on, NaN for NaN. The polynomial, fitted
 * for the least relative error, is within 2^-28 of 2^r.
 */
LOOPNN_INLINE vf exp2v(vf x) {
  x = minv(set1(128.0f), maxv(set1(-127.0f), x));  // both return their second operand for NaN
  const vf rounder = set1(12582912.0f);            // as in expv
  const vf n = (x + rounder) - rounder;
  const vf r = x - n;
  vf p = set1(1.53264715e-4f);
  p = fma(p, r, set1(1.33908074e-3f));
  p = fma(p, r, set1(9.61850584e-3f));
  p = fma(p, r, set1(5.55035993e-2f));
  p = fma(p, r, set1(2.40226477e-1f));
  p = fma(p, r, set1(6.93147182e-1f));
  p = fma(p, r, set1(1.0f));
  return timesPowerOf2(p, n);
}

/**
 * x rounded to bfloat16 (to the nearest, ties to even), as the float of that value: its low half is zero. NaN stays
 * NaN.
 */
LOOPNN_INLINE vf roundToBf16(vf x) {
  const vu bits = (vu)x;
  const vu rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) & 0xffff0000u;
  return x == x ? (vf)rounded : (vf)((bits | 0x00400000u) & 0xffff0000u);
}

/** Word l: a[l] and b[l] as bfloat16, a in the low half. */
LOOPNN_INLINE vf interleavePairs(vf a, vf b) {
#if defined(__AVX512BF16__)
  typedef uint16_t shorts __attribute__((vector_size(64)));
  const shorts order = {0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                        8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
  return (vf)_mm512_permutexvar_epi16((__m512i)order, (__m512i)_mm512_cvtne2ps_pbh((__m512)b, (__m512)a));
#else
  return (vf)(((vu)roundToBf16(a) >> 16) | (vu)roundToBf16(b));
#endif
}

/** Word l: values 2l and 2l + 1 of the 2W values of a and b as bfloat16, the first in the low half. */
LOOPNN_INLINE vf adjacentPairs(vf a, vf b) {
#if defined(__AVX512BF16__)
  return (vf)_mm512_cvtne2ps_pbh((__m512)b, (__m512)a);
#elif LOOPNN_WIDTH == 16
  return interleavePairs(
      LOOPNN_SHUFFLE(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30),
      LOOPNN_SHUFFLE(a, b, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31));
#elif LOOPNN_WIDTH == 8
  return interleavePairs(LOOPNN_SHUFFLE(a, b, 0, 2, 4, 6, 8, 10, 12, 14),
                         LOOPNN_SHUFFLE(a, b, 1, 3, 5, 7, 9, 11, 13, 15));
#else
  return interleavePairs(LOOPNN_SHUFFLE(a, b, 0, 2, 4, 6), LOOPNN_SHUFFLE(a, b, 1, 3, 5, 7));
#endif
}

/** c + the sum of the two products of each word's bfloat16 pairs. */
LOOPNN_INLINE vf addPairProducts(vf a, vf b, vf c) {
#if defined(__AVX512BF16__)
  return (vf)_mm512_dpbf16_ps((__m512)c, (__m512bh)a, (__m512bh)b);
#else
  const vf high = fma((vf)((vu)a & 0xffff0000u), (vf)((vu)b & 0xffff0000u), c);
  return fma((vf)((vu)a << 16), (vf)((vu)b << 16), high);
#endif
}

typedef int16_t shorts __attribute__((vector_size(4 * W)));
typedef uint16_t ushorts __attribute__((vector_size(4 * W)));

/** x in every word. */
LOOPNN_INLINE vi setWord(int32_t x) { return vi{} + x; }

/** Two adjacent integers of memory, in every word. */
LOOPNN_INLINE shorts setPair(const int16_t* p) {
  int32_t word;
  __builtin_memcpy(&word, p, sizeof word);
  return (shorts)setWord(word);
}

/** The even bytes of words, and the odd ones: unsigned integers, two to a word. */
LOOPNN_INLINE shorts evenBytes(vi words) { return (shorts)words & 0xff; }
LOOPNN_INLINE shorts oddBytes(vi words) { return (shorts)((ushorts)words >> 8); }

/** In each word a sum, of 32 bits, of products of pairs of 16-bit integers. */
#if defined(__ARM_NEON) && defined(__aarch64__)

/** Each word's sum is that of two lanes. */
struct Sums {
  int32x4_t low, high;
};
LOOPNN_INLINE Sums beginSums(int32_t x) {
  const int32x4_t lanes = {x, 0, x, 0};
  return {lanes, lanes};
}
LOOPNN_INLINE Sums addPairs(Sums sums, shorts a, shorts b) {
  const int16x8_t x = (int16x8_t)a, y = (int16x8_t)b;
  return {vmlal_s16(sums.low, vget_low_s16(x), vget_low_s16(y)), vmlal_high_s16(sums.high, x, y)};
}
LOOPNN_INLINE vf asFloats(Sums sums) { return (vf)vcvtq_f32_s32(vpaddq_s32(sums.low, sums.high)); }

#else

typedef vi Sums;
LOOPNN_INLINE Sums beginSums(int32_t x) { return setWord(x); }
LOOPNN_INLINE Sums addPairs(Sums sums, shorts a, shorts b) {
#if defined(__AVX512VNNI__)
  return (vi)_mm512_dpwssd_epi32((__m512i)sums, (__m512i)a, (__m512i)b);
#elif LOOPNN_WIDTH == 16
  return sums + (vi)_mm512_madd_epi16((__m512i)a, (__m512i)b);
#elif LOOPNN_WIDTH == 8
  return sums + (vi)_mm256_madd_epi16((__m256i)a, (__m256i)b);
#elif defined(__SSE2__)
  return sums + (vi)_mm_madd_epi16((__m128i)a, (__m128i)b);
#elif defined(__wasm__)
  return sums + (vi)wasm_i32x4_dot_i16x8((v128_t)a, (v128_t)b);
#else
  return sums + ((vi)a << 16 >> 16) * ((vi)b << 16 >> 16) + ((vi)a >> 16) * ((vi)b >> 16);
#endif
}
LOOPNN_INLINE vf asFloats(Sums sums) { return __builtin_convertvector(sums, vf); }

#endif

LOOPNN_INLINE vu mix32(vu x) {
  x = (x ^ (x >> 16)) * 0x7feb352du;
  x = (x ^ (x >> 15)) * 0x846ca68bu;
  return x ^ (x >> 16);
}

LOOPNN_INLINE uint32_t mix32(uint32_t x) {
  x = (x ^ (x >> 16)) * 0x7feb352du;
  x = (x ^ (x >> 15)) * 0x846ca68bu;
  return x ^ (x >> 16);
}

/** The two words with which a sample's elements are hashed: `sampleKey` in src/backend/memory/dropout.ts. */
struct SampleKey {
  uint32_t k0, k1;
};

LOOPNN_INLINE SampleKey sampleKey(uint32_t key0, uint32_t key1, uint32_t sample) {
  const uint32_t k0 = mix32(key0 + sample * 0x9e3779b9u);
  return {k0, mix32(key1 ^ k0)};
}

/** Lane l: `scale` if `dropoutKeep`, in the same file, keeps element + l, else 0. */
LOOPNN_INLINE vf dropoutMask(SampleKey key, uint32_t element, uint32_t threshold, float scale) {
  const vu elements = (vu)iota() + (element + key.k0);
  const vu hash = mix32(mix32(elements) ^ key.k1);
  return hash >= threshold ? set1(scale) : vf{};
}

}  // namespace LOOPNN_ISA
}  // namespace loopnn
