/**
 * Emulates the AVX-512 instructions that vec.h uses, in two halves of AVX2, and AMX's of amx.h, bit for bit. The build
 * that tests every instruction set on a machine that lacks some includes this file before everything else.
 */
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace emulated {

typedef uint32_t words __attribute__((vector_size(64)));
typedef uint16_t shorts __attribute__((vector_size(64)));

struct Halves {
  __m256 low, high;
};

static inline Halves split(__m512 v) {
  Halves h;
  __builtin_memcpy(&h, &v, sizeof h);
  return h;
}

static inline __m512 join(__m256 low, __m256 high) {
  const Halves h = {low, high};
  __m512 v;
  __builtin_memcpy(&v, &h, sizeof v);
  return v;
}

static inline __m512 fmadd(__m512 a, __m512 b, __m512 c) {
  const Halves x = split(a), y = split(b), z = split(c);
  return join(_mm256_fmadd_ps(x.low, y.low, z.low), _mm256_fmadd_ps(x.high, y.high, z.high));
}

static inline __m512 max(__m512 a, __m512 b) {
  const Halves x = split(a), y = split(b);
  return join(_mm256_max_ps(x.low, y.low), _mm256_max_ps(x.high, y.high));
}

static inline __m512 min(__m512 a, __m512 b) {
  const Halves x = split(a), y = split(b);
  return join(_mm256_min_ps(x.low, y.low), _mm256_min_ps(x.high, y.high));
}

static inline __m512 sqrt(__m512 a) {
  const Halves x = split(a);
  return join(_mm256_sqrt_ps(x.low), _mm256_sqrt_ps(x.high));
}

/** x·2^n for whole n; NaN in either is NaN. */
static inline __m512 scalef(__m512 x, __m512 n) {
  for (int i = 0; i < 16; i++) x[i] = n[i] == n[i] ? __builtin_ldexpf(x[i], static_cast<int>(n[i])) : n[i];
  return x;
}

static inline __m512 loadMasked(__mmask16 mask, const float* p) {
  __m512 v{};
  for (int i = 0; i < 16; i++) {
    if (mask >> i & 1) v[i] = p[i];
  }
  return v;
}

static inline void storeMasked(float* p, __mmask16 mask, __m512 v) {
  for (int i = 0; i < 16; i++) {
    if (mask >> i & 1) p[i] = v[i];
  }
}

/** The bfloat16 instructions read subnormal floats as 0. */
static inline words flushed(words bits) { return (bits & 0x7f800000u) == 0u ? bits & 0x80000000u : bits; }

/** The nearest bfloat16, ties to even, in the low half of each word. */
static inline words toBf16(__m512 x) {
  const words bits = flushed((words)x);
  const words rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  return (bits & 0x7fffffffu) > 0x7f800000u ? (bits >> 16) | 0x40u : rounded;
}

/** 32 bfloat16 values: the 16 of b, then the 16 of a. */
static inline __m512 cvtne2ps(__m512 a, __m512 b) {
  const words low = toBf16(b), high = toBf16(a);
  shorts all{};
  for (int i = 0; i < 16; i++) {
    all[i] = static_cast<uint16_t>(low[i]);
    all[i + 16] = static_cast<uint16_t>(high[i]);
  }
  return (__m512)all;
}

/** In each word: c + the product of the odd values of a and b, + the product of the even values. */
static inline __m512 dpbf16(__m512 c, __m512 a, __m512 b) {
  const words x = (words)a, y = (words)b;
  const __m512 odd = fmadd((__m512)flushed(x & 0xffff0000u), (__m512)flushed(y & 0xffff0000u), c);
  return fmadd((__m512)flushed(x << 16), (__m512)flushed(y << 16), odd);
}

/** In each word: the sum of the two products of its 16-bit integers. */
static inline __m512i madd(__m512i a, __m512i b) {
  const Halves x = split((__m512)a), y = split((__m512)b);
  return (__m512i)join((__m256)_mm256_madd_epi16((__m256i)x.low, (__m256i)y.low),
                       (__m256)_mm256_madd_epi16((__m256i)x.high, (__m256i)y.high));
}

/** c + madd(a, b). */
static inline __m512i dpwssd(__m512i c, __m512i a, __m512i b) { return (__m512i)((words)c + (words)madd(a, b)); }

static inline __m512i permutexvar(__m512i index, __m512i v) {
  const shorts from = (shorts)v, at = (shorts)index;
  shorts to{};
  for (int i = 0; i < 32; i++) to[i] = from[at[i] & 31];
  return (__m512i)to;
}

#if defined(__AMX_BF16__)

/** A tile: 16 rows of 16 words. */
struct Tile {
  words rows[16];
};
static thread_local Tile tile[8];

static inline void loadTile(int t, const void* from, size_t stride) {
  for (int i = 0; i < 16; i++) __builtin_memcpy(&tile[t].rows[i], (const char*)from + i * stride, 64);
}

static inline void storeTile(int t, void* to, size_t stride) {
  for (int i = 0; i < 16; i++) __builtin_memcpy((char*)to + i * stride, &tile[t].rows[i], 64);
}

static inline words broadcast(uint32_t x) { return words{} + x; }

static inline words flushed(__m512 x) { return flushed((words)x); }

/**
 * c += a·b: even values of k and odd ones are summed from zero, each in order, and then both sums are added. No result
 * is subnormal.
 */
static inline void multiplyTiles(int c, int a, int b) {
  for (int i = 0; i < 16; i++) {
    words even{}, odd{};
    for (int k = 0; k < 16; k++) {
      const words x = broadcast(tile[a].rows[i][k]), y = tile[b].rows[k];
      even = flushed(fmadd((__m512)flushed(x << 16), (__m512)flushed(y << 16), (__m512)even));
      odd = flushed(fmadd((__m512)flushed(x & 0xffff0000u), (__m512)flushed(y & 0xffff0000u), (__m512)odd));
    }
    const words product = flushed((__m512)even + (__m512)odd);
    tile[c].rows[i] = flushed((__m512)flushed(tile[c].rows[i]) + (__m512)product);
  }
}

#endif

}  // namespace emulated

#if defined(__AMX_BF16__)
#undef _tile_loadd
#undef _tile_stored
#undef _tile_zero
#undef _tile_dpbf16ps
#define _tile_loadconfig(shapes) (void)(shapes)
#define _tile_release() (void)0
#define _tile_zero(t) (emulated::tile[t] = emulated::Tile{})
#define _tile_loadd(t, from, stride) emulated::loadTile(t, from, stride)
#define _tile_stored(t, to, stride) emulated::storeTile(t, to, stride)
#define _tile_dpbf16ps(c, a, b) emulated::multiplyTiles(c, a, b)
#endif
#define _mm512_fmadd_ps emulated::fmadd
#define _mm512_max_ps emulated::max
#define _mm512_min_ps emulated::min
#define _mm512_sqrt_ps emulated::sqrt
#define _mm512_scalef_ps emulated::scalef
#define _mm512_maskz_loadu_ps emulated::loadMasked
#define _mm512_mask_storeu_ps emulated::storeMasked
#define _mm512_cvtne2ps_pbh(a, b) emulated::cvtne2ps(a, b)
#define _mm512_dpbf16_ps(c, a, b) emulated::dpbf16(c, (__m512)(a), (__m512)(b))
#define _mm512_permutexvar_epi16 emulated::permutexvar
#define _mm512_madd_epi16 emulated::madd
#if defined(__AVX512BF16__)
#define __AVX512VNNI__  // here, since GCC's header takes it for a flag of the compiler
#endif
#define _mm512_dpwssd_epi32 emulated::dpwssd
