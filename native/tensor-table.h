// Tensors that JavaScript holds, by integer handle. Handle 0 is "no tensor".
#pragma once
#include <ATen/ATen.h>

#include <cstdint>
#include <stdexcept>
#include <string>
#include <unordered_set>
#include <vector>

class TensorTable {
 public:
  int64_t add(at::Tensor tensor) {
    if (!tensor.defined()) return 0;
    live_++;
    if (free_.empty()) {
      slots_.push_back(std::move(tensor));
      return static_cast<int64_t>(slots_.size());
    }
    const size_t slot = free_.back();
    free_.pop_back();
    slots_[slot] = std::move(tensor);
    return static_cast<int64_t>(slot) + 1;
  }

  const at::Tensor& get(int64_t handle) const {
    const size_t slot = static_cast<size_t>(handle) - 1;
    if (handle <= 0 || slot >= slots_.size() || !slots_[slot].defined()) {
      throw std::runtime_error("tensor handle " + std::to_string(handle) + " is not live");
    }
    return slots_[slot];
  }

  void release(int64_t handle) {
    get(handle);
    const size_t slot = static_cast<size_t>(handle) - 1;
    slots_[slot] = at::Tensor();
    free_.push_back(slot);
    live_--;
  }

  int64_t live() const { return live_; }

  // Bytes of the distinct storages behind live handles: views of one storage count once.
  int64_t live_bytes() const {
    std::unordered_set<const void*> seen;
    int64_t bytes = 0;
    for (const at::Tensor& tensor : slots_) {
      if (!tensor.defined() || !tensor.has_storage()) continue;
      if (seen.insert(tensor.storage().unsafeGetStorageImpl()).second) {
        bytes += static_cast<int64_t>(tensor.storage().nbytes());
      }
    }
    return bytes;
  }

 private:
  std::vector<at::Tensor> slots_;
  std::vector<size_t> free_;
  int64_t live_ = 0;
};

inline TensorTable& tensors() {
  static TensorTable table;
  return table;
}

// PyTorch's own name of a dtype, for messages.
inline std::string dtype_name(at::ScalarType type) {
  switch (type) {
    case at::ScalarType::Byte: return "uint8";
    case at::ScalarType::Char: return "int8";
    case at::ScalarType::Short: return "int16";
    case at::ScalarType::Int: return "int32";
    case at::ScalarType::Long: return "int64";
    case at::ScalarType::Half: return "float16";
    case at::ScalarType::Float: return "float32";
    case at::ScalarType::Double: return "float64";
    case at::ScalarType::Bool: return "bool";
    case at::ScalarType::BFloat16: return "bfloat16";
    default: return c10::toString(type);
  }
}

// For messages: `float32[2,3]`.
inline std::string describe_tensor(const at::Tensor& tensor) {
  std::string text = dtype_name(tensor.scalar_type()) + "[";
  for (int64_t axis = 0; axis < tensor.dim(); axis++) {
    if (axis > 0) text += ",";
    text += std::to_string(tensor.size(axis));
  }
  text += "]";
  if (!tensor.device().is_cpu()) text += "@" + tensor.device().str();
  return text;
}
