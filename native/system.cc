/** Memory, processors and the library itself under Linux, macOS and Windows: see system.h. */
#include "system.h"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <thread>

#ifdef _WIN32
#include <malloc.h>
#include <windows.h>
#else
#include <dlfcn.h>
#include <sys/mman.h>
#include <unistd.h>
#endif
#ifdef __linux__
#include <sched.h>

#include <climits>
#include <cstdio>
#endif

namespace loopnn {
namespace {

/** From this size on, the system maps memory by pages: it is zero, and costs nothing until it is touched. */
constexpr size_t kMapFrom = size_t{128} << 10;

#ifdef __linux__
/** The number of processors whose time a container's control group (version 2) grants, rounded up. */
int quotaCpus() {
  long quota = 0;
  long period = 0;
  if (std::FILE* file = std::fopen("/sys/fs/cgroup/cpu.max", "r")) {
    if (std::fscanf(file, "%ld %ld", &quota, &period) != 2) quota = 0;  // "max": no limit
    std::fclose(file);
  }
  if (quota <= 0 || period <= 0) return INT_MAX;
  return static_cast<int>(std::min<long>((quota + period - 1) / period, INT_MAX));
}
#endif

}  // namespace

int processors() {
#ifdef __linux__
  cpu_set_t mask;
  if (sched_getaffinity(0, sizeof mask, &mask) == 0) return std::min(CPU_COUNT(&mask), quotaCpus());
#endif
  return std::max(1u, std::thread::hardware_concurrency());
}

#ifdef _WIN32

void* allocatePages(size_t bytes) {
  if (bytes >= kMapFrom) return VirtualAlloc(nullptr, bytes, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE);
  bytes = std::max<size_t>(bytes, 64);
  void* memory = _aligned_malloc(bytes, 64);
  return memory ? std::memset(memory, 0, bytes) : nullptr;
}

void freePages(void* memory, size_t bytes) {
  if (!memory) return;
  if (bytes < kMapFrom) {
    _aligned_free(memory);
  } else {
    VirtualFree(memory, 0, MEM_RELEASE);
  }
}

void stayLoaded() {
  HMODULE self = nullptr;
  GetModuleHandleExA(GET_MODULE_HANDLE_EX_FLAG_PIN | GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS,
                     reinterpret_cast<LPCSTR>(&stayLoaded), &self);
}

#else

namespace {

constexpr size_t kHugePage = size_t{2} << 20;
constexpr size_t kHugeFrom = size_t{4} << 20;

size_t wholePages(size_t bytes) {
  const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  return (bytes + page - 1) / page * page;
}

}  // namespace

void* allocatePages(size_t bytes) {
  if (bytes < kMapFrom) {
    void* memory = nullptr;
    if (posix_memalign(&memory, 64, bytes == 0 ? 64 : bytes) != 0) return nullptr;
    return std::memset(memory, 0, bytes);
  }
  if (bytes > SIZE_MAX / 2) return nullptr;
  const size_t length = wholePages(bytes);
  const size_t slack = bytes >= kHugeFrom ? kHugePage : 0;
  void* mapped = mmap(nullptr, length + slack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) return nullptr;
  if (slack == 0) return mapped;
  char* begin = static_cast<char*>(mapped);
  const size_t skip = (kHugePage - reinterpret_cast<uintptr_t>(begin) % kHugePage) % kHugePage;
  if (skip > 0) munmap(begin, skip);
  if (slack - skip > 0) munmap(begin + skip + length, slack - skip);
#ifdef MADV_HUGEPAGE
  madvise(begin + skip, length, MADV_HUGEPAGE);
#endif
  return begin + skip;
}

void freePages(void* memory, size_t bytes) {
  if (!memory) return;
  if (bytes < kMapFrom) {
    std::free(memory);
  } else {
    munmap(memory, wholePages(bytes));
  }
}

void stayLoaded() {
  Dl_info self;
  if (dladdr(reinterpret_cast<void*>(&stayLoaded), &self) != 0) dlopen(self.dli_fname, RTLD_NOW | RTLD_NODELETE);
}

#endif

}  // namespace loopnn
