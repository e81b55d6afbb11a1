/**
 * The thread pool and the scratch memory of the kernels. It must not know kernels.
 *
 * Work is a number of tasks that threads grab one by one. How work is cut into tasks must be a function of the
 * shapes alone: then results do not depend on the number of threads or on who takes which task.
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
 * Throws std::runtime_error where the variable is not a number of threads.
 */
int threadCount();
void setThreadCount(int threads);

/** Ensures that every worker owns `bytes` of scratch. Call before runTasks; throws std::bad_alloc. */
void reserveScratch(size_t bytes);
/** The scratch of one worker; contents are whatever the last task left. */
float* workerScratch(int worker);

/** Scratch shared by all workers, one area for each purpose so that nested users do not collide. */
enum SharedArea { kLogits, kRowSums, kPackedA, kPackedB, kSharedAreas };
float* sharedScratch(SharedArea area, size_t bytes);

}  // namespace loopnn
