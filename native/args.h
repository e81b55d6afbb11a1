/**
 * Reads and checks the arguments of one call from JavaScript. A binding has one line for each argument; the first wrong
 * argument ends the call with a Refusal, before anything is written.
 */
#pragma once

#include <node_api.h>

#include <cstdint>
#include <initializer_list>
#include <string>

namespace loopnn {

/** Why a call was refused; becomes `where: rule, got …` in a JavaScript error of class `kind`. */
struct Refusal {
  const char* kind;  // "ShapeError" or "BackendError"
  std::string rule;
  std::string got;  // empty if there is nothing to show
  double gotNumber = 0;
  bool gotIsNumber = false;
};

class Call {
 public:
  static constexpr size_t kMostArguments = 24;

  Call(napi_env env, napi_callback_info info, size_t expected);

  /** A whole number in [least, 2^31). */
  int64_t dim(size_t index, const char* name, int64_t least = 1);
  /** A whole number in [0, 2^53], modulo 2^32. */
  uint32_t word(size_t index, const char* name);
  double anyNumber(size_t index, const char* name);
  /** A finite number in [low, high]. */
  double number(size_t index, const char* name, double low, double high);
  bool flag(size_t index, const char* name);
  /** The index of one of `count` choices. */
  template <class Choice>
  int32_t choice(size_t index, const char* name, Choice count) {
    return choiceBelow(index, name, static_cast<int32_t>(count));
  }

  /** The data of a typed array that holds as many elements as the product of `shape`. */
  const float* in(size_t index, const char* name, std::initializer_list<int64_t> shape);
  float* out(size_t index, const char* name, std::initializer_list<int64_t> shape);
  const int32_t* inInts(size_t index, const char* name, std::initializer_list<int64_t> shape);
  int32_t* outInts(size_t index, const char* name, std::initializer_list<int64_t> shape);
  /** The data of a Uint8Array of any length, which becomes `n`. */
  const uint8_t* inBytes(size_t index, const char* name, int64_t& n);
  /** The number of elements of an array of floats or whole numbers. */
  int64_t elements(size_t index, const char* name);
  /** The number of rows of `width` floats; at least one. */
  int64_t rows(size_t index, const char* name, int64_t width);
  bool isNull(size_t index) const;

  /** Refuses ids outside [least, end). */
  void ids(const int32_t* values, int64_t n, const char* name, int64_t least, int64_t end);
  /** Refuses a number that does not exceed its predecessor. */
  void ascending(const int32_t* values, int64_t n, const char* name);
  /** Refuses an output that shares memory with any other argument. */
  void noOverlap();

  napi_env env() const { return env_; }
  napi_value value(size_t index) const { return values_[index]; }

 private:
  struct Span {
    const char* name;
    uintptr_t begin, end;
    bool written;
  };
  struct Array {
    void* data;
    int64_t length;
  };

  Array array(size_t index, const char* name, napi_typedarray_type type);
  void* sized(size_t index, const char* name, napi_typedarray_type type, std::initializer_list<int64_t> shape,
              bool written);
  int32_t choiceBelow(size_t index, const char* name, int32_t count);
  std::string describe(size_t index) const;

  napi_env env_;
  napi_value values_[kMostArguments];
  Span spans_[kMostArguments];
  size_t spanCount_ = 0;
};

}  // namespace loopnn
