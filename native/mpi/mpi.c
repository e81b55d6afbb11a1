/**
 * MPI as a Node-API module: this process's rank, messages between ranks, and aborting all ranks. The installed MPI's
 * mpicc compiles it, because MPI libraries have no common ABI. It does not interpret arrays, and does not decide which
 * rank sends what to which.
 *
 * One thread makes all calls of MPI, and advances messages while JavaScript computes. Every second it also tells the
 * other ranks that this process is alive; if a rank is silent for too long, it aborts all ranks. MPI's own waiting
 * would occupy a processor, which kernels need: the thread polls instead, and sleeps in between.
 */
#include <mpi.h>
#include <node_api.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/** Seconds between signs of life, and seconds of silence after which a rank counts as lost. */
static const double kLifeEvery = 1;
static const double kLostAfter = 20;
/** Polls without result after which the thread sleeps between polls, and the length of a sleep in nanoseconds. */
static const int kPatience = 1000;
static const long kNap = 50 * 1000;
/** The length of a sleep while no exchange is under way; new work wakes the thread. */
static const long kRest = 50 * 1000 * 1000;
/** Seconds from a failure that MPI reports until this process aborts all ranks. */
static const unsigned kGrace = 2;
/** Nanoseconds in which the launcher forwards what this process prints. */
static const long kHandOn = 300 * 1000 * 1000;
/** Seconds for MPI to abort all processes; after them this process exits by itself. */
static const unsigned kAbortTime = 3;

typedef enum { START, EXCHANGE, FINISH } Kind;

/** A request from JavaScript, until its promise is settled. */
typedef struct Work {
  Kind kind;
  napi_deferred deferred;
  /** The JavaScript array that keeps the bytes of messages alive; null without messages. */
  napi_ref kept;
  int count;
  struct Message {
    bool sent;
    int peer;
    void* bytes;
    int length;
  }* messages;
  MPI_Request* requests;
  MPI_Status* statuses;
  struct Work* next;
} Work;

static struct {
  pthread_mutex_t lock;
  pthread_cond_t wake;
  /** Work that the thread has not seen yet. */
  Work *first, *last;
  /** The exit code with which JavaScript aborts all ranks; 0 until it does. */
  int abortCode;
  /** A description of each rank; null until set. */
  char** names;

  int rank, size;
  napi_threadsafe_function settle;
  pthread_t thread;
  /** Used by the JavaScript thread alone: whether `start` was called, and the number of unsettled promises. */
  bool started;
  int waiting;
} state = {.lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER};

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void nap(long nanoseconds) {
  const struct timespec t = {.tv_sec = 0, .tv_nsec = nanoseconds};
  nanosleep(&t, NULL);
}

// ---- the thread of MPI ------------------------------------------------------------------------------------------

static MPI_Comm data, life;
static const int kTag = 1;

/** Signs of life, by rank: requests and counts of those received and those sent, and the time of the last received. */
static struct Sign {
  MPI_Request hears, tells;
  int heard, told;
  double last;
  char in, out;
}* signs;
static double lastTold;

_Noreturn static void endAll(int code) {
  // The launcher's process on this machine ends at once, perhaps before it has forwarded what this process printed.
  nap(kHandOn);
  // MPI_Abort may wait for a lost rank; the alarm then ends this process.
  signal(SIGALRM, SIG_DFL);
  sigset_t alarms;
  sigemptyset(&alarms);
  sigaddset(&alarms, SIGALRM);
  pthread_sigmask(SIG_UNBLOCK, &alarms, NULL);
  alarm(kAbortTime);
  MPI_Abort(MPI_COMM_WORLD, code);
  _exit(code);
}

/**
 * Aborts all ranks if MPI reports a failure. The usual cause is a lost rank, whose memory cannot be read. The launcher
 * knows which rank that is: this process waits first, so that the launcher can end it before it prints.
 */
static void require(int result, const char* what) {
  if (result == MPI_SUCCESS) return;
  sleep(kGrace);
  char text[MPI_MAX_ERROR_STRING];
  int length = 0;
  MPI_Error_string(result, text, &length);
  fprintf(stderr, "loopnn: rank %d: %s failed: %.*s\n", state.rank, what, length, text);
  endAll(1);
}

static void listen(int peer) {
  require(MPI_Irecv(&signs[peer].in, 1, MPI_BYTE, peer, kTag, life, &signs[peer].hears), "receiving a sign of life");
}

static void reportLost(int peer, double silence) {
  pthread_mutex_lock(&state.lock);
  const char* name = state.names ? state.names[peer] : "not introduced yet";
  fprintf(stderr, "loopnn: rank %d: no message from rank %d (%s) for %.0f s: %s\n", state.rank, peer, name, silence,
          "it has ended or hangs, or the network is down");
  pthread_mutex_unlock(&state.lock);
}

