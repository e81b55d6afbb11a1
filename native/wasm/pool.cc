/**
 * The thread pool and the scratch memory in WebAssembly: see pool.h. Its threads are workers that the host starts on
 * the same memory; they call `work`, which does not return. A job is open while `generation` is odd; native/pool.cc has
 * the same protocol.
 */
#include "pool.h"

#include "host.h"
#include "system.h"

namespace loopnn {
namespace {

constexpr int kSpins = 20000;  // about 30 µs: longer than the gap between two kernels of a step
constexpr int kMostThreads = 256;
constexpr int64_t kNap = 50000;  // ns
constexpr int64_t kForever = -1;
constexpr size_t kLeastScratch = size_t{64} << 10;

template <class T>
T get(const T& x) {
  return __atomic_load_n(&x, __ATOMIC_SEQ_CST);
}
template <class T>
void put(T& x, T value) {
  __atomic_store_n(&x, value, __ATOMIC_SEQ_CST);
}
template <class T>
T add(T& x, T value) {
  return __atomic_fetch_add(&x, value, __ATOMIC_SEQ_CST);
}

struct {
  TaskFn fn;
  void* context;
  int64_t tasks, next;
} job;
int32_t generation = 0, active = 0, sleepers = 0, threads = 1;

struct Scratch {
  void* memory;
  size_t bytes;

  /** Grows to at least `wanted` bytes; the content is lost. */
  void ensure(size_t wanted) {
    if (wanted <= bytes) return;
    const size_t roomy = wanted + wanted / 4 < kLeastScratch ? kLeastScratch : wanted + wanted / 4;
    freePages(memory, bytes);
    bytes = 0;
    memory = allocatePages(roomy);
    if (!memory) outOfMemory(static_cast<double>(roomy));
    bytes = roomy;
  }
};
Scratch own[kMostThreads], shared[kSharedAreas];

void grab(int worker) {
  for (;;) {
    const int64_t task = add(job.next, int64_t{1});
    if (task >= job.tasks) return;
    job.fn(job.context, task, worker);
  }
}

/** Spins, then sleeps, until a job other than `seen` is open in which this worker takes part. */
int32_t nextJob(int worker, int32_t seen) {
  for (int spins = 0;; spins++) {
    const int32_t count = get(threads);
    if (worker >= count) {
      __builtin_wasm_memory_atomic_wait32(&threads, count, kForever);
      continue;
    }
    const int32_t now = get(generation);
    if ((now & 1) != 0 && now != seen) return now;
    if (spins < kSpins) continue;
    add(sleepers, 1);
    __builtin_wasm_memory_atomic_wait32(&generation, now, kForever);
    add(sleepers, -1);
    spins = 0;
  }
}

}  // namespace

void runTasks(int64_t tasks, TaskFn fn, void* context) {
  if (tasks <= 1 || threads == 1) {
    for (int64_t task = 0; task < tasks; task++) fn(context, task, 0);
    return;
  }
  job = {fn, context, tasks, 0};
  add(generation, 1);
  if (get(sleepers) > 0) __builtin_wasm_memory_atomic_notify(&generation, kMostThreads);
  grab(0);
  add(generation, 1);
  for (int spins = 0;; spins++) {
    const int32_t busy = get(active);
    if (busy == 0) return;
    if (spins >= kSpins) __builtin_wasm_memory_atomic_wait32(&active, busy, kNap);
  }
}

int threadCount() { return threads; }

void setThreadCount(int count) {
  put(threads, count < kMostThreads ? count : kMostThreads);
  __builtin_wasm_memory_atomic_notify(&threads, kMostThreads);
}

void reserveScratch(size_t bytes) {
  for (int i = 0; i < threads; i++) own[i].ensure(bytes);
}
float* workerScratch(int worker) { return static_cast<float*>(own[worker].memory); }

float* sharedScratch(SharedArea area, size_t bytes) {
  shared[area].ensure(bytes);
  return static_cast<float*>(shared[area].memory);
}

/** The loop of a worker's thread. */
LOOPNN_EXPORT(work) void work(int32_t worker) {
  for (int32_t seen = 0;;) {
    const int32_t open = nextJob(worker, seen);
    add(active, 1);
    if (get(generation) == open) grab(worker);
    add(active, -1);
    seen = open;
  }
}

}  // namespace loopnn
