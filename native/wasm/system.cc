/** Memory in WebAssembly: see system.h. It comes from the linear memory, which never shrinks. */
#include "system.h"

#include <stdlib.h>
#include <string.h>

namespace loopnn {

void* allocatePages(size_t bytes) {
  void* memory = nullptr;
  if (posix_memalign(&memory, 64, bytes == 0 ? 64 : bytes) != 0) return nullptr;
  return memset(memory, 0, bytes);
}

void freePages(void* memory, size_t) { free(memory); }

}  // namespace loopnn
