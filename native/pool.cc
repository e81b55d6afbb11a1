/**
 * The thread pool and the scratch memory: see pool.h. Calls of the operating system belong in system.h.
 *
 * A job is open while `generation` is odd. A worker enters by raising `active` and then looking at `generation`
 * again; the caller leaves by closing the job and then waiting for `active` to fall to zero. So the caller
 * never waits for a worker that slept through the job, and short jobs cost no wake-up.
 *
 * Each worker begins with its own run of neighbouring tasks, and then helps the others. Kernels split their work by
 * rows, so that a kernel finds in a processor's cache what the kernel before it left there.
 */
#include "pool.h"

#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <new>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "system.h"

namespace loopnn {
namespace {

constexpr size_t kLeastScratch = size_t{4} << 20;  // bytes; from this size on memory has huge pages
constexpr int kSpins = 2000;       // about 30 µs: longer than the gap between two kernels of a step
constexpr int kMaxThreads = 1024;

inline void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

struct Scratch {
  void* memory = nullptr;
  size_t bytes = 0;

  /** Grows to at least `wanted` bytes; the content is lost. */
  void ensure(size_t wanted) {
    if (wanted <= bytes) return;
    // Grows in large steps, to at least a size with huge pages: reads of packed operands are scattered.
    wanted += wanted / 4;
    if (wanted < kLeastScratch) wanted = kLeastScratch;
    freePages(memory, bytes);
    memory = nullptr;
    bytes = 0;
    memory = allocatePages(wanted);
    if (!memory) throw std::bad_alloc();
    bytes = wanted;
  }
};

/** The tasks of one worker that no thread has taken yet; in a separate cache line. */
struct alignas(64) Run {
  std::atomic<int64_t> next{0};
  int64_t end = 0;
};

class Pool {
 public:
  Pool() { resize(initialThreads()); }

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  void resize(int threads) {
    stopping_ = true;
    {
      std::lock_guard<std::mutex> lock(mutex_);
      wake_.notify_all();
    }
    for (std::thread& worker : workers_) worker.join();
    workers_.clear();
    stopping_ = false;
    scratch_.resize(threads);
    runs_ = std::vector<Run>(threads);
    for (int i = 1; i < threads; i++) {
      const uint64_t seen = generation_;
      try {
        workers_.emplace_back([this, i, seen] { work(i, seen); });
      } catch (const std::system_error&) {
        return;  // the system starts no more threads: continue with these
      }
    }
  }

  void run(int64_t tasks, TaskFn fn, void* context) {
    if (tasks <= 1 || workers_.empty()) {
      for (int64_t task = 0; task < tasks; task++) fn(context, task, 0);
      return;
    }
    fn_ = fn;
    context_ = context;
    const int64_t workers = threads();
    for (int64_t i = 0; i < workers; i++) {
      runs_[i].next.store(tasks * i / workers, std::memory_order_relaxed);
      runs_[i].end = tasks * (i + 1) / workers;
    }
    generation_++;
    if (sleepers_ > 0) {
      std::lock_guard<std::mutex> lock(mutex_);
      wake_.notify_all();
    }
    grab(0);
    generation_++;
    for (int spins = 0; active_ > 0; spins++) {
      if (spins < kSpins) {
        pause();
      } else {
        std::this_thread::yield();
      }
    }
  }

  void reserve(size_t bytes) {
    for (Scratch& scratch : scratch_) scratch.ensure(bytes);
  }

  float* scratch(int worker) { return static_cast<float*>(scratch_[worker].memory); }

 private:
  static int initialThreads() {
    const char* wish = std::getenv("LOOPNN_NUM_THREADS");
    if (wish && *wish) {
      char* end = nullptr;
      const long n = std::strtol(wish, &end, 10);
      if (*end == 0 && n >= 1 && n <= kMaxThreads) return static_cast<int>(n);
      throw std::runtime_error("LOOPNN_NUM_THREADS must be a whole number from 1 to 1024, got '" +
                               std::string(wish) + "'");
    }
    return std::min(processors(), kMaxThreads);
  }

  void grab(int worker) {
    const int workers = threads();
    for (int i = 0; i < workers; i++) {
      Run& run = runs_[(worker + i) % workers];
      for (;;) {
        const int64_t task = run.next.fetch_add(1, std::memory_order_relaxed);
        if (task >= run.end) break;
        fn_(context_, task, worker);
      }
    }
  }

  void work(int worker, uint64_t seen) {
    while (waitForJob(seen)) {
      const uint64_t job = generation_;
      active_++;
      if ((job & 1) != 0 && generation_ == job) grab(worker);
      active_--;
      seen = job;
    }
  }

  /** Spins, then sleeps, until a job other than `seen` is open; false when the pool is stopping. */
  bool waitForJob(uint64_t seen) {
    auto ready = [&] {
      const uint64_t now = generation_;
      return stopping_ || ((now & 1) != 0 && now != seen);
    };
    for (int spins = 0; spins < kSpins && !ready(); spins++) pause();
    if (!ready()) {
      std::unique_lock<std::mutex> lock(mutex_);
      sleepers_++;
      wake_.wait(lock, ready);
      sleepers_--;
    }
    return !stopping_;
  }

  std::vector<std::thread> workers_;
  std::vector<Scratch> scratch_;
  TaskFn fn_ = nullptr;
  void* context_ = nullptr;
  std::vector<Run> runs_;
  std::atomic<uint64_t> generation_{0};
  std::atomic<int> active_{0};
  std::atomic<int> sleepers_{0};
  std::atomic<bool> stopping_{false};
  std::mutex mutex_;
  std::condition_variable wake_;
};

// Never destroyed: its threads may outlive static destructors at exit.
Pool& pool() {
  static Pool* instance = new Pool;
  return *instance;
}

Scratch shared[kSharedAreas];

}  // namespace

void runTasks(int64_t tasks, TaskFn fn, void* context) { pool().run(tasks, fn, context); }
int threadCount() { return pool().threads(); }
void setThreadCount(int threads) { pool().resize(threads); }
void reserveScratch(size_t bytes) { pool().reserve(bytes); }
float* workerScratch(int worker) { return pool().scratch(worker); }

float* sharedScratch(SharedArea area, size_t bytes) {
  shared[area].ensure(bytes);
  return static_cast<float*>(shared[area].memory);
}

}  // namespace loopnn
