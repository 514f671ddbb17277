// The kernels as exports: tensors in, tensors out, work spread over libtorch's threads.
#pragma once
#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernels.h"
#include "tensor-table.h"

// Below this many multiplications, waking another thread costs more than it saves.
constexpr int64_t kWorthAThread = 1 << 21;

// Runs `part(begin, end)` over `count` units of `cost` multiplications each, in multiples of `block`.
template <typename Part>
void spread(int64_t count, int64_t cost, int64_t block, Part part) {
  const int64_t blocks = (count + block - 1) / block;
  const int64_t grain = std::max<int64_t>(1, kWorthAThread / std::max<int64_t>(1, cost * block));
  at::parallel_for(0, blocks, grain, [&](int64_t begin, int64_t end) {
    part(begin * block, std::min(count, end * block));
  });
}

// The memory of a float32 tensor on the CPU that lies in one piece and has `rows` × `width` elements.
inline float* floats(const at::Tensor& tensor, const char* name, int64_t elements) {
  if (tensor.scalar_type() != at::kFloat || !tensor.device().is_cpu() || !tensor.is_contiguous() ||
      tensor.numel() != elements) {
    throw std::runtime_error(std::string(name) + ": expected a contiguous float32 tensor of " + std::to_string(elements) +
                             " elements on the CPU, got " + describe_tensor(tensor));
  }
  return tensor.data_ptr<float>();
}

inline float* floats_or_null(const at::Tensor& tensor, const char* name, int64_t elements) {
  return tensor.defined() ? floats(tensor, name, elements) : nullptr;
}

inline int64_t* indices(const at::Tensor& tensor, const char* name, int64_t elements) {
  if (tensor.scalar_type() != at::kLong || !tensor.is_contiguous() || tensor.numel() != elements) {
    throw std::runtime_error(std::string(name) + ": expected a contiguous int64 tensor of " + std::to_string(elements) +
                             " elements, got " + describe_tensor(tensor));
  }
  return tensor.data_ptr<int64_t>();
}

inline void check_lanes(const char* name, int64_t width) {
  if (width % kernels::kHalfLanes != 0) {
    throw std::runtime_error(std::string(name) + " is " + std::to_string(width) + ", expected a multiple of " +
                             std::to_string(kernels::kHalfLanes));
  }
}

// A part of the job's rows as a job of its own: a row's sums do not depend on the others.
inline kernels::Linear rows_of(kernels::Linear job, int64_t begin, int64_t end) {
  job.rows = end - begin;
  job.input += begin * job.inputs;
  job.output += begin * job.outputs;
  if (job.residual != nullptr) job.residual += begin * job.outputs;
  return job;
}

// Rows `start` to `start + count` of a product, to which an adapter adds scale · (input · aᵀ) · b.
struct LoraRun {
  int64_t start, count;
  at::Tensor a;      // [rank, inputs]
  at::Tensor b;      // [rank, outputs], of which all but `spans` is 0
  at::Tensor spans;  // int64 [rank, 2]
  double scale;
};

inline kernels::LowRank low_rank_of(const LoraRun& run, const at::Tensor& inner, float* output, int64_t outputs) {
  const int64_t rank = run.b.size(0);
  const kernels::LowRank job{floats(inner, "inner", run.count * rank),
                             static_cast<float>(run.scale),
                             floats(run.b, "b", rank * outputs),
                             indices(run.spans, "spans", 2 * rank),
                             output + run.start * outputs,
                             run.count, rank, outputs};
  for (int64_t r = 0; r < rank; r++) {
    const int64_t from = job.spans[2 * r], to = job.spans[2 * r + 1];
    check_lanes("the first output of a span", from);
    check_lanes("the end of a span", to);
    if (from < 0 || to < from || to > outputs) {
      throw std::runtime_error("a span of outputs " + std::to_string(from) + " to " + std::to_string(to) +
                               " is outside the " + std::to_string(outputs));
    }
  }
  return job;
}

// What is left of the job between the rows `begin` and `end` of the product; `start` is the product's row of its first.
inline kernels::LowRank rows_of(kernels::LowRank job, int64_t start, int64_t begin, int64_t end) {
  const int64_t first = std::max(begin, start), last = std::min(end, start + job.rows);
  job.rows = std::max<int64_t>(0, last - first);
  job.inner += (first - start) * job.rank;
  job.output += (first - start) * job.outputs;
  return job;
}

