// Any ATen operator by name: its schema says how each JavaScript argument becomes an IValue.
#pragma once
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/ivalue.h>
#include <ATen/core/stack.h>

#include <string>
#include <unordered_map>
#include <vector>

#include "node-value.h"
#include "tensor-table.h"

// c10::optional in libtorch 1.x, std::optional in 2.x.
using OptionalTensor = std::decay_t<decltype(std::declval<const c10::IValue&>().toOptional<at::Tensor>())>;

enum class Kind {
  tensor, tensor_list, optional_tensor_list, integer, integer_list, real, real_list,
  boolean, boolean_list, scalar, text, device, generator, unsupported,
};

inline const char* kind_name(Kind kind) {
  switch (kind) {
    case Kind::tensor: return "tensor";
    case Kind::tensor_list: return "tensor[]";
    case Kind::optional_tensor_list: return "tensor?[]";
    case Kind::integer: return "int";
    case Kind::integer_list: return "int[]";
    case Kind::real: return "float";
    case Kind::real_list: return "float[]";
    case Kind::boolean: return "bool";
    case Kind::boolean_list: return "bool[]";
    case Kind::scalar: return "scalar";
    case Kind::text: return "string";
    case Kind::device: return "device";
    case Kind::generator: return "generator";
    default: return "unsupported";
  }
}

struct Argument {
  std::string name;
  Kind kind;
  bool optional;
  bool has_default;
  c10::IValue fallback;
};

struct Operator {
  std::string name;
  c10::OperatorHandle handle;
  std::vector<Argument> arguments;
  std::vector<Kind> returns;
  // The first argument is written to and returned, as in `add_`.
  bool in_place;
};

Kind kind_of(const c10::TypePtr& type, bool* optional);

inline Kind list_kind(const c10::TypePtr& element_type) {
  bool optional_element = false;
  switch (kind_of(element_type, &optional_element)) {
    case Kind::tensor: return optional_element ? Kind::optional_tensor_list : Kind::tensor_list;
    case Kind::integer: return Kind::integer_list;
    case Kind::real: return Kind::real_list;
    case Kind::boolean: return Kind::boolean_list;
    default: return Kind::unsupported;
  }
}

inline Kind kind_of(const c10::TypePtr& type, bool* optional) {
  switch (type->kind()) {
    case c10::TypeKind::OptionalType:
      *optional = true;
      return kind_of(type->castRaw<c10::OptionalType>()->getElementType(), optional);
    case c10::TypeKind::ListType: return list_kind(type->castRaw<c10::ListType>()->getElementType());
    case c10::TypeKind::TensorType: return Kind::tensor;
    case c10::TypeKind::IntType:
    case c10::TypeKind::SymIntType: return Kind::integer;
    case c10::TypeKind::FloatType: return Kind::real;
    case c10::TypeKind::BoolType: return Kind::boolean;
    case c10::TypeKind::NumberType: return Kind::scalar;
    case c10::TypeKind::StringType: return Kind::text;
    case c10::TypeKind::DeviceObjType: return Kind::device;
    case c10::TypeKind::GeneratorType: return Kind::generator;
    default: return Kind::unsupported;
  }
}

class OperatorTable {
 public:
  int64_t find(const std::string& name, const std::string& overload) {
    const std::string key = name + "." + overload;
    const auto known = index_.find(key);
    if (known != index_.end()) return known->second;
    auto handle = c10::Dispatcher::singleton().findSchemaOrThrow(name.c_str(), overload.c_str());
    operators_.push_back(read_schema(overload.empty() ? name : key, handle));
    const int64_t index = static_cast<int64_t>(operators_.size()) - 1;
    index_.emplace(key, index);
    return index;
  }

  const Operator& get(int64_t index) const {
    if (index < 0 || index >= static_cast<int64_t>(operators_.size())) {
      throw std::runtime_error("operator index " + std::to_string(index) + " is unknown");
    }
    return operators_[static_cast<size_t>(index)];
  }

 private:
  static Operator read_schema(const std::string& name, const c10::OperatorHandle& handle) {
    Operator op{name, handle, {}, {}, false};
    const auto& schema = handle.schema();
    for (const auto& argument : schema.arguments()) {
      bool optional = false;
      const Kind kind = kind_of(argument.type(), &optional);
      const bool has_default = static_cast<bool>(argument.default_value());
      op.arguments.push_back({argument.name(), kind, optional, has_default,
                              has_default ? *argument.default_value() : c10::IValue()});
    }
    for (const auto& result : schema.returns()) {
      bool optional = false;
      op.returns.push_back(kind_of(result.type(), &optional));
    }
    if (schema.arguments().size() > 0 && schema.returns().size() == 1) {
      const auto* alias = schema.arguments()[0].alias_info();
      op.in_place = alias != nullptr && alias->isWrite() && op.returns[0] == Kind::tensor;
    }
    return op;
  }

  std::vector<Operator> operators_;
  std::unordered_map<std::string, int64_t> index_;
};

inline OperatorTable& operators() {
  static OperatorTable table;
  return table;
}

inline at::Scalar to_scalar(napi_env env, napi_value value) {
  if (type_of(env, value) == napi_boolean) return at::Scalar(to_bool(env, value));
  const double number = to_double(env, value);
  const bool integral = number == std::floor(number) && std::fabs(number) < 9007199254740992.0;
  if (integral && !(number == 0 && std::signbit(number))) return at::Scalar(static_cast<int64_t>(number));
  return at::Scalar(number);
}

inline c10::IValue to_tensor_list(napi_env env, napi_value value) {
  c10::List<at::Tensor> items;
  const uint32_t length = array_length(env, value);
  for (uint32_t index = 0; index < length; index++) {
    items.push_back(tensors().get(to_int(env, element(env, value, index))));
  }
  return items;
}