/** Receives and sends signs of life; aborts all ranks if one has been silent for too long. */
static void showLife(void) {
  const double t = now();
  const bool tell = t - lastTold >= kLifeEvery;
  if (tell) lastTold = t;
  for (int peer = 0; peer < state.size; peer++) {
    struct Sign* sign = &signs[peer];
    if (peer == state.rank) continue;
    int done = 0;
    require(MPI_Test(&sign->hears, &done, MPI_STATUS_IGNORE), "receiving a sign of life");
    if (done) {
      sign->heard++;
      sign->last = t;
      listen(peer);
    }
    if (tell) {
      require(MPI_Test(&sign->tells, &done, MPI_STATUS_IGNORE), "sending a sign of life");
      if (done) {
        sign->told++;
        require(MPI_Isend(&sign->out, 1, MPI_BYTE, peer, kTag, life, &sign->tells), "sending a sign of life");
      }
    }
    if (t - sign->last > kLostAfter) {
      reportLost(peer, t - sign->last);
      endAll(1);
    }
  }
}

static void startMpi(void) {
  int given = 0;
  MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &given);
  MPI_Comm_dup(MPI_COMM_WORLD, &data);
  MPI_Comm_dup(MPI_COMM_WORLD, &life);
  MPI_Comm_set_errhandler(data, MPI_ERRORS_RETURN);
  MPI_Comm_set_errhandler(life, MPI_ERRORS_RETURN);
  MPI_Comm_set_errhandler(MPI_COMM_SELF, MPI_ERRORS_RETURN);  // for calls without a communicator
  MPI_Comm_rank(data, &state.rank);
  MPI_Comm_size(data, &state.size);
  signs = calloc((size_t)state.size, sizeof *signs);
  for (int peer = 0; peer < state.size; peer++) {
    signs[peer].hears = signs[peer].tells = MPI_REQUEST_NULL;
    signs[peer].last = now();
    if (peer != state.rank) listen(peer);
  }
}

static void post(Work* work) {
  for (int i = 0; i < work->count; i++) {
    const struct Message* m = &work->messages[i];
    MPI_Request* request = &work->requests[i];
    if (m->sent)
      require(MPI_Isend(m->bytes, m->length, MPI_BYTE, m->peer, kTag, data, request), "sending");
    else
      require(MPI_Irecv(m->bytes, m->length, MPI_BYTE, m->peer, kTag, data, request), "receiving");
  }
}

static int abortWanted(void) {
  pthread_mutex_lock(&state.lock);
  const int code = state.abortCode;
  pthread_mutex_unlock(&state.lock);
  return code;
}

/** Waits for all ranks, and finalizes MPI once every sign of life has been received. */
static void finishMpi(void) {
  MPI_Request request;
  int done = 0;
  require(MPI_Ibarrier(data, &request), "the final barrier");
  while (true) {
    require(MPI_Test(&request, &done, MPI_STATUS_IGNORE), "the final barrier");
    if (done) break;
    showLife();
    if (abortWanted()) endAll(abortWanted());
    nap(kNap);
  }
  int* told = calloc((size_t)state.size, sizeof *told);
  int* expected = calloc((size_t)state.size, sizeof *expected);
  for (int peer = 0; peer < state.size; peer++) {
    if (peer == state.rank) continue;
    require(MPI_Wait(&signs[peer].tells, MPI_STATUS_IGNORE), "sending a sign of life");
    told[peer] = signs[peer].told;
  }
  require(MPI_Alltoall(told, 1, MPI_INT, expected, 1, MPI_INT, data), "the final exchange");
  for (int peer = 0; peer < state.size; peer++) {
    if (peer == state.rank) continue;
    for (; signs[peer].heard < expected[peer]; signs[peer].heard++) {
      require(MPI_Wait(&signs[peer].hears, MPI_STATUS_IGNORE), "receiving a sign of life");
      listen(peer);
    }
    MPI_Cancel(&signs[peer].hears);
    MPI_Wait(&signs[peer].hears, MPI_STATUS_IGNORE);
  }
  free(told);
  free(expected);
  MPI_Comm_free(&data);
  MPI_Comm_free(&life);
  MPI_Finalize();
}

