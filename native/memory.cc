/**
 * Memory that JavaScript sees as ArrayBuffers and this addon owns: aligned and zeroed. `free` releases it at once;
 * otherwise it is released when the garbage collector collects the buffer.
 *
 * V8 already counts an external ArrayBuffer's bytes when it schedules collections. napi_adjust_external_memory would
 * count them twice, and cause needless collections.
 */
#include <mutex>
#include <unordered_map>

#include "bindings.h"
#include "system.h"

namespace loopnn {
namespace {

/** One allocation. It exists until the buffer's finalizer has run; `memory` is null once it has been released. */
struct Block {
  void* memory;
  size_t bytes;
};

std::mutex mutex;
std::unordered_map<void*, Block*>& blocks() {
  static auto* map = new std::unordered_map<void*, Block*>;
  return *map;
}

void release(Block* block) {
  std::lock_guard<std::mutex> lock(mutex);
  if (!block->memory) return;
  blocks().erase(block->memory);
  freePages(block->memory, block->bytes);
  block->memory = nullptr;
}

void finalize(napi_env, void*, void* hint) {
  Block* block = static_cast<Block*>(hint);
  release(block);
  delete block;
}

napi_value allocate(Call& call) {
  const double wanted = call.number(0, "bytes", 1, 9007199254740991.0);
  const size_t bytes = static_cast<size_t>(wanted);
  void* memory = allocatePages(bytes);
  if (!memory) {
    throw Refusal{"BackendError", "argument 'bytes' must fit into the memory that is free", "", wanted, true};
  }
  Block* block = new Block{memory, bytes};
  {
    std::lock_guard<std::mutex> lock(mutex);
    blocks()[memory] = block;
  }
  napi_value buffer;
  if (napi_create_external_arraybuffer(call.env(), memory, bytes, finalize, block, &buffer) != napi_ok) {
    // A runtime that refuses the size has thrown, and may have called `finalize`, which frees the block.
    napi_value pending;
    napi_get_and_clear_last_exception(call.env(), &pending);
    bool ours = false;
    {
      std::lock_guard<std::mutex> lock(mutex);
      ours = blocks().count(memory) > 0;
    }
    if (ours) finalize(nullptr, nullptr, block);
    throw Refusal{"BackendError", "this runtime must accept external ArrayBuffers of this size", "", wanted, true};
  }
  return buffer;
}

napi_value free(Call& call) {
  void* memory = nullptr;
  size_t bytes = 0;
  bool isBuffer = false;
  napi_is_arraybuffer(call.env(), call.value(0), &isBuffer);
  if (!isBuffer || napi_get_arraybuffer_info(call.env(), call.value(0), &memory, &bytes) != napi_ok) {
    throw Refusal{"BackendError", "argument 'buffer' must be an ArrayBuffer from allocate", ""};
  }
  Block* block = nullptr;
  {
    std::lock_guard<std::mutex> lock(mutex);
    const auto found = blocks().find(memory);
    if (found != blocks().end()) block = found->second;
  }
  if (!block) {
    throw Refusal{"BackendError", "argument 'buffer' must come from allocate and not have been freed", ""};
  }
  if (napi_detach_arraybuffer(call.env(), call.value(0)) != napi_ok) {
    throw Refusal{"BackendError", "argument 'buffer' must be detachable", ""};
  }
  release(block);
  return nullptr;
}

}  // namespace

const Binding kMemoryBindings[] = {
    {"allocate", 1, allocate},
    {"free", 1, free},
    {nullptr, 0, nullptr},
};

}  // namespace loopnn
