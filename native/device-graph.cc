#include "device-graph.h"

#include <ATen/ATen.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <dlfcn.h>

#include <cstddef>
#include <stdexcept>
#include <string>

#if __has_include(<ATen/core/GraphImplInterface.h>)
#include <ATen/core/GraphImplInterface.h>
#define TEAMTUNE_HAS_GRAPH_REGISTRY 1
#endif

namespace device_graph {

namespace {

#ifdef TEAMTUNE_HAS_GRAPH_REGISTRY
class RegisteredGraph : public Graph {
 public:
  explicit RegisteredGraph(c10::DeviceType type) : graph_(at::create_graph_impl(type)) {}
  void begin(Pool pool) override { graph_->capture_begin(pool, at::GraphCaptureMode::ThreadLocal); }
  void end() override { graph_->capture_end(); }
  void replay() override { graph_->replay(); }
  Pool pool() override { return graph_->pool(); }

 private:
  std::unique_ptr<at::GraphImplInterface> graph_;
};
#endif

// Members of at::cuda::CUDAGraph, as the compiler of libtorch named them.
struct CudaGraphMembers {
  template <typename Function>
  static Function find(const char* name) {
    return reinterpret_cast<Function>(dlsym(RTLD_DEFAULT, name));
  }

  // With `keep_graph` since 2.8 or so, without arguments before.
  void (*construct)(void*, bool) = find<void (*)(void*, bool)>("_ZN2at4cuda9CUDAGraphC1Eb");
  void (*construct_plain)(void*) = find<void (*)(void*)>("_ZN2at4cuda9CUDAGraphC1Ev");
  void (*destroy)(void*) = find<void (*)(void*)>("_ZN2at4cuda9CUDAGraphD1Ev");
  void (*begin)(void*, Pool, int) =
      find<void (*)(void*, Pool, int)>("_ZN2at4cuda9CUDAGraph13capture_beginESt4pairIyyE21cudaStreamCaptureMode");
  void (*end)(void*) = find<void (*)(void*)>("_ZN2at4cuda9CUDAGraph11capture_endEv");
  void (*replay)(void*) = find<void (*)(void*)>("_ZN2at4cuda9CUDAGraph6replayEv");
  Pool (*pool)(void*) = find<Pool (*)(void*)>("_ZN2at4cuda9CUDAGraph4poolEv");

  bool are_all_there() const {
    return (construct != nullptr || construct_plain != nullptr) && destroy != nullptr && begin != nullptr && end != nullptr &&
           replay != nullptr && pool != nullptr;
  }
};

// Asked again while they are missing: libtorch's CUDA half is loaded on first use.
const CudaGraphMembers& cuda_members() {
  static CudaGraphMembers members;
  if (!members.are_all_there()) members = CudaGraphMembers();
  return members;
}

// cudaStreamCaptureModeThreadLocal: other threads may do as they like meanwhile.
constexpr int kThreadLocal = 1;

class CudaGraph : public Graph {
 public:
  CudaGraph() : members_(cuda_members()) {
    if (members_.construct != nullptr) {
      members_.construct(memory_, false);
    } else {
      members_.construct_plain(memory_);
    }
  }
  ~CudaGraph() override { members_.destroy(memory_); }
  CudaGraph(const CudaGraph&) = delete;
  CudaGraph& operator=(const CudaGraph&) = delete;

  void begin(Pool pool) override { members_.begin(memory_, pool, kThreadLocal); }
  void end() override { members_.end(memory_); }
  void replay() override { members_.replay(memory_); }
  Pool pool() override { return members_.pool(memory_); }

 private:
  // Several times what the object takes in any release so far; its own members alone read and write it.
  static constexpr size_t kBytes = 4096;

  const CudaGraphMembers& members_;
  alignas(std::max_align_t) unsigned char memory_[kBytes] = {};
};

bool is_registered(c10::DeviceType type) {
#ifdef TEAMTUNE_HAS_GRAPH_REGISTRY
  return at::has_graph_impl(type);
#else
  return false;
#endif
}

std::unique_ptr<Graph> create(c10::DeviceType type) {
#ifdef TEAMTUNE_HAS_GRAPH_REGISTRY
  if (is_registered(type)) return std::make_unique<RegisteredGraph>(type);
#endif
  return std::make_unique<CudaGraph>();
}

}  // namespace

bool is_available(c10::Device device) {
  return is_registered(device.type()) || (device.is_cuda() && cuda_members().are_all_there());
}

void Recordings::step_aside(c10::Device device) {
  if (before_ != nullptr) throw std::runtime_error("work goes to a stream aside already");
  const c10::impl::VirtualGuardImpl guard(device.type());
  auto found = aside_.find(device);
  if (found == aside_.end()) found = aside_.emplace(device, guard.getStreamFromGlobalPool(device)).first;
  guard.getStream(device).synchronize();
  before_ = std::make_unique<c10::Stream>(guard.exchangeStream(found->second));
}

void Recordings::step_back() {
  if (before_ == nullptr) return;
  const c10::impl::VirtualGuardImpl guard(before_->device_type());
  const c10::Stream aside = guard.exchangeStream(*before_);
  before_.reset();
  aside.synchronize();
}

void Recordings::begin(c10::Device device) {
  if (!is_available(device)) throw std::runtime_error("libtorch cannot record what is asked of the device " + device.str());
  // One pool for all: they are replayed one after another, and what one leaves is read before the next. A pool that no
  // recording holds any more is gone, so the first one makes its own.
  const Pool pool = graphs_.empty() ? Pool{0, 0} : graphs_.begin()->second->pool();
  auto graph = create(device.type());
  graph->begin(pool);
  begun_ = std::move(graph);
}

int64_t Recordings::end() {
  if (begun_ == nullptr) throw std::runtime_error("nothing is being recorded");
  auto graph = std::move(begun_);
  graph->end();
  graphs_.emplace(next_, std::move(graph));
  return next_++;
}

void Recordings::abandon() {
  if (begun_ == nullptr) return;
  const auto graph = std::move(begun_);
  try {
    graph->end();
  } catch (const std::exception&) {
    // Expected: the device tells once more what broke the recording, which the caller knows.
  }
}

void Recordings::drop(int64_t recording) {
  find(recording);
  graphs_.erase(recording);
}

Graph& Recordings::find(int64_t recording) {
  const auto found = graphs_.find(recording);
  if (found == graphs_.end()) throw std::runtime_error("recording " + std::to_string(recording) + " is not there");
  return *found->second;
}

}  // namespace device_graph
