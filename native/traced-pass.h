// The kernels of a pass with gradients as operators that libtorch's autograd records.
//
// Each saves its inputs and nothing that it can compute again from them in the same sweep.
#pragma once
#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <vector>

#include "cached-pass.h"
#include "gradient-kernels.h"

namespace traced {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

inline int64_t gain_blocks(int64_t rows) { return (rows + kernels::kGainRows - 1) / kernels::kGainRows; }

// Where a gain collects its gradient, one share for each block of rows; undefined unless it is `wanted`.
inline at::Tensor gain_shares(bool wanted, int64_t rows, int64_t width, const at::Tensor& like) {
  return wanted ? at::zeros({gain_blocks(rows), width}, like.options()) : at::Tensor();
}

inline float* pointer_or_null(const at::Tensor& tensor) { return tensor.defined() ? tensor.data_ptr<float>() : nullptr; }

/** input [rows, width], gain [width], eps → [rows, width] */
struct RmsNorm : public Function<RmsNorm> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& input, const at::Tensor& gain, double eps) {
    context->save_for_backward({input, gain});
    context->saved_data["eps"] = eps;
    context->saved_data["trains_gain"] = gain.requires_grad();
    return norm_rows(input, gain, eps);
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &input = saved[0], &gain = saved[1];
    const at::Tensor gradient = gradients[0].contiguous();
    const int64_t width = gain.size(0), rows = input.numel() / width;
    const at::Tensor output = at::empty_like(input);
    const at::Tensor shares = gain_shares(context->saved_data["trains_gain"].toBool(), rows, width, input);
    const kernels::NormGradient job{floats(input, "input", rows * width), floats(gain, "gain", width),
                                    floats(gradient, "gradient", rows * width), output.data_ptr<float>(), pointer_or_null(shares),
                                    rows, width, static_cast<float>(context->saved_data["eps"].toDouble())};
    spread(gain_blocks(rows), 8 * width * kernels::kGainRows, 1,
           [&](int64_t begin, int64_t end) { kernels::gradient_table().norm_back(job, begin, end); });
    return {output, shares.defined() ? shares.sum(0) : at::Tensor(), at::Tensor()};
  }
};

/** gateUp [rows, 2 · width] → silu(gate) · up [rows, width] */
struct Gate : public Function<Gate> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& gate_up) {
    context->save_for_backward({gate_up});
    return gate_rows(gate_up);
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const at::Tensor gate_up = context->get_saved_variables()[0];
    const at::Tensor gradient = gradients[0].contiguous();
    const int64_t rows = gate_up.size(0), width = gate_up.size(1) / 2;
    const at::Tensor output = at::empty_like(gate_up);
    const kernels::GatingGradient job{floats(gate_up, "gateUp", rows * 2 * width), floats(gradient, "gradient", rows * width),
                                      output.data_ptr<float>(), rows, width};
    spread(rows, 32 * width, 1, [&](int64_t begin, int64_t end) { kernels::gradient_table().gate_back(job, begin, end); });
    return {output};
  }
};

/**
 * qkv [rows, (heads + 2 · keyValueHeads) · headDim], gains [2 · headDim] or none, cosines and sines [rows, headDim] in any
 * shape, eps, numbers of heads → query, key and value, each [rows, heads, headDim]
 */
