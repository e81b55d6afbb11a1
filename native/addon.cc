/**
 * The addon's exports to JavaScript: the kernels, memory, and a few functions about the machine. A Refusal becomes an
 * error from the function given to `setErrorFactory`. This file must not check shapes or compute.
 */
#include <mutex>
#include <new>
#include <stdexcept>

#include "bindings.h"
#include "kernels.h"
#include "pool.h"
#include "system.h"

namespace loopnn {
namespace {

constexpr int kMostThreads = 1024;

/** Held during a call: all JavaScript threads of the process share the pool and its scratch. */
std::mutex running;

/** The state of one JavaScript environment: the function that makes errors. */
struct Instance {
  napi_ref errorFactory = nullptr;
};

napi_value text(napi_env env, const std::string& s) {
  napi_value v = nullptr;
  napi_create_string_utf8(env, s.c_str(), s.size(), &v);
  return v;
}

/** Throws factory(kind, where, rule, got), or a plain Error where no factory has been set. */
void throwRefusal(napi_env env, const char* where, const Refusal& refusal) {
  Instance* instance = nullptr;
  napi_get_instance_data(env, reinterpret_cast<void**>(&instance));
  napi_value factory = nullptr;
  if (instance && instance->errorFactory) napi_get_reference_value(env, instance->errorFactory, &factory);
  if (!factory) {
    napi_throw_error(env, nullptr, (std::string(where) + ": " + refusal.rule).c_str());
    return;
  }
  napi_value got = nullptr, global = nullptr, error = nullptr;
  napi_get_global(env, &global);
  if (refusal.gotIsNumber) {
    napi_create_double(env, refusal.gotNumber, &got);
  } else if (refusal.got.empty()) {
    napi_get_undefined(env, &got);
  } else {
    got = text(env, refusal.got);
  }
  napi_value arguments[] = {text(env, refusal.kind), text(env, where), text(env, refusal.rule), got};
  if (napi_call_function(env, global, factory, 4, arguments, &error) == napi_ok) napi_throw(env, error);
}

/** The entry of every call from JavaScript; `data` is its Binding. */
napi_value enter(napi_env env, napi_callback_info info) {
  void* data = nullptr;
  napi_get_cb_info(env, info, nullptr, nullptr, nullptr, &data);
  const Binding* binding = static_cast<const Binding*>(data);
  try {
    Call call(env, info, binding->arguments);
    std::lock_guard<std::mutex> lock(running);
    return binding->run(call);
  } catch (const Refusal& refusal) {
    throwRefusal(env, binding->name, refusal);
  } catch (const std::bad_alloc&) {
    throwRefusal(env, binding->name, {"BackendError", "needs more scratch memory than is free", ""});
  } catch (const std::exception& error) {
    throwRefusal(env, binding->name, {"BackendError", error.what(), ""});
  }
  return nullptr;
}

napi_value setErrorFactory(Call& call) {
  napi_valuetype kind;
  napi_typeof(call.env(), call.value(0), &kind);
  if (kind != napi_function) throw Refusal{"BackendError", "argument 'factory' must be a function", ""};
  Instance* instance = nullptr;
  napi_get_instance_data(call.env(), reinterpret_cast<void**>(&instance));
  if (instance->errorFactory) napi_delete_reference(call.env(), instance->errorFactory);
  instance->errorFactory = nullptr;
  napi_create_reference(call.env(), call.value(0), 1, &instance->errorFactory);
  return nullptr;
}

napi_value setThreads(Call& call) {
  const int64_t n = call.dim(0, "threads");
  if (n > kMostThreads) {
    throw Refusal{"BackendError", "argument 'threads' must be at most " + std::to_string(kMostThreads), "",
                  static_cast<double>(n), true};
  }
  setThreadCount(static_cast<int>(n));
  return nullptr;
}

napi_value chooseIsa(Call& call) {
  char name[32] = {};
  size_t length = 0;
  if (napi_get_value_string_utf8(call.env(), call.value(0), name, sizeof name, &length) != napi_ok) {
    throw Refusal{"BackendError", "argument 'isa' must be a string", ""};
  }
  setIsa(name);
  return nullptr;
}

/** { isa, isas, bf16, fastBf16, threads, compiler } */
napi_value info(Call& call) {
  napi_env env = call.env();
  napi_value result, isas, bf16, fastBf16, threads;
  napi_create_object(env, &result);
  napi_create_array(env, &isas);
  uint32_t count = 0;
  for (const Isa* isa = allIsas(); isa->name; isa++) {
    if (isa->supported()) napi_set_element(env, isas, count++, text(env, isa->name));
  }
  napi_create_int32(env, threadCount(), &threads);
  napi_set_named_property(env, result, "isa", text(env, currentIsa().name));
  napi_set_named_property(env, result, "isas", isas);
  napi_get_boolean(env, currentIsa().bf16, &bf16);
  napi_set_named_property(env, result, "bf16", bf16);
  napi_get_boolean(env, currentIsa().fastBf16(), &fastBf16);
  napi_set_named_property(env, result, "fastBf16", fastBf16);
  napi_set_named_property(env, result, "threads", threads);
#if defined(__clang__)
  napi_set_named_property(env, result, "compiler", text(env, __VERSION__));
#else
  napi_set_named_property(env, result, "compiler", text(env, "GCC " __VERSION__));
#endif
  return result;
}

const Binding kMachineBindings[] = {
    {"setErrorFactory", 1, setErrorFactory},
    {"setThreads", 1, setThreads},
    {"setIsa", 1, chooseIsa},
    {"info", 0, info},
    {nullptr, 0, nullptr},
};

void define(napi_env env, napi_value exports, const Binding* binding) {
  for (; binding->name; binding++) {
    napi_value fn;
    napi_create_function(env, binding->name, NAPI_AUTO_LENGTH, enter, const_cast<Binding*>(binding), &fn);
    napi_set_named_property(env, exports, binding->name, fn);
  }
}

}  // namespace
}  // namespace loopnn

NAPI_MODULE_INIT() {
  using namespace loopnn;
  // Pool threads may still sleep in this library when a worker thread's environment ends.
  stayLoaded();
  Instance* instance = new Instance;
  napi_set_instance_data(env, instance, [](napi_env, void* data, void*) { delete static_cast<Instance*>(data); },
                         nullptr);
  define(env, exports, kKernelBindings);
  define(env, exports, kMeasureBindings);
  define(env, exports, kMemoryBindings);
  define(env, exports, kChecksumBindings);
  define(env, exports, kMachineBindings);
  return exports;
}
