/** Reads and checks arguments: see args.h. */
#include "args.h"

#include <cmath>
#include <cstdio>

namespace loopnn {
namespace {

constexpr double kLargestDim = 2147483647;
constexpr double kLargestWhole = 9007199254740992;  // 2^53
constexpr const char* kArrayNames[] = {"Int8Array",   "Uint8Array",   "Uint8ClampedArray", "Int16Array",
                                       "Uint16Array", "Int32Array",   "Uint32Array",       "Float32Array",
                                       "Float64Array", "BigInt64Array", "BigUint64Array"};

std::string argument(const char* name, const std::string& rule) {
  return std::string("argument '") + name + "' must " + rule;
}

Refusal badNumber(const char* kind, const char* name, const std::string& rule, double got) {
  return {kind, argument(name, rule), "", got, true};
}

Refusal badType(const char* name, const std::string& rule, const std::string& got) {
  return {"BackendError", argument(name, rule), got};
}

std::string shortest(double x) {
  char buffer[32];
  std::snprintf(buffer, sizeof buffer, "%g", x);
  return buffer;
}

/** The product, or −1 if it exceeds an int64_t. */
int64_t product(std::initializer_list<int64_t> shape) {
  int64_t n = 1;
  for (int64_t d : shape) {
    if (__builtin_mul_overflow(n, d, &n)) return -1;
  }
  return n;
}

}  // namespace

Call::Call(napi_env env, napi_callback_info info, size_t expected) : env_(env) {
  size_t count = kMostArguments;
  napi_get_cb_info(env, info, &count, values_, nullptr, nullptr);
  if (count != expected) {
    throw Refusal{"BackendError", "must be called with " + std::to_string(expected) + " arguments", "",
                  static_cast<double>(count), true};
  }
}

std::string Call::describe(size_t index) const {
  napi_value v = values_[index];
  napi_typedarray_type type;
  if (napi_get_typedarray_info(env_, v, &type, nullptr, nullptr, nullptr, nullptr) == napi_ok) {
    return static_cast<size_t>(type) < sizeof kArrayNames / sizeof *kArrayNames ? kArrayNames[type] : "typed array";
  }
  napi_valuetype kind;
  if (napi_typeof(env_, v, &kind) != napi_ok) return "unknown";
  constexpr const char* names[] = {"undefined", "null",   "boolean",  "number",   "string",
                                   "symbol",    "object", "function", "external", "bigint"};
  return static_cast<size_t>(kind) < sizeof names / sizeof *names ? names[kind] : "unknown";
}

bool Call::isNull(size_t index) const {
  napi_valuetype kind;
  return napi_typeof(env_, values_[index], &kind) == napi_ok && kind == napi_null;
}

double Call::anyNumber(size_t index, const char* name) {
  double x;
  if (napi_get_value_double(env_, values_[index], &x) != napi_ok) {
    throw badType(name, "be a number", describe(index));
  }
  return x;
}

int64_t Call::dim(size_t index, const char* name, int64_t least) {
  const double x = anyNumber(index, name);
  if (!(x >= static_cast<double>(least) && x <= kLargestDim) || x != std::floor(x)) {
    throw badNumber("ShapeError", name, "be a whole number from " + std::to_string(least) + " to 2147483647", x);
  }
  return static_cast<int64_t>(x);
}

uint32_t Call::word(size_t index, const char* name) {
  const double x = anyNumber(index, name);
  if (!(x >= 0 && x <= kLargestWhole) || x != std::floor(x)) {
    throw badNumber("BackendError", name, "be a whole number from 0 to 2^53", x);
  }
  return static_cast<uint32_t>(static_cast<uint64_t>(x));
}

double Call::number(size_t index, const char* name, double low, double high) {
  const double x = anyNumber(index, name);
  if (!std::isfinite(x)) throw badNumber("BackendError", name, "be a finite number", x);
  if (x < low) throw badNumber("BackendError", name, "be at least " + shortest(low), x);
  if (x > high) throw badNumber("BackendError", name, "be at most " + shortest(high), x);
  return x;
}

int32_t Call::choiceBelow(size_t index, const char* name, int32_t count) {
  const int64_t found = dim(index, name, 0);
  if (found >= count) throw badNumber("BackendError", name, "be the number of one", static_cast<double>(found));
  return static_cast<int32_t>(found);
}

bool Call::flag(size_t index, const char* name) {
  bool b;
  if (napi_get_value_bool(env_, values_[index], &b) != napi_ok) {
    throw badType(name, "be a boolean", describe(index));
  }
  return b;
}

Call::Array Call::array(size_t index, const char* name, napi_typedarray_type type) {
  napi_typedarray_type found;
  size_t length;
  void* data;
  napi_value buffer;
  if (napi_get_typedarray_info(env_, values_[index], &found, &length, &data, &buffer, nullptr) != napi_ok ||
      found != type) {
    throw badType(name, std::string("be a ") + kArrayNames[type], describe(index));
  }
  bool plain = false, detached = false;
  napi_is_arraybuffer(env_, buffer, &plain);
  if (!plain) throw badType(name, "not lie in shared memory", "SharedArrayBuffer");
  napi_is_detached_arraybuffer(env_, buffer, &detached);
  if (detached) throw badType(name, "not have been freed or detached", "");
  return {data, static_cast<int64_t>(length)};
}

void* Call::sized(size_t index, const char* name, napi_typedarray_type type, std::initializer_list<int64_t> shape,
                  bool written) {
  const Array a = array(index, name, type);
  const int64_t wanted = product(shape);
  if (wanted < 0) {
    throw badNumber("ShapeError", name, "hold fewer than 2^63 elements", static_cast<double>(a.length));
  }
  if (a.length != wanted) {
    throw badNumber("ShapeError", name, "hold " + std::to_string(wanted) + " elements", static_cast<double>(a.length));
  }
  const uintptr_t begin = reinterpret_cast<uintptr_t>(a.data);
  spans_[spanCount_++] = {name, begin, begin + static_cast<uintptr_t>(wanted) * 4, written};
  static int32_t nothing = 0;  // an empty array has no address, and null would mean no array
  return a.data ? a.data : &nothing;
}

const float* Call::in(size_t index, const char* name, std::initializer_list<int64_t> shape) {
  return static_cast<const float*>(sized(index, name, napi_float32_array, shape, false));
}

float* Call::out(size_t index, const char* name, std::initializer_list<int64_t> shape) {
  return static_cast<float*>(sized(index, name, napi_float32_array, shape, true));
}

const int32_t* Call::inInts(size_t index, const char* name, std::initializer_list<int64_t> shape) {
  return static_cast<const int32_t*>(sized(index, name, napi_int32_array, shape, false));
}

int32_t* Call::outInts(size_t index, const char* name, std::initializer_list<int64_t> shape) {
  return static_cast<int32_t*>(sized(index, name, napi_int32_array, shape, true));
}

const uint8_t* Call::inBytes(size_t index, const char* name, int64_t& n) {
  const Array a = array(index, name, napi_uint8_array);
  n = a.length;
  return static_cast<const uint8_t*>(a.data);
}

int64_t Call::elements(size_t index, const char* name) {
  napi_typedarray_type type;
  size_t length;
  if (napi_get_typedarray_info(env_, values_[index], &type, &length, nullptr, nullptr, nullptr) != napi_ok ||
      type != napi_int32_array) {
    return array(index, name, napi_float32_array).length;
  }
  return array(index, name, napi_int32_array).length;
}

int64_t Call::rows(size_t index, const char* name, int64_t width) {
  const int64_t n = elements(index, name);
  if (n < width || n % width != 0) {
    throw badNumber("ShapeError", name, "hold whole rows of " + std::to_string(width) + " elements",
                    static_cast<double>(n));
  }
  return n / width;
}

void Call::ids(const int32_t* values, int64_t n, const char* name, int64_t least, int64_t end) {
  for (int64_t i = 0; i < n; i++) {
    if (values[i] < least || values[i] >= end) {
      throw badNumber("ShapeError", name,
                      "hold ids from " + std::to_string(least) + " to " + std::to_string(end - 1) + " (element " +
                          std::to_string(i) + ")",
                      values[i]);
    }
  }
}

void Call::ascending(const int32_t* values, int64_t n, const char* name) {
  for (int64_t i = 1; i < n; i++) {
    if (values[i] <= values[i - 1]) throw badNumber("ShapeError", name, "ascend", values[i]);
  }
}

void Call::noOverlap() {
  for (size_t i = 0; i < spanCount_; i++) {
    const Span& a = spans_[i];
    if (!a.written) continue;
    for (size_t j = 0; j < spanCount_; j++) {
      const Span& b = spans_[j];
      if (i == j || a.begin >= b.end || b.begin >= a.end) continue;
      throw Refusal{"BackendError", argument(a.name, std::string("not overlap argument '") + b.name + "'"), ""};
    }
  }
}

}  // namespace loopnn
