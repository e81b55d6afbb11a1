/**
 * The thread pool and the scratch memory of the kernels. It must not know kernels.
 *
 * Work is split into tasks, which threads take one by one. The split must be a function of the shapes alone, so that
 * results depend neither on the number of threads nor on which thread runs which task.
 */
#pragma once

#include <cstddef>
#include <cstdint>

namespace loopnn {

using TaskFn = void (*)(void* context, int64_t task, int worker);

/** Runs fn(context, t, worker) for every t in [0, tasks); the caller takes part as worker 0. Not reentrant. */
void runTasks(int64_t tasks, TaskFn fn, void* context);
/**
 * Number of threads, the caller included: LOOPNN_NUM_THREADS, or the CPUs this process may use.
 * Throws std::runtime_error if the variable is not a number of threads.
 */
int threadCount();
void setThreadCount(int threads);

/** Ensures that every worker owns `bytes` of scratch. Call before runTasks; throws std::bad_alloc. */
void reserveScratch(size_t bytes);
/** The scratch of one worker; its content is undefined at the start of a task. */
float* workerScratch(int worker);

/** Scratch shared by all workers, one area for each purpose so that nested users do not collide. */
enum SharedArea { kLogits, kRowSums, kPackedA, kPackedB, kSharedAreas };
float* sharedScratch(SharedArea area, size_t bytes);

}  // namespace loopnn