static void* runMpi(void* unused) {
  (void)unused;
  Work* underWay = NULL;  // in the order of posting
  int inVain = 0;
  while (true) {
    pthread_mutex_lock(&state.lock);
    if (!state.first && !underWay && !state.abortCode) {
      struct timespec until;
      clock_gettime(CLOCK_REALTIME, &until);
      until.tv_nsec += kRest;
      until.tv_sec += until.tv_nsec / 1000000000;
      until.tv_nsec %= 1000000000;
      pthread_cond_timedwait(&state.wake, &state.lock, &until);
    }
    Work* fresh = state.first;
    state.first = state.last = NULL;
    pthread_mutex_unlock(&state.lock);
    if (abortWanted()) endAll(abortWanted());

    if (fresh) inVain = 0;
    while (fresh) {
      Work* work = fresh;
      fresh = fresh->next;
      work->next = NULL;
      if (work->kind == START) startMpi();
      if (work->kind == FINISH) finishMpi();
      const Kind kind = work->kind;
      if (kind != EXCHANGE) {
        napi_call_threadsafe_function(state.settle, work, napi_tsfn_blocking);  // which frees the work
        if (kind == FINISH) return NULL;
        continue;
      }
      post(work);
      Work** end = &underWay;
      while (*end) end = &(*end)->next;
      *end = work;
    }
    for (Work** at = &underWay; *at;) {
      Work* work = *at;
      int done = 0;
      require(MPI_Testall(work->count, work->requests, &done, work->statuses), "an exchange");
      if (!done) {
        at = &work->next;
        continue;
      }
      *at = work->next;
      inVain = 0;
      napi_call_threadsafe_function(state.settle, work, napi_tsfn_blocking);
    }
    if (signs) showLife();
    if (underWay && ++inVain > kPatience) nap(kNap);
  }
}

// ---- JavaScript's side --------------------------------------------------------------------------------------------

static void freeWork(Work* work) {
  free(work->messages);
  free(work->requests);
  free(work->statuses);
  free(work);
}

static void settle(napi_env env, napi_value callback, void* context, void* given) {
  (void)callback;
  (void)context;
  Work* work = given;
  if (!env) return;
  napi_value result = NULL, value = NULL;
  napi_get_undefined(env, &result);
  if (work->kind == START) {
    napi_create_object(env, &result);
    napi_create_int32(env, state.rank, &value);
    napi_set_named_property(env, result, "rank", value);
    napi_create_int32(env, state.size, &value);
    napi_set_named_property(env, result, "size", value);
  }
  if (--state.waiting == 0) napi_unref_threadsafe_function(env, state.settle);
  napi_resolve_deferred(env, work->deferred, result);
  if (work->kept) napi_delete_reference(env, work->kept);
  if (work->kind == FINISH) pthread_join(state.thread, NULL);
  freeWork(work);
}

static napi_value refuse(napi_env env, const char* rule) {
  napi_throw_type_error(env, NULL, rule);
  return NULL;
}

/** Hands work to the thread; returns its promise, which keeps the event loop alive. */
static napi_value hand(napi_env env, Work* work) {
  napi_value promise = NULL;
  napi_create_promise(env, &work->deferred, &promise);
  if (state.waiting++ == 0) napi_ref_threadsafe_function(env, state.settle);
  pthread_mutex_lock(&state.lock);
  if (state.last) state.last->next = work;
  else state.first = work;
  state.last = work;
  pthread_cond_signal(&state.wake);
  pthread_mutex_unlock(&state.lock);
  return promise;
}

/** library(): string; the MPI library's name and version. It may be called before start. */
static napi_value library(napi_env env, napi_callback_info info) {
  (void)info;
  char text[MPI_MAX_LIBRARY_VERSION_STRING];
  int length = 0;
  MPI_Get_library_version(text, &length);
  napi_value name = NULL;
  napi_create_string_utf8(env, text, (size_t)length, &name);
  return name;
}

/** start(): Promise<{ rank, size }>. */
static napi_value start(napi_env env, napi_callback_info info) {
  (void)info;
  if (state.started) return refuse(env, "start: has already been called");
  napi_value name = NULL;
  napi_create_string_utf8(env, "MPI", NAPI_AUTO_LENGTH, &name);
  if (napi_create_threadsafe_function(env, NULL, NULL, name, 0, 1, NULL, NULL, NULL, settle, &state.settle) != napi_ok)
    return refuse(env, "start: Node cannot make a function that another thread can call");
  napi_unref_threadsafe_function(env, state.settle);
  if (pthread_create(&state.thread, NULL, runMpi, NULL) != 0)
    return refuse(env, "start: the system cannot make a thread");
  state.started = true;
  Work* work = calloc(1, sizeof *work);
  work->kind = START;
  return hand(env, work);
}

/**
 * exchange(peers, arrays, sends): Promise<void>; the first `sends` of the Uint8Arrays are sent, the others received.
 */