inline c10::IValue to_optional_tensor_list(napi_env env, napi_value value) {
  c10::List<OptionalTensor> items;
  const uint32_t length = array_length(env, value);
  for (uint32_t index = 0; index < length; index++) {
    const int64_t handle = to_int(env, element(env, value, index));
    items.push_back(handle == 0 ? OptionalTensor() : OptionalTensor(tensors().get(handle)));
  }
  return items;
}

template <typename Item, typename Convert>
c10::IValue to_plain_list(napi_env env, napi_value value, Convert convert) {
  c10::List<Item> items;
  const uint32_t length = array_length(env, value);
  items.reserve(length);
  for (uint32_t index = 0; index < length; index++) items.push_back(convert(env, element(env, value, index)));
  return items;
}

inline c10::IValue to_ivalue(napi_env env, napi_value value, Kind kind) {
  switch (kind) {
    case Kind::tensor: return tensors().get(to_int(env, value));
    case Kind::tensor_list: return to_tensor_list(env, value);
    case Kind::optional_tensor_list: return to_optional_tensor_list(env, value);
    case Kind::integer: return to_int(env, value);
    case Kind::integer_list: return to_plain_list<int64_t>(env, value, to_int);
    case Kind::real: return to_double(env, value);
    case Kind::real_list: return to_plain_list<double>(env, value, to_double);
    case Kind::boolean: return to_bool(env, value);
    case Kind::boolean_list: return to_plain_list<bool>(env, value, to_bool);
    case Kind::scalar: return to_scalar(env, value);
    case Kind::text: return to_string(env, value);
    case Kind::device: return c10::Device(to_string(env, value));
    default: throw std::runtime_error("arguments of this type cannot be given from JavaScript");
  }
}

inline napi_value from_ivalue(napi_env env, const c10::IValue& value) {
  const auto hold = [env](const at::Tensor& tensor) {
    return from_double(env, static_cast<double>(tensors().add(tensor)));
  };
  if (value.isTensor()) return hold(value.toTensor());
  if (value.isTensorList()) return from_list(env, value.toTensorVector(), hold);
  if (value.isInt()) return from_double(env, static_cast<double>(value.toInt()));
  if (value.isDouble()) return from_double(env, value.toDouble());
  if (value.isBool()) return from_bool(env, value.toBool());
  if (value.isScalar()) return from_double(env, value.toScalar().toDouble());
  if (value.isString()) return from_string(env, value.toStringRef());
  if (value.isNone()) return undefined(env);
  throw std::runtime_error("a result of type " + value.tagKind() + " cannot be given to JavaScript");
}

inline void push_argument(napi_env env, const Argument& argument, napi_value value, torch::jit::Stack* stack) {
  const napi_valuetype type = value == nullptr ? napi_undefined : type_of(env, value);
  if (type == napi_undefined && argument.has_default) {
    stack->push_back(argument.fallback);
  } else if (type == napi_undefined || type == napi_null) {
    if (!argument.optional && argument.kind != Kind::generator) {
      throw std::runtime_error("argument `" + argument.name + "` (" + kind_name(argument.kind) + ") is missing");
    }
    stack->emplace_back();
  } else {
    try {
      stack->push_back(to_ivalue(env, value, argument.kind));
    } catch (const std::runtime_error& error) {
      throw std::runtime_error("argument `" + argument.name + "` (" + kind_name(argument.kind) + "): " + error.what());
    }
  }
}

// Calls with `count` JavaScript values; missing trailing ones take the schema's defaults.
inline napi_value call_operator(napi_env env, const Operator& op, size_t count, napi_value* values) {
  if (count > op.arguments.size()) {
    throw std::runtime_error("takes " + std::to_string(op.arguments.size()) + " arguments, got " + std::to_string(count));
  }
  torch::jit::Stack stack;
  stack.reserve(op.arguments.size());
  for (size_t index = 0; index < op.arguments.size(); index++) {
    push_argument(env, op.arguments[index], index < count ? values[index] : nullptr, &stack);
  }
  op.handle.callBoxed(&stack);
  if (op.in_place) return from_double(env, 0);  // the caller already holds the tensor that was written
  if (stack.size() == 1) return from_ivalue(env, stack[0]);
  return from_list(env, stack, [env](const c10::IValue& value) { return from_ivalue(env, value); });
}

inline std::string describe_argument(napi_env env, const Argument& argument, napi_value value) {
  try {
    if (is_absent(env, value)) return "none";
    if (argument.kind == Kind::tensor) return describe_tensor(tensors().get(to_int(env, value)));
    if (argument.kind == Kind::tensor_list || argument.kind == Kind::optional_tensor_list) {
      std::string text;
      const uint32_t length = array_length(env, value);
      for (uint32_t index = 0; index < length && index < 8; index++) {
        const int64_t handle = to_int(env, element(env, value, index));
        text += (index > 0 ? ", " : "") + (handle == 0 ? "none" : describe_tensor(tensors().get(handle)));
      }
      return "[" + text + (length > 8 ? ", …]" : "]");
    }
    napi_value printed;
    check(napi_coerce_to_string(env, value, &printed), "a printable value");
    return "(" + to_string(env, printed) + ")";
  } catch (const std::exception&) {
    return "?";
  }
}

// `aten::mm(self float32[2,3], mat2 float32[4,5])`
inline std::string describe_call(napi_env env, const Operator& op, size_t count, napi_value* values) {
  std::string text = op.name + "(";
  for (size_t index = 0; index < count && index < op.arguments.size(); index++) {
    if (index > 0) text += ", ";
    text += op.arguments[index].name + " " + describe_argument(env, op.arguments[index], values[index]);
  }
  return text + ")";
}
