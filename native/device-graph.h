// What was asked of a device once, recorded to be asked again in one piece: CUDA graphs and their like.
//
// Needs no CUDA headers. A backend that has registered itself with ATen's GraphImplRegistry (libtorch 2.12 and newer; XPU
// does) is taken from there. CUDA has not, up to 2.13: its at::cuda::CUDAGraph is reached by the names that libtorch_cuda
// exports, which hold the types of the arguments: where one differs it is not found, and the device counts as one without.
//
// The rules are those of at::cuda::CUDAGraph (ATen/cuda/CUDAGraph.cpp, torch/cuda/graphs.py): record on a stream that is not
// the default one, allocate from a pool that lives as long as the recordings, copy nothing from or to the host meanwhile.
#pragma once
#include <c10/core/Device.h>
#include <c10/core/Stream.h>

#include <cstdint>
#include <memory>
#include <unordered_map>
#include <utility>

namespace device_graph {

// A pool of memory as ATen names it; {0, 0} = one of its own.
using Pool = std::pair<unsigned long long, unsigned long long>;

struct Graph {
  virtual ~Graph() = default;
  virtual void begin(Pool pool) = 0;
  virtual void end() = 0;
  virtual void replay() = 0;
  virtual Pool pool() = 0;
};

bool is_available(c10::Device device);

class Recordings {
 public:
  // Until `step_back`, work goes to a stream beside the one in use, after what that one has under way.
  void step_aside(c10::Device device);
  // Waits for what was asked meanwhile.
  void step_back();

  // Between these two, on the stream aside, work is recorded and not done.
  void begin(c10::Device device);
  int64_t end();
  // Forgets what is being recorded, after a failure.
  void abandon();

  void replay(int64_t recording) { find(recording).replay(); }
  void drop(int64_t recording);

 private:
  Graph& find(int64_t recording);

  std::unordered_map<c10::Device, c10::Stream> aside_;
  std::unique_ptr<c10::Stream> before_;
  std::unique_ptr<Graph> begun_;
  std::unordered_map<int64_t, std::unique_ptr<Graph>> graphs_;
  int64_t next_ = 1;
};

inline Recordings& recordings() {
  static Recordings all;
  return all;
}

}  // namespace device_graph
