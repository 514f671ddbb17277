// Reading and writing JavaScript values through raw Node-API, with C++ exceptions for wrong types.
#pragma once
#include <node_api.h>

#include <cmath>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

inline void check(napi_status status, const char* expected) {
  if (status != napi_ok) throw std::runtime_error(std::string("expected ") + expected);
}

inline napi_valuetype type_of(napi_env env, napi_value value) {
  napi_valuetype type;
  check(napi_typeof(env, value, &type), "a JavaScript value");
  return type;
}

inline bool is_absent(napi_env env, napi_value value) {
  const napi_valuetype type = type_of(env, value);
  return type == napi_undefined || type == napi_null;
}

inline double to_double(napi_env env, napi_value value) {
  double number;
  check(napi_get_value_double(env, value, &number), "a number");
  return number;
}

inline int64_t to_int(napi_env env, napi_value value) {
  double number;
  if (napi_get_value_double(env, value, &number) != napi_ok) {
    int64_t integer;
    bool lossless;
    check(napi_get_value_bigint_int64(env, value, &integer, &lossless), "an integer");
    return integer;
  }
  if (number != std::floor(number) || std::fabs(number) > 9007199254740992.0) {
    throw std::runtime_error("expected an integer, got " + std::to_string(number));
  }
  return static_cast<int64_t>(number);
}

inline bool to_bool(napi_env env, napi_value value) {
  bool flag;
  check(napi_get_value_bool(env, value, &flag), "a boolean");
  return flag;
}

inline std::string to_string(napi_env env, napi_value value) {
  size_t length;
  check(napi_get_value_string_utf8(env, value, nullptr, 0, &length), "a string");
  std::string text(length, '\0');
  napi_get_value_string_utf8(env, value, text.data(), length + 1, &length);
  return text;
}

inline uint32_t array_length(napi_env env, napi_value value) {
  uint32_t length;
  check(napi_get_array_length(env, value, &length), "an array");
  return length;
}

inline napi_value element(napi_env env, napi_value array, uint32_t index) {
  napi_value item;
  check(napi_get_element(env, array, index, &item), "an array element");
  return item;
}

inline std::vector<int64_t> to_int_list(napi_env env, napi_value value) {
  const uint32_t length = array_length(env, value);
  std::vector<int64_t> items(length);
  for (uint32_t index = 0; index < length; index++) items[index] = to_int(env, element(env, value, index));
  return items;
}

// The memory behind a typed array.
struct Bytes {
  void* data;
  size_t length;
};

inline Bytes to_bytes(napi_env env, napi_value value) {
  bool typed = false;
  napi_is_typedarray(env, value, &typed);
  if (!typed) throw std::runtime_error("expected a typed array");
  napi_typedarray_type type;
  size_t length, offset;
  void* data;
  napi_value buffer;
  check(napi_get_typedarray_info(env, value, &type, &length, &data, &buffer, &offset), "a typed array");
  size_t width = 1;
  switch (type) {
    case napi_int8_array: case napi_uint8_array: case napi_uint8_clamped_array: width = 1; break;
    case napi_int16_array: case napi_uint16_array: width = 2; break;
    case napi_int32_array: case napi_uint32_array: case napi_float32_array: width = 4; break;
    case napi_float64_array: case napi_bigint64_array: case napi_biguint64_array: width = 8; break;
    default: throw std::runtime_error("expected a typed array of 1, 2, 4 or 8 byte elements");
  }
  return {data, length * width};
}

inline napi_value from_double(napi_env env, double number) {
  napi_value value;
  napi_create_double(env, number, &value);
  return value;
}

inline napi_value from_bool(napi_env env, bool flag) {
  napi_value value;
  napi_get_boolean(env, flag, &value);
  return value;
}

inline napi_value from_string(napi_env env, const std::string& text) {
  napi_value value;
  napi_create_string_utf8(env, text.data(), text.size(), &value);
  return value;
}

inline napi_value undefined(napi_env env) {
  napi_value value;
  napi_get_undefined(env, &value);
  return value;
}

template <typename Items, typename Convert>
napi_value from_list(napi_env env, const Items& items, Convert convert) {
  napi_value array;
  napi_create_array_with_length(env, items.size(), &array);
  uint32_t index = 0;
  for (const auto& item : items) napi_set_element(env, array, index++, convert(item));
  return array;
}
