// Node-API addon: libtorch tensors and every ATen operator, for src/engine/native.ts (its only user).
//
// Build, with TORCH = the folder of a libtorch or of Python's torch package:
//   g++ -std=c++20 -O2 -shared -fPIC -fvisibility=hidden -D_GLIBCXX_USE_CXX11_ABI=1 native/*.cc -o native/build/teamtune.node \
//     -I node_modules/node-api-headers/include -I $TORCH/include -I $TORCH/include/torch/csrc/api/include \
//     -L $TORCH/lib -ltorch_cpu -lc10 -ldl -Wl,-rpath,$TORCH/lib
// C++17 serves libtorch 1.13 to 2.x as well. CUDA libraries are not linked: `cudaDevices` loads libtorch_cuda.so from the
// same folder when it is there. On a CUDA build of the wheel, libtorch_cpu.so finds its NVIDIA libraries by its own rpath.
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <ATen/Version.h>
#include <dlfcn.h>
#include <torch/version.h>

#include <array>
#include <cstring>
#include <thread>

#include "cached-pass.h"
#include "device-graph.h"
#include "dispatch.h"
#include "traced-pass.h"

namespace {

constexpr size_t kMaxArguments = 40;

struct Call {
  napi_env env;
  size_t count;
  std::array<napi_value, kMaxArguments> values;