static napi_value exchange(napi_env env, napi_callback_info info) {
  size_t argc = 3;
  napi_value argv[3];
  napi_get_cb_info(env, info, &argc, argv, NULL, NULL);
  uint32_t count = 0, peers = 0;
  int32_t sends = 0;
  if (argc < 3 || napi_get_array_length(env, argv[0], &peers) != napi_ok ||
      napi_get_array_length(env, argv[1], &count) != napi_ok || peers != count ||
      napi_get_value_int32(env, argv[2], &sends) != napi_ok)
    return refuse(env, "exchange: needs a rank for each array, and the number of arrays to send");
  if (!state.started) return refuse(env, "exchange: must be called after start");
  Work* work = calloc(1, sizeof *work);
  work->kind = EXCHANGE;
  work->count = (int)count;
  work->messages = calloc(count + 1, sizeof *work->messages);
  work->requests = calloc(count + 1, sizeof *work->requests);
  work->statuses = calloc(count + 1, sizeof *work->statuses);
  for (uint32_t i = 0; i < count; i++) {
    struct Message* m = &work->messages[i];
    napi_value value = NULL;
    napi_typedarray_type type;
    size_t length = 0;
    m->sent = (int32_t)i < sends;
    const bool known = napi_get_element(env, argv[0], i, &value) == napi_ok &&
                       napi_get_value_int32(env, value, &m->peer) == napi_ok && m->peer >= 0 &&
                       m->peer < state.size && m->peer != state.rank;
    const bool bytes = napi_get_element(env, argv[1], i, &value) == napi_ok &&
                       napi_get_typedarray_info(env, value, &type, &length, &m->bytes, NULL, NULL) == napi_ok &&
                       type == napi_uint8_array && length <= 1 << 30;
    if (!known || !bytes) {
      freeWork(work);
      return refuse(env,
                    known ? "exchange: needs Uint8Arrays of at most 1 GiB" : "exchange: needs other ranks");
    }
    m->length = (int)length;
  }
  napi_create_reference(env, argv[1], 1, &work->kept);
  return hand(env, work);
}

/** introduce(names): a description of each rank, for messages about it. */
static napi_value introduce(napi_env env, napi_callback_info info) {
  size_t argc = 1;
  napi_value argv[1];
  uint32_t count = 0;
  napi_get_cb_info(env, info, &argc, argv, NULL, NULL);
  if (argc < 1 || napi_get_array_length(env, argv[0], &count) != napi_ok || (int)count != state.size || state.names)
    return refuse(env, "introduce: needs a name for each rank, and must be called once");
  char** names = calloc(count, sizeof *names);
  for (uint32_t i = 0; i < count; i++) {
    napi_value value = NULL;
    size_t length = 0;
    napi_get_element(env, argv[0], i, &value);
    napi_get_value_string_utf8(env, value, NULL, 0, &length);
    names[i] = calloc(length + 1, 1);
    napi_get_value_string_utf8(env, value, names[i], length + 1, &length);
  }
  pthread_mutex_lock(&state.lock);
  state.names = names;
  pthread_mutex_unlock(&state.lock);
  return NULL;
}

/** finish(): Promise<void>; waits for every rank to call it. */
static napi_value finish(napi_env env, napi_callback_info info) {
  (void)info;
  if (!state.started) return refuse(env, "finish: must be called after start");
  Work* work = calloc(1, sizeof *work);
  work->kind = FINISH;
  return hand(env, work);
}

/** abort(code): ends every rank, this one last; does not return. */
static napi_value abortAll(napi_env env, napi_callback_info info) {
  size_t argc = 1;
  napi_value argv[1];
  int32_t code = 1;
  napi_get_cb_info(env, info, &argc, argv, NULL, NULL);
  if (argc > 0) napi_get_value_int32(env, argv[0], &code);
  if (code == 0) code = 1;
  fflush(NULL);
  pthread_mutex_lock(&state.lock);
  state.abortCode = code;
  pthread_cond_signal(&state.wake);
  pthread_mutex_unlock(&state.lock);
  // The thread may be in a call of MPI that never returns.
  for (unsigned i = 0; i < 10 * (kAbortTime + 1); i++) nap(100 * 1000 * 1000);
  _exit(code);
}

NAPI_MODULE_INIT() {
  const struct {
    const char* name;
    napi_callback call;
  } functions[] = {
      {"library", library},     {"start", start},   {"exchange", exchange},
      {"introduce", introduce}, {"finish", finish}, {"abort", abortAll},
  };
  for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
    napi_value function = NULL;
    napi_create_function(env, functions[i].name, NAPI_AUTO_LENGTH, functions[i].call, NULL, &function);
    napi_set_named_property(env, exports, functions[i].name, function);
  }
  return exports;
}
