// What one forward pass on the CPU spends its time in, in float32, outside of libtorch.
//
// Every result is computed from its own row alone, in an order that depends on nothing but the row's own sizes: it has
// the same bits whatever else is in the batch, however a sequence is cut into passes, and on any number of threads.
// A library's matrix product promises none of this, and packs the weights anew on every call, which costs more than the
// product itself while a batch is small.
#pragma once
#include <cstdint>

namespace kernels {

/** Elements of a vector. */
constexpr int64_t kLanes = 16;

/** Sizes that vectors run along must be multiples of this: half a vector may be left at the end. */
constexpr int64_t kHalfLanes = kLanes / 2;

/** output[rows, outputs] = input[rows, inputs] · weight[outputs, inputs]ᵀ + bias[outputs] + residual[rows, outputs]. */
struct Linear {
  const float* input;
  const float* weight;
  const float* bias;      // or null
  const float* residual;  // or null
  float* output;
  int64_t rows, inputs, outputs;
};

/** output[row, :] += Σ_r inner[row, r] · scale · b[r, :]; outside of `spans` b is 0. */
struct LowRank {
  const float* inner;
  float scale;
  const float* b;
  const int64_t* spans;  // [rank, 2]: first output of each row of b, and the one after its last
  float* output;
  int64_t rows, rank, outputs;
};

/** output[row, :] = input[row, :] / √(mean(input²) + eps) · gain. */
struct Norm {
  const float* input;
  const float* gain;
  float* output;
  int64_t rows, width;
  float eps;
};

/** Queries, keys and values of one layer side by side: [rows, (heads + 2 · keyValueHeads) · headDim]. */
struct Heads {
  float* qkv;
  int64_t rows, heads, key_value_heads, head_dim;
  const int64_t* positions;  // [rows]
  const int64_t* places;     // [rows]: where the cache holds the row's own token; those before it stand in front
  float* keys;               // [places, keyValueHeads, headDim]
  float* values;
};

/** Norms (unless `gains` is null) and rotates queries and keys in place, and stores keys and values. */
struct Placing {
  Heads at;
  const float* gains;  // [2, headDim]: of queries, of keys
  float eps;
  const float* cosines;  // [positions, headDim]
  const float* sines;    // the same, negated in the first half
};

/** output[rows, heads · headDim]: each row attends to its sequence up to itself. */
struct Attention {
  Heads at;
  float* output;
};

/** output[row, i] = silu(gate_up[row, i]) · gate_up[row, width + i]. */
struct Gating {
  const float* gate_up;
  float* output;
  int64_t rows, width;
};

/** The kernels for one kind of processor; each does part `begin` to `end` of a job. */
struct Table {
  void (*linear)(const Linear&, int64_t begin, int64_t end);      // of the outputs
  void (*low_rank)(const LowRank&, int64_t begin, int64_t end);   // of the outputs, in steps of kHalfLanes
  void (*norm)(const Norm&, int64_t begin, int64_t end);          // of the rows
  void (*place)(const Placing&, int64_t begin, int64_t end);      // of the rows
  void (*attend)(const Attention&, int64_t begin, int64_t end);   // of rows · keyValueHeads
  void (*gate)(const Gating&, int64_t begin, int64_t end);        // of the rows
};

/** The best of this machine. */
const Table& table();

}  // namespace kernels