struct SplitHeads : public Function<SplitHeads> {
  static variable_list forward(AutogradContext* context, const at::Tensor& qkv, const OptionalTensor& gains,
                               const at::Tensor& cosines, const at::Tensor& sines, double eps, int64_t heads,
                               int64_t key_value_heads) {
    const at::Tensor gain = gains.has_value() ? *gains : at::Tensor();
    context->save_for_backward({qkv, gain, cosines, sines});
    context->saved_data["eps"] = eps;
    context->saved_data["heads"] = heads;
    context->saved_data["key_value_heads"] = key_value_heads;
    context->saved_data["trains_gain"] = gain.defined() && gain.requires_grad();
    const kernels::HeadRows from = head_rows(qkv, gain, cosines, sines, eps, heads, key_value_heads);
    const auto part = [&] { return at::empty({from.rows, heads, from.head_dim}, qkv.options()); };
    const at::Tensor query = part(), key = part(), value = part();
    const kernels::Splitting job{from, query.data_ptr<float>(), key.data_ptr<float>(), value.data_ptr<float>()};
    spread(from.rows, 8 * heads * from.head_dim, 1,
           [&](int64_t begin, int64_t end) { kernels::gradient_table().split(job, begin, end); });
    return {query, key, value};
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &qkv = saved[0], &gain = saved[1];
    const int64_t heads = context->saved_data["heads"].toInt();
    const kernels::HeadRows from = head_rows(qkv, gain, saved[2], saved[3], context->saved_data["eps"].toDouble(), heads,
                                             context->saved_data["key_value_heads"].toInt());
    const at::Tensor query = gradients[0].contiguous(), key = gradients[1].contiguous(), value = gradients[2].contiguous();
    const int64_t elements = from.rows * heads * from.head_dim;
    const at::Tensor output = at::empty_like(qkv);
    const at::Tensor shares =
        gain_shares(context->saved_data["trains_gain"].toBool(), from.rows, 2 * from.head_dim, qkv);
    const kernels::SplittingGradient job{from,
                                         floats(query, "query", elements),
                                         floats(key, "key", elements),
                                         floats(value, "value", elements),
                                         output.data_ptr<float>(),
                                         pointer_or_null(shares)};
    spread(gain_blocks(from.rows), 16 * heads * from.head_dim * kernels::kGainRows, 1,
           [&](int64_t begin, int64_t end) { kernels::gradient_table().split_back(job, begin, end); });
    const at::Tensor none;
    return {output, shares.defined() ? shares.sum(0) : none, none, none, none, none, none};
  }

 private:
  static kernels::HeadRows head_rows(const at::Tensor& qkv, const at::Tensor& gain, const at::Tensor& cosines,
                                     const at::Tensor& sines, double eps, int64_t heads, int64_t key_value_heads) {
    const int64_t rows = qkv.size(0), head_dim = qkv.size(1) / (heads + 2 * key_value_heads);
    check_lanes("headDim", head_dim);
    return {floats(qkv, "qkv", rows * (heads + 2 * key_value_heads) * head_dim),
            rows, heads, key_value_heads, head_dim,
            floats_or_null(gain, "gains", 2 * head_dim),
            static_cast<float>(eps),
            floats(cosines, "cosines", rows * head_dim),
            floats(sines, "sines", rows * head_dim)};
  }
};

/**
 * logits [rows, vocabulary], targets int64 [rows] → log-probability of each target and entropy of its distribution, [rows]
 * each. The way back overwrites the logits: nothing else may read them.
 */
struct Choose : public Function<Choose> {
  static variable_list forward(AutogradContext* context, const at::Tensor& logits, const at::Tensor& targets) {
    const int64_t rows = logits.size(0), width = logits.size(1);
    const auto column = [&] { return at::empty({rows}, logits.options()); };
    const at::Tensor logprobs = column(), entropies = column(), logsums = column();
    const kernels::Choosing job{floats(logits, "logits", rows * width), indices(targets, "targets", rows),
                                logprobs.data_ptr<float>(), entropies.data_ptr<float>(), logsums.data_ptr<float>(), rows, width};
    check_targets(job);
    spread(rows, 24 * width, 1, [&](int64_t begin, int64_t end) { kernels::gradient_table().choose(job, begin, end); });
    context->save_for_backward({logits, targets, logsums, entropies});
    context->set_materialize_grads(false);
    return {logprobs, entropies};
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &logits = saved[0], &targets = saved[1];
    const auto contiguous = [](const at::Tensor& tensor) { return tensor.defined() ? tensor.contiguous() : tensor; };
    const at::Tensor of_logprobs = contiguous(gradients[0]), of_entropies = contiguous(gradients[1]);
    const int64_t rows = logits.size(0), width = logits.size(1);
    const kernels::ChoosingGradient job{floats(logits, "logits", rows * width),
                                        indices(targets, "targets", rows),
                                        floats(saved[3], "entropies", rows),
                                        floats(saved[2], "logsums", rows),
                                        floats_or_null(of_logprobs, "gradient of the log-probabilities", rows),
                                        floats_or_null(of_entropies, "gradient of the entropies", rows),
                                        rows, width};
    spread(rows, 24 * width, 1, [&](int64_t begin, int64_t end) { kernels::gradient_table().choose_back(job, begin, end); });
    return {logits, at::Tensor()};
  }

 private:
  static void check_targets(const kernels::Choosing& job) {
    for (int64_t row = 0; row < job.rows; row++) {
      if (job.targets[row] >= 0 && job.targets[row] < job.width) continue;
      throw std::runtime_error("target " + std::to_string(job.targets[row]) + " is outside the vocabulary of " +
                               std::to_string(job.width));
    }
  }
};

