/**
 * Detects which instructions may be used, by CPUID and XGETBV (Intel's manual, volume 1, chapters 14.3, 15.2 and 18.2).
 * The compilers' own `__builtin_cpu_supports` needs a runtime library that not every compiler has.
 */
#include "system.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace loopnn {
namespace {

#if defined(__x86_64__)
/**
 * Asks for the registers of AMX, 8 KiB a thread, for this process. Only Linux is asked: macOS runs on no processor that
 * has them, and nothing was tried under Windows.
 */
bool grantsTiles() {
#if defined(__linux__)
  constexpr long kRequest = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, from Linux 5.16 on
  return syscall(SYS_arch_prctl, kRequest, kTileData) == 0;
#else
  return false;
#endif
}
#endif

Instructions detect() {
  Instructions found{};
#if defined(__x86_64__)
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (!__get_cpuid(1, &a, &b, &c, &d)) return found;
  const auto bits = [](unsigned word, unsigned wanted) { return (word & wanted) == wanted; };
  found.crc32 = bits(c, bit_SSE4_2);
  if (!bits(c, bit_OSXSAVE | bit_AVX | bit_FMA)) return found;
  unsigned saved = 0, high = 0;
  asm("xgetbv" : "=a"(saved), "=d"(high) : "c"(0));
  if (!bits(saved, 0x06)) return found;  // the system must save 32-byte registers
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return found;
  found.avx2 = bits(b, bit_AVX2);
  // Masks and 64-byte registers. macOS enables them only at their first use, so that AVX-512 is not detected there.
  if (!bits(saved, 0xe6)) return found;
  found.avx512 = found.avx2 && bits(b, bit_AVX512F | bit_AVX512DQ | bit_AVX512BW | bit_AVX512VL);
  const bool vnni = bits(c, bit_AVX512VNNI);  // every processor with bf16 has it, but a virtual one may hide it
  if (found.avx512 && vnni && a >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d)) found.avx512bf16 = bits(a, 1u << 5);
  if (found.avx512bf16 && bits(saved, 0x60000) && __get_cpuid_count(7, 0, &a, &b, &c, &d)) {
    found.amx = bits(d, 1u << 22 | 1u << 24) && grantsTiles();
  }
  __get_cpuid(0, &a, &b, &c, &d);
  found.fastDots = found.avx512bf16 && b != signature_INTEL_ebx;
#endif
  return found;
}

}  // namespace

const Instructions& instructions() {
  static const Instructions found = detect();
  return found;
}

}  // namespace loopnn
