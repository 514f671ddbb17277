// What a pass with gradients on the CPU does between its matrix products, in float32: each kernel does in one sweep over
// memory what takes libtorch five to twenty operators, each a sweep of its own.
//
// Sums run over a row, or over a fixed number of rows: results do not depend on the number of threads.
#pragma once
#include <cstdint>

namespace kernels {

/** Rows whose share of a gain's gradient is summed before the shares are: a constant, whatever the threads. */
constexpr int64_t kGainRows = 64;

/** The way back through kernels::Norm. */
struct NormGradient {
  const float* input;     // [rows, width]
  const float* gain;      // [width]
  const float* gradient;  // [rows, width], of the norm's output
  float* output;          // [rows, width], of its input
  float* gain_shares;     // [rows / kGainRows rounded up, width], of its gain; or null
  int64_t rows, width;
  float eps;
};

/** The way back through kernels::Gating. */
struct GatingGradient {
  const float* gate_up;   // [rows, 2 · width]
  const float* gradient;  // [rows, width], of the gating's output
  float* output;          // [rows, 2 · width]
  int64_t rows, width;
};

/** Queries, keys and values of one layer side by side: [rows, (heads + 2 · keyValueHeads) · headDim]. */
struct HeadRows {
  const float* qkv;
  int64_t rows, heads, key_value_heads, head_dim;
  const float* gains;  // [2, headDim]: of queries, of keys; or null for heads without a norm
  float eps;
  const float* cosines;  // [rows, headDim]
  const float* sines;    // the same, negated in the first half
};

/** Norms and rotates queries and keys; keys and values once for every query that sees them: [rows, heads, headDim] each. */
struct Splitting {
  HeadRows from;
  float* query;
  float* key;
  float* value;
};

/** The way back through `Splitting`. */
struct SplittingGradient {
  HeadRows from;
  const float* query;  // gradients, [rows, heads, headDim] each
  const float* key;
  const float* value;
  float* output;       // as qkv
  float* gain_shares;  // [rows / kGainRows rounded up, 2, headDim]; or null
};

/** Log-probability of each row's target, and entropy of its distribution in nats. */
struct Choosing {
  const float* logits;     // [rows, width]
  const int64_t* targets;  // [rows]
  float* logprobs;         // [rows]
  float* entropies;        // [rows]
  float* logsums;          // [rows]: log Σ exp(logit)
  int64_t rows, width;
};

/** The way back through `Choosing`: the logits' gradients take the place of the logits. */
struct ChoosingGradient {
  float* logits;
  const int64_t* targets;
  const float* entropies;
  const float* logsums;
  const float* of_logprobs;   // [rows]; or null for 0
  const float* of_entropies;  // [rows]; or null for 0
  int64_t rows, width;
};

/**
 * output[rank, width] = Σ over rows of left[row, rank] · right[row, width]: the gradient of a low-rank matrix. Rows that
 * were chosen out of more are summed as they would be with the others' zeros between them.
 */
struct Outer {
  const float* left;
  const float* right;
  const int64_t* places;  // [rows], ascending: which rows of all these are; or null for all
  float* output;
  int64_t rows, rank, width;
};

/** The kernels for one kind of processor; each does part `begin` to `end` of a job. */
struct GradientTable {
  void (*norm_back)(const NormGradient&, int64_t begin, int64_t end);        // of kGainRows rows each
  void (*gate_back)(const GatingGradient&, int64_t begin, int64_t end);      // of the rows
  void (*split)(const Splitting&, int64_t begin, int64_t end);               // of the rows
  void (*split_back)(const SplittingGradient&, int64_t begin, int64_t end);  // of kGainRows rows each
  void (*choose)(const Choosing&, int64_t begin, int64_t end);               // of the rows
  void (*choose_back)(const ChoosingGradient&, int64_t begin, int64_t end);  // of the rows
  void (*outer)(const Outer&, int64_t begin, int64_t end);                   // of the output's vectors, of which the last may be half a one
};

/** The best of this machine. */
const GradientTable& gradient_table();

}  // namespace kernels