// left [rows, rank], right [rows, width], places int64 [rows] or undefined → leftᵀ · right
inline at::Tensor outer_rows(const at::Tensor& left, const at::Tensor& right, const at::Tensor& places) {
  const int64_t rows = left.size(0), rank = left.size(1), width = right.size(1);
  const at::Tensor output = at::empty({rank, width}, right.options());
  const kernels::Outer job{floats(left, "left", rows * rank), floats(right, "right", rows * width),
                           places.defined() ? indices(places, "places", rows) : nullptr, output.data_ptr<float>(),
                           rows, rank, width};
  spread((width + kernels::kLanes - 1) / kernels::kLanes, rows * rank * kernels::kLanes, 2,
         [&](int64_t begin, int64_t end) { kernels::gradient_table().outer(job, begin, end); });
  return output;
}

// The products with a matrix of low rank: a library's packs the large factor anew for what little it multiplies.
struct LowRankProducts {
  bool on_kernels;

  LowRankProducts(const at::Tensor& input, const at::Tensor& output)
      : on_kernels(input.scalar_type() == at::kFloat && input.device().is_cpu() && input.is_contiguous() &&
                   output.is_contiguous() && input.size(0) > 0 && input.size(1) % kernels::kHalfLanes == 0 &&
                   output.size(1) % kernels::kHalfLanes == 0) {}

  // large [rows, width], low [rank, width] → [rows, rank]
  at::Tensor reduce(const at::Tensor& large, const at::Tensor& low) const {
    return on_kernels ? linear_rows(large, low, at::Tensor(), at::Tensor()) : at::mm(large, low.t());
  }

  // inner [rows, rank], large [rows, width], places [rows] or undefined → [rank, width]
  at::Tensor outer(const at::Tensor& inner, const at::Tensor& large, const at::Tensor& places) const {
    return on_kernels ? outer_rows(inner, large, places) : at::mm(inner.t(), large);
  }
};

/**
 * input [rows, inputs], weight [outputs, inputs], added (a residual [rows, outputs], a bias [outputs]) or none, a
 * [rank, inputs], b [rank, outputs], factors [rows, rank] or none, places int64 [rows] or none, scale → added + input ·
 * weightᵀ + scale · (input · aᵀ · factors) · b. Any dtype and device.
 *
 * The parts of the input's gradient add up where the first stands, without a sum of their own.
 */
struct LoraLinear : public Function<LoraLinear> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& input, const at::Tensor& weight,
                            const OptionalTensor& added, const at::Tensor& a, const at::Tensor& b,
                            const OptionalTensor& factors, const OptionalTensor& places, double scale) {
    const at::Tensor output = added.has_value() ? at::addmm(*added, input, weight.t()) : at::mm(input, weight.t());
    const LowRankProducts products(input, output);
    at::Tensor inner = products.reduce(input, a);
    if (factors.has_value()) inner.mul_(*factors);
    output.addmm_(inner, b, 1, scale);
    const auto or_none = [](const OptionalTensor& tensor) { return tensor.has_value() ? *tensor : at::Tensor(); };
    context->save_for_backward({input, weight, a, b, inner, or_none(factors), or_none(places)});
    context->saved_data["scale"] = scale;
    context->saved_data["added_dims"] = added.has_value() && added->requires_grad() ? added->dim() : int64_t{0};
    context->saved_data["needs_input"] = input.requires_grad();
    context->saved_data["needs_weight"] = weight.requires_grad();
    return output;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &input = saved[0], &weight = saved[1], &a = saved[2], &b = saved[3], &inner = saved[4];
    const at::Tensor gradient = gradients[0].contiguous();
    const LowRankProducts products(input, gradient);
    const double scale = context->saved_data["scale"].toDouble();
    at::Tensor of_inner = products.reduce(gradient, b).mul_(scale);
    if (saved[5].defined()) of_inner.mul_(saved[5]);
    at::Tensor of_input, of_weight, of_added;
    if (context->saved_data["needs_input"].toBool()) of_input = at::mm(gradient, weight).addmm_(of_inner, a);
    if (context->saved_data["needs_weight"].toBool()) of_weight = at::mm(gradient.t(), input);
    const int64_t added_dims = context->saved_data["added_dims"].toInt();
    if (added_dims == 1) of_added = gradient.sum(0);
    if (added_dims == 2) of_added = gradient;
    const at::Tensor of_a = products.outer(of_inner, input, saved[6]);
    const at::Tensor of_b = products.outer(inner, gradient, saved[6]).mul_(scale);
    return {of_input, of_weight, of_added, of_a, of_b, at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

}  // namespace traced