// input [rows, inputs], weight [outputs, inputs], bias [outputs] and residual [rows, outputs] or undefined
inline at::Tensor linear_rows(const at::Tensor& input, const at::Tensor& weight, const at::Tensor& bias,
                             const at::Tensor& residual, const std::vector<LoraRun>& runs = {}) {
  const int64_t rows = input.size(0), inputs = weight.size(1), outputs = weight.size(0);
  check_lanes("the number of inputs", inputs);
  at::Tensor output = at::empty({rows, outputs}, input.options());
  const kernels::Linear job{floats(input, "input", rows * inputs),
                            floats(weight, "weight", outputs * inputs),
                            floats_or_null(bias, "bias", outputs),
                            floats_or_null(residual, "residual", rows * outputs),
                            output.data_ptr<float>(),
                            rows, inputs, outputs};
  std::vector<at::Tensor> inners;
  std::vector<kernels::LowRank> shares;
  for (const LoraRun& run : runs) {
    if (run.start < 0 || run.count < 0 || run.start + run.count > rows) {
      throw std::runtime_error("a run of " + std::to_string(run.count) + " rows from " + std::to_string(run.start) +
                               " on is outside the " + std::to_string(rows));
    }
    inners.push_back(linear_rows(input.narrow(0, run.start, run.count), run.a, at::Tensor(), at::Tensor()));
    shares.push_back(low_rank_of(run, inners.back(), job.output, outputs));
  }
  // The adapters' share comes while what it is added to is still near.
  const auto part = [&](int64_t row, int64_t last_row, int64_t column, int64_t last_column) {
    kernels::table().linear(rows_of(job, row, last_row), column, last_column);
    for (size_t index = 0; index < shares.size(); index++) {
      kernels::table().low_rank(rows_of(shares[index], runs[index].start, row, last_row), column, last_column);
    }
  };
  if (rows <= outputs) {
    spread(outputs, rows * inputs, kernels::kLanes, [&](int64_t begin, int64_t end) { part(0, rows, begin, end); });
  } else {
    spread(rows, outputs * inputs, 4, [&](int64_t begin, int64_t end) { part(begin, end, 0, outputs); });
  }
  return output;
}

inline at::Tensor norm_rows(const at::Tensor& input, const at::Tensor& gain, double eps) {
  const int64_t width = gain.size(0), rows = input.numel() / width;
  check_lanes("the width", width);
  at::Tensor output = at::empty_like(input);
  const kernels::Norm job{floats(input, "input", rows * width), floats(gain, "gain", width), output.data_ptr<float>(),
                          rows, width, static_cast<float>(eps)};
  spread(rows, 4 * width, 1, [&](int64_t begin, int64_t end) { kernels::table().norm(job, begin, end); });
  return output;
}

inline at::Tensor gate_rows(const at::Tensor& gate_up) {
  const int64_t rows = gate_up.size(0), width = gate_up.size(1) / 2;
  check_lanes("the width", width);
  at::Tensor output = at::empty({rows, width}, gate_up.options());
  const kernels::Gating job{floats(gate_up, "gateUp", rows * 2 * width), output.data_ptr<float>(), rows, width};
  spread(rows, 24 * width, 1, [&](int64_t begin, int64_t end) { kernels::table().gate(job, begin, end); });
  return output;
}

// qkv [rows, (heads + 2 · keyValueHeads) · headDim]; keys and values [places, keyValueHeads, headDim];
// positions and places int64 [rows]: the row's token in its sequence, and in the cache, where those before it stand in front
inline kernels::Heads heads_of(const at::Tensor& qkv, const at::Tensor& keys, const at::Tensor& values,
                               const at::Tensor& positions, const at::Tensor& places) {
  const int64_t rows = qkv.size(0), key_value_heads = keys.size(1), head_dim = keys.size(2);
  const int64_t heads = qkv.size(1) / head_dim - 2 * key_value_heads;
  check_lanes("headDim", head_dim);
  const kernels::Heads at{floats(qkv, "qkv", rows * (heads + 2 * key_value_heads) * head_dim),
                          rows, heads, key_value_heads, head_dim,
                          indices(positions, "positions", rows),
                          indices(places, "places", rows),
                          floats(keys, "keys", keys.numel()),
                          floats(values, "values", keys.numel())};
  const int64_t room = keys.size(0);
  for (int64_t row = 0; row < rows; row++) {
    if (at.positions[row] < 0 || at.places[row] < at.positions[row] || at.places[row] >= room) {
      throw std::runtime_error("row " + std::to_string(row) + ": position " + std::to_string(at.positions[row]) +
                               " at place " + std::to_string(at.places[row]) + " is outside the cache of " +
                               std::to_string(room));
    }
  }
  return at;
}

// gains [2, headDim] or undefined; cosines and sines [length, headDim]
inline void place_rows(const kernels::Heads& at, const at::Tensor& gains, double eps, const at::Tensor& cosines,
                      const at::Tensor& sines) {
  const int64_t length = cosines.size(0);
  if (at.rows > 0 && *std::max_element(at.positions, at.positions + at.rows) >= length) {
    throw std::runtime_error("a position is outside the rotary table of " + std::to_string(length));
  }
  const kernels::Placing job{at, floats_or_null(gains, "gains", 2 * at.head_dim), static_cast<float>(eps),
                             floats(cosines, "cosines", length * at.head_dim), floats(sines, "sines", length * at.head_dim)};
  const int64_t cost = 4 * (at.heads + 2 * at.key_value_heads) * at.head_dim;
  spread(at.rows, cost, 1, [&](int64_t begin, int64_t end) { kernels::table().place(job, begin, end); });
}

inline at::Tensor attend_rows(const kernels::Heads& at, const at::TensorOptions& options) {
  at::Tensor output = at::empty({at.rows, at.heads * at.head_dim}, options);
  const kernels::Attention job{at, output.data_ptr<float>()};
  int64_t keys = 0;
  for (int64_t row = 0; row < at.rows; row++) keys += at.positions[row] + 1;
  const int64_t units = at.rows * at.key_value_heads;
  const int64_t cost = units == 0 ? 1 : 2 * keys * at.heads * at.head_dim / units;
  spread(units, cost, 1, [&](int64_t begin, int64_t end) { kernels::table().attend(job, begin, end); });
  return output;
}