  int64_t integer(size_t index) const { return to_int(env, values[index]); }
  const at::Tensor& tensor(size_t index) const { return tensors().get(integer(index)); }
};

std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

void throw_error(napi_env env, const std::string& where, const std::string& what) {
  bool pending = false;
  napi_is_exception_pending(env, &pending);
  if (!pending) napi_throw_error(env, nullptr, (where + ": " + first_line(what)).c_str());
}

// Runs `body`, turning any C++ exception into a JavaScript error that starts with `where()`.
template <typename Body, typename Where>
napi_value guarded(napi_env env, Body body, Where where) {
  try {
    return body();
  } catch (const c10::Error& error) {
    throw_error(env, where(), error.what_without_backtrace());
  } catch (const std::exception& error) {
    throw_error(env, where(), error.what());
  } catch (...) {
    throw_error(env, where(), "unknown C++ exception");
  }
  return nullptr;
}

Call read_call(napi_env env, napi_callback_info information) {
  Call call{env, kMaxArguments, {}};
  napi_get_cb_info(env, information, &call.count, call.values.data(), nullptr, nullptr);
  return call;
}

napi_value hold(napi_env env, at::Tensor tensor) {
  return from_double(env, static_cast<double>(tensors().add(std::move(tensor))));
}

napi_value call_by_index(napi_env env, napi_callback_info information) {
  Call call = read_call(env, information);
  const auto op = [&call]() -> const Operator& { return operators().get(call.integer(0)); };
  return guarded(
      env, [&] { return call_operator(env, op(), call.count - 1, call.values.data() + 1); },
      [&] { return describe_call(env, op(), call.count - 1, call.values.data() + 1); });
}

using Body = napi_value (*)(const Call&);

napi_value find_operator(const Call& call) {
  return from_double(call.env, static_cast<double>(operators().find(to_string(call.env, call.values[0]),
                                                                    to_string(call.env, call.values[1]))));
}

napi_value has_operator(const Call& call) {
  const std::string name = to_string(call.env, call.values[0]), overload = to_string(call.env, call.values[1]);
  return from_bool(call.env, static_cast<bool>(c10::Dispatcher::singleton().findSchema({name, overload})));
}

// [kinds of arguments, names of arguments, kinds of results, in place]
napi_value describe_operator(const Call& call) {
  const Operator& op = operators().get(call.integer(0));
  const auto kind = [&](Kind value) { return from_string(call.env, kind_name(value)); };
  napi_value fields;
  napi_create_array_with_length(call.env, 4, &fields);
  napi_set_element(call.env, fields, 0, from_list(call.env, op.arguments, [&](const Argument& a) { return kind(a.kind); }));
  napi_set_element(call.env, fields, 1,
                   from_list(call.env, op.arguments, [&](const Argument& a) { return from_string(call.env, a.name); }));
  napi_set_element(call.env, fields, 2, from_list(call.env, op.returns, kind));
  napi_set_element(call.env, fields, 3, from_bool(call.env, op.in_place));
  return fields;
}

napi_value release(const Call& call) {
  tensors().release(call.integer(0));
  return nullptr;
}

void check_bytes(const at::Tensor& tensor, const Bytes& bytes) {
  if (bytes.length != static_cast<size_t>(tensor.nbytes())) {
    throw std::runtime_error(describe_tensor(tensor) + " takes " + std::to_string(tensor.nbytes()) + " bytes, the array has " +
                             std::to_string(bytes.length));
  }
}

// (typed array, shape, dtype, device) -> handle; copies.
napi_value from_bytes(const Call& call) {
  const Bytes bytes = to_bytes(call.env, call.values[0]);
  const auto type = static_cast<at::ScalarType>(call.integer(2));
  at::Tensor tensor = at::empty(to_int_list(call.env, call.values[1]), at::TensorOptions().dtype(type));
  check_bytes(tensor, bytes);
  if (bytes.length > 0) std::memcpy(tensor.data_ptr(), bytes.data, bytes.length);
  const c10::Device device(to_string(call.env, call.values[3]));
  return hold(call.env, device.is_cpu() ? tensor : tensor.to(device));
}

// (handle, typed array): copies the tensor's elements, in row-major order, into the array.
napi_value copy_out(const Call& call) {
  const at::Tensor source = call.tensor(0).detach().to(at::kCPU).contiguous();
  const Bytes bytes = to_bytes(call.env, call.values[1]);
  check_bytes(source, bytes);
  if (bytes.length > 0) std::memcpy(bytes.data, source.data_ptr(), bytes.length);
  return nullptr;
}

// (handle, typed array): overwrites the tensor's elements.
napi_value copy_in(const Call& call) {
  const at::Tensor& target = call.tensor(0);
  const Bytes bytes = to_bytes(call.env, call.values[1]);
  check_bytes(target, bytes);
  if (bytes.length == 0) return nullptr;
  if (target.device().is_cpu() && target.is_contiguous()) {
    std::memcpy(target.data_ptr(), bytes.data, bytes.length);
    target.unsafeGetTensorImpl()->bump_version();
  } else {
    at::Tensor source = at::empty(target.sizes(), target.options().device(at::kCPU));
    std::memcpy(source.data_ptr(), bytes.data, bytes.length);
    target.copy_(source);
  }
  return nullptr;
}

napi_value item(const Call& call) { return from_double(call.env, call.tensor(0).item().toDouble()); }

napi_value shape(const Call& call) {
  return from_list(call.env, call.tensor(0).sizes(),
                   [&](int64_t size) { return from_double(call.env, static_cast<double>(size)); });
}

napi_value dtype(const Call& call) { return from_double(call.env, static_cast<int>(call.tensor(0).scalar_type())); }

napi_value device(const Call& call) { return from_string(call.env, call.tensor(0).device().str()); }

// How often the tensor's elements were written in place, by libtorch's own count.
napi_value writes(const Call& call) { return from_double(call.env, static_cast<double>(call.tensor(0)._version())); }

napi_value requires_grad(const Call& call) { return from_bool(call.env, call.tensor(0).requires_grad()); }

napi_value set_requires_grad(const Call& call) {
  call.tensor(0).set_requires_grad(to_bool(call.env, call.values[1]));
  return nullptr;
}

napi_value backward(const Call& call) {
  const int64_t seed = call.integer(1);
  call.tensor(0).backward(seed == 0 ? at::Tensor() : tensors().get(seed));
  return nullptr;
}

napi_value grad(const Call& call) { return hold(call.env, call.tensor(0).grad()); }

napi_value set_grad(const Call& call) {
  const int64_t handle = call.integer(1);
  call.tensor(0).mutable_grad() = handle == 0 ? at::Tensor() : tensors().get(handle);
  return nullptr;
}

napi_value set_grad_mode(const Call& call) {
  const bool before = c10::GradMode::is_enabled();
  c10::GradMode::set_enabled(to_bool(call.env, call.values[0]));
  return from_bool(call.env, before);
}

napi_value set_threads(const Call& call) {
  at::set_num_threads(static_cast<int>(call.integer(0)));
  return nullptr;
}

napi_value threads(const Call& call) { return from_double(call.env, at::get_num_threads()); }

napi_value live_tensors(const Call& call) { return from_double(call.env, static_cast<double>(tensors().live())); }

napi_value live_bytes(const Call& call) { return from_double(call.env, static_cast<double>(tensors().live_bytes())); }

napi_value version(const Call& call) { return from_string(call.env, TORCH_VERSION); }

napi_value build_description(const Call& call) {
  return from_string(call.env, at::show_config() + "\n" + at::get_parallel_info());
}

// How many CUDA devices libtorch can use; loads libtorch's CUDA half on the first call, when it is installed.
napi_value cuda_devices(const Call& call) {
  static void* library = dlopen("libtorch_cuda.so", RTLD_NOW | RTLD_GLOBAL);
  const bool usable = library != nullptr && at::globalContext().hasCUDA();
  return from_double(call.env, usable ? at::detail::getCUDAHooks().getNumGPUs() : 0);
}

at::Tensor tensor_or_none(const Call& call, size_t index) {
  const int64_t handle = call.integer(index);
  return handle == 0 ? at::Tensor() : tensors().get(handle);
}

// [start, count, a, b, spans, scale] for each run, one after another
std::vector<LoraRun> lora_runs(const Call& call, size_t index) {
  constexpr uint32_t kFacts = 6;
  const napi_value list = call.values[index];
  const uint32_t length = array_length(call.env, list);
  if (length % kFacts != 0) throw std::runtime_error("expected 6 facts for each run, got " + std::to_string(length) + " in all");
  std::vector<LoraRun> runs;
  for (uint32_t at = 0; at < length; at += kFacts) {
    const auto integer = [&](uint32_t fact) { return to_int(call.env, element(call.env, list, at + fact)); };
    const auto tensor = [&](uint32_t fact) { return tensors().get(integer(fact)); };
    runs.push_back({integer(0), integer(1), tensor(2), tensor(3), tensor(4), to_double(call.env, element(call.env, list, at + 5))});
  }
  return runs;
}

// (input, weight, bias or 0, residual or 0, runs) -> handle
napi_value row_linear(const Call& call) {
  return hold(call.env, linear_rows(call.tensor(0), call.tensor(1), tensor_or_none(call, 2), tensor_or_none(call, 3),
                                    lora_runs(call, 4)));
}

// (input, gain, eps) -> handle
napi_value row_norm(const Call& call) {
  return hold(call.env, norm_rows(call.tensor(0), call.tensor(1), to_double(call.env, call.values[2])));
}

// (gateUp) -> handle
napi_value row_gate(const Call& call) { return hold(call.env, gate_rows(call.tensor(0))); }

// (qkv, keys, values, positions, places, gains or 0, eps, cosines, sines) -> handle of what is attended to
napi_value row_attend(const Call& call) {
  const at::Tensor& qkv = call.tensor(0);
  const kernels::Heads at = heads_of(qkv, call.tensor(1), call.tensor(2), call.tensor(3), call.tensor(4));
  place_rows(at, tensor_or_none(call, 5), to_double(call.env, call.values[6]), call.tensor(7), call.tensor(8));
  return hold(call.env, attend_rows(at, qkv.options()));
}

OptionalTensor optional_tensor(const Call& call, size_t index) {
  const int64_t handle = call.integer(index);
  return handle == 0 ? OptionalTensor() : OptionalTensor(tensors().get(handle));
}

napi_value hold_all(const Call& call, const std::vector<at::Tensor>& list) {
  return from_list(call.env, list, [&](const at::Tensor& tensor) { return hold(call.env, tensor); });
}

// (input, gain, eps) -> handle
napi_value traced_norm(const Call& call) {
  return hold(call.env, traced::RmsNorm::apply(call.tensor(0), call.tensor(1), to_double(call.env, call.values[2])));
}

// (gateUp) -> handle
napi_value traced_gate(const Call& call) { return hold(call.env, traced::Gate::apply(call.tensor(0))); }

// (qkv, gains or 0, cosines, sines, eps, heads, keyValueHeads) -> [query, key, value]
napi_value traced_heads(const Call& call) {
  return hold_all(call, traced::SplitHeads::apply(call.tensor(0), optional_tensor(call, 1), call.tensor(2), call.tensor(3),
                                                  to_double(call.env, call.values[4]), call.integer(5), call.integer(6)));
}

// (logits, targets) -> [log-probabilities, entropies]
napi_value traced_choice(const Call& call) { return hold_all(call, traced::Choose::apply(call.tensor(0), call.tensor(1))); }

// (input, weight, bias or residual or 0, a, b, factors or 0, places or 0, scale) -> handle
napi_value lora_linear(const Call& call) {
  return hold(call.env, traced::LoraLinear::apply(call.tensor(0), call.tensor(1), optional_tensor(call, 2), call.tensor(3),
                                                  call.tensor(4), optional_tensor(call, 5), optional_tensor(call, 6),
                                                  to_double(call.env, call.values[7])));
}

using device_graph::Recordings;
using device_graph::recordings;

c10::Device device_at(const Call& call, size_t index) { return c10::Device(to_string(call.env, call.values[index])); }

napi_value can_record(const Call& call) { return from_bool(call.env, device_graph::is_available(device_at(call, 0))); }

napi_value end_recording(const Call& call) { return from_double(call.env, static_cast<double>(recordings().end())); }

template <void (Recordings::*Run)()>
napi_value of_recordings(const Call&) {
  (recordings().*Run)();
  return nullptr;
}

template <void (Recordings::*Run)(c10::Device)>
napi_value on_device(const Call& call) {
  (recordings().*Run)(device_at(call, 0));
  return nullptr;
}

template <void (Recordings::*Run)(int64_t)>
napi_value of_recording(const Call& call) {
  (recordings().*Run)(call.integer(0));
  return nullptr;
}

struct Export {
  const char* name;
  Body body;
  // Whether a number that comes first is a tensor's handle.
  bool takes_tensor = true;
};

constexpr Export kExports[] = {
    {"findOperator", find_operator},
    {"hasOperator", has_operator},
    {"describeOperator", describe_operator},
    {"release", release},
    {"fromBytes", from_bytes},
    {"copyOut", copy_out},
    {"copyIn", copy_in},
    {"item", item},
    {"shape", shape},
    {"dtype", dtype},
    {"device", device},
    {"writes", writes},
    {"requiresGrad", requires_grad},
    {"setRequiresGrad", set_requires_grad},
    {"backward", backward},
    {"grad", grad},
    {"setGrad", set_grad},
    {"setGradMode", set_grad_mode},
    {"setThreads", set_threads, false},
    {"threads", threads},
    {"liveTensors", live_tensors},
    {"liveBytes", live_bytes},
    {"version", version},
    {"buildDescription", build_description},
    {"cudaDevices", cuda_devices},
    {"rowLinear", row_linear},
    {"rowNorm", row_norm},
    {"rowGate", row_gate},
    {"rowAttend", row_attend},
    {"tracedNorm", traced_norm},
    {"tracedGate", traced_gate},
    {"tracedHeads", traced_heads},
    {"tracedChoice", traced_choice},
    {"loraLinear", lora_linear},
    {"canRecord", can_record},
    {"stepAside", on_device<&Recordings::step_aside>},
    {"stepBack", of_recordings<&Recordings::step_back>},
    {"beginRecording", on_device<&Recordings::begin>},
    {"endRecording", end_recording},
    {"abandonRecording", of_recordings<&Recordings::abandon>},
    {"replayRecording", of_recording<&Recordings::replay>, false},
    {"dropRecording", of_recording<&Recordings::drop>, false},
};

// The tensors among an export's arguments, for its error message: `backward(float32[2,3])`.
std::string describe_export(const Call& call, const Export& entry) {
  std::string text = entry.name;
  if (!entry.takes_tensor || call.count == 0 || type_of(call.env, call.values[0]) != napi_number) return text;
  try {
    return text + "(" + describe_tensor(call.tensor(0)) + ")";
  } catch (const std::exception&) {
    return text;
  }
}

napi_value call_export(napi_env env, napi_callback_info information) {
  Call call{env, kMaxArguments, {}};
  void* pointer = nullptr;
  napi_get_cb_info(env, information, &call.count, call.values.data(), nullptr, &pointer);
  const Export& entry = *static_cast<const Export*>(pointer);
  return guarded(
      env, [&] { return entry.body(call); }, [&] { return describe_export(call, entry); });
}

// The tables above belong to one thread: gradient mode and handles would be wrong in a second one.
bool is_first_thread() {
  static const std::thread::id first = std::this_thread::get_id();
  return first == std::this_thread::get_id();
}

}  // namespace

NAPI_MODULE_INIT() {
  if (!is_first_thread()) {
    napi_throw_error(env, nullptr, "the native addon is loaded in another thread of this process; use it from that one only");
    return nullptr;
  }
  napi_value function;
  napi_create_function(env, "call", NAPI_AUTO_LENGTH, call_by_index, nullptr, &function);
  napi_set_named_property(env, exports, "call", function);
  for (const Export& entry : kExports) {
    napi_create_function(env, entry.name, NAPI_AUTO_LENGTH, call_export, const_cast<Export*>(&entry), &function);
    napi_set_named_property(env, exports, entry.name, function);
  }
  return exports;
}
