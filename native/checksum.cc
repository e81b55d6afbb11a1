/**
 * CRC-32C (Castagnoli, RFC 3720 appendix B.4) of bytes. Processors have an instruction for eight bytes, with a latency
 * of three cycles, which can start once a cycle: so three thirds of the bytes are summed side by side, and their sums
 * joined.
 *
 * A checksum is a polynomial over GF(2) modulo the generator, its bits in reverse: bit 31 is the coefficient of x^0.
 */
#include <cstring>

#include "bindings.h"
#include "system.h"

#if defined(__x86_64__)
#include <nmmintrin.h>
#if defined(__clang__)  // for which SSE 4.2 does not imply it
#define LOOPNN_CRC_TARGET __attribute__((target("sse4.2,crc32")))
#else
#define LOOPNN_CRC_TARGET __attribute__((target("sse4.2")))
#endif
#elif defined(__ARM_FEATURE_CRC32)
#include <arm_acle.h>
#define LOOPNN_CRC_TARGET
#endif

namespace loopnn {
namespace {

constexpr uint32_t kGenerator = 0x82f63b78;

/** x·a modulo the generator. */
constexpr uint32_t timesX(uint32_t a) { return a & 1 ? (a >> 1) ^ kGenerator : a >> 1; }

/** The contributions of eight successive bytes: entries[k][b] is b followed by k zero bytes. */
struct Tables {
  uint32_t entries[8][256];
  Tables() {
    for (uint32_t byte = 0; byte < 256; byte++) {
      uint32_t crc = byte;
      for (int bit = 0; bit < 8; bit++) crc = timesX(crc);
      entries[0][byte] = crc;
    }
    for (int k = 1; k < 8; k++) {
      for (int byte = 0; byte < 256; byte++) {
        const uint32_t former = entries[k - 1][byte];
        entries[k][byte] = (former >> 8) ^ entries[0][former & 0xff];
      }
    }
  }
};

uint32_t fromTables(uint32_t crc, const uint8_t* p, size_t n) {
  static const Tables tables;
  const auto& t = tables.entries;
  for (; n >= 8; p += 8, n -= 8) {
    crc ^= p[0] | p[1] << 8 | p[2] << 16 | static_cast<uint32_t>(p[3]) << 24;
    crc = t[7][crc & 0xff] ^ t[6][crc >> 8 & 0xff] ^ t[5][crc >> 16 & 0xff] ^ t[4][crc >> 24] ^ t[3][p[4]] ^
          t[2][p[5]] ^ t[1][p[6]] ^ t[0][p[7]];
  }
  for (; n > 0; p++, n--) crc = (crc >> 8) ^ t[0][(crc ^ *p) & 0xff];
  return crc;
}

#ifdef LOOPNN_CRC_TARGET

uint32_t multiply(uint32_t a, uint32_t b) {
  uint32_t product = 0;
  for (uint32_t bit = 1u << 31; bit != 0; bit >>= 1) {
    if (a & bit) product ^= b;
    b = timesX(b);
  }
  return product;
}

/** x^(8·bytes): the factor of a checksum when `bytes` bytes follow. */
uint32_t shift(size_t bytes) {
  uint32_t result = 1u << 31;
  for (uint32_t square = 1u << 23; bytes > 0; bytes >>= 1) {
    if (bytes & 1) result = multiply(result, square);
    square = multiply(square, square);
  }
  return result;
}

LOOPNN_CRC_TARGET inline uint32_t next8(uint32_t crc, const uint8_t* p) {
  uint64_t word;
  std::memcpy(&word, p, sizeof word);
#if defined(__x86_64__)
  return static_cast<uint32_t>(_mm_crc32_u64(crc, word));
#else
  return __crc32cd(crc, word);
#endif
}

LOOPNN_CRC_TARGET uint32_t fromInstructions(uint32_t crc, const uint8_t* p, size_t n) {
  const size_t third = n / 24 * 8;
  uint32_t second = 0, last = 0;
  for (size_t i = 0; i < third; i += 8) {
    crc = next8(crc, p + i);
    second = next8(second, p + third + i);
    last = next8(last, p + 2 * third + i);
  }
  if (third > 0) {
    const uint32_t factor = shift(third);
    crc = multiply(factor, multiply(factor, crc) ^ second) ^ last;
  }
  return fromTables(crc, p + 3 * third, n - 3 * third);
}

bool hasInstructions() {
#if defined(__x86_64__)
  return instructions().crc32;
#else
  return true;
#endif
}

#endif

napi_value crc32c(Call& call) {
  int64_t n = 0;
  const uint8_t* bytes = call.inBytes(0, "bytes", n);
  uint32_t crc = ~call.word(1, "before");
#ifdef LOOPNN_CRC_TARGET
  // The portable set uses no special instructions.
  const bool fast = hasInstructions() && std::strcmp(currentIsa().name, "portable") != 0;
  crc = fast ? fromInstructions(crc, bytes, n) : fromTables(crc, bytes, n);
#else
  crc = fromTables(crc, bytes, n);
#endif
  napi_value result;
  napi_create_uint32(call.env(), ~crc, &result);
  return result;
}

}  // namespace

const Binding kChecksumBindings[] = {
    {"crc32c", 2, crc32c},
    {nullptr, 0, nullptr},
};

}  // namespace loopnn
