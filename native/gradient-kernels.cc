#include "gradient-kernels.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "vectors.h"

namespace kernels {
namespace {

// output = the gradient of the input of x / √(mean(x²) + eps) · gain, and shares += that of the gain, unless it is null.
INLINE void norm_gradient(const float* x, const float* gain, const float* gradient, int64_t width, float eps, float* output,
                          float* shares) {
  const float inverse = inverse_root(x, width, eps);
  Vector products = {};
  each_vector(width, [&](auto part, int64_t at) INLINED {
    products += part.read(x + at) * (part.read(gradient + at) * part.read(gain + at));
  });
  const float along = sum_of(products) * inverse * inverse * inverse / static_cast<float>(width);
  each_vector(width, [&](auto part, int64_t at) INLINED {
    const Vector value = part.read(x + at), slope = part.read(gradient + at);
    if (shares != nullptr) part.write(shares + at, part.read(shares + at) + slope * value * inverse);
    part.write(output + at, slope * part.read(gain + at) * inverse - value * along);
  });
}

INLINE void norm_back_part(const NormGradient& job, int64_t begin, int64_t end) {
  for (int64_t block = begin; block < end; block++) {
    float* shares = job.gain_shares == nullptr ? nullptr : job.gain_shares + block * job.width;
    const int64_t last = std::min(job.rows, (block + 1) * kGainRows);
    for (int64_t row = block * kGainRows; row < last; row++) {
      const int64_t at = row * job.width;
      norm_gradient(job.input + at, job.gain, job.gradient + at, job.width, job.eps, job.output + at, shares);
    }
  }
}

INLINE void gate_back_part(const GatingGradient& job, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; row++) {
    const float* gates = job.gate_up + row * 2 * job.width;
    const float* ups = gates + job.width;
    const float* gradient = job.gradient + row * job.width;
    float* output = job.output + row * 2 * job.width;
    each_vector(job.width, [&](auto part, int64_t at) INLINED {
      const Vector gate = part.read(gates + at), slope = part.read(gradient + at);
      const Vector sigmoid = 1.0f / (1.0f + exponential(-gate));
      part.write(output + at, slope * part.read(ups + at) * sigmoid * (1.0f + gate * (1.0f - sigmoid)));
      part.write(output + job.width + at, slope * gate * sigmoid);
    });
  }
}

// The transpose of `rotate_some`.
template <typename Any>
INLINE void rotate_some_back(const float* gradient, const float* cosines, const float* sines, int64_t half, float* output) {
  const Any low = load_as<Any>(gradient), high = load_as<Any>(gradient + half);
  store(output, low * load_as<Any>(cosines) + high * load_as<Any>(sines + half));
  store(output + half, high * load_as<Any>(cosines + half) + low * load_as<Any>(sines));
}

INLINE void rotate_back(const float* gradient, const float* cosines, const float* sines, int64_t width, float* output) {
  const int64_t half = width / 2;
  int64_t at = 0;
  for (; at + 8 <= half; at += 8) rotate_some_back<Octet>(gradient + at, cosines + at, sines + at, half, output + at);
  if (at < half) rotate_some_back<Quad>(gradient + at, cosines + at, sines + at, half, output + at);
}

INLINE void copy_head(const float* from, int64_t width, float* to) {
  each_vector(width, [&](auto part, int64_t at) INLINED { part.write(to + at, part.read(from + at)); });
}

INLINE void split_row(const Splitting& job, int64_t row, float* normed) {
  const HeadRows& from = job.from;
  const int64_t width = from.head_dim, group = from.heads / from.key_value_heads;
  const float* heads = from.qkv + row * (from.heads + 2 * from.key_value_heads) * width;
  for (int64_t head = 0; head < from.heads + from.key_value_heads; head++) {
    const int64_t shared = head - from.heads;
    const bool is_key = shared >= 0;
    float* output = is_key ? job.key + (row * from.heads + shared * group) * width : job.query + (row * from.heads + head) * width;
    const float* input = heads + head * width;
    if (from.gains != nullptr) {
      norm_row(input, from.gains + (is_key ? width : 0), width, from.eps, normed);
      input = normed;
    }
    rotate_head(input, from.cosines + row * width, from.sines + row * width, width, output);
    for (int64_t copy = 1; is_key && copy < group; copy++) copy_head(output, width, output + copy * width);
  }
  const float* values = heads + (from.heads + from.key_value_heads) * width;
  for (int64_t head = 0; head < from.heads; head++) {
    copy_head(values + head / group * width, width, job.value + (row * from.heads + head) * width);
  }
}

INLINE void split_part(const Splitting& job, int64_t begin, int64_t end) {
  std::vector<float> normed(static_cast<size_t>(job.from.head_dim));
  for (int64_t row = begin; row < end; row++) split_row(job, row, normed.data());
}

// The sum of a key's or value's gradients over the queries that see it.
INLINE void sum_group(const float* gradients, int64_t group, int64_t width, float* output) {
  each_vector(width, [&](auto part, int64_t at) INLINED {
    Vector sum = part.read(gradients + at);
    for (int64_t head = 1; head < group; head++) sum += part.read(gradients + head * width + at);
    part.write(output + at, sum);
  });
}

INLINE void split_back_row(const SplittingGradient& job, int64_t row, float* shares, float* summed, float* turned) {
  const HeadRows& from = job.from;
  const int64_t width = from.head_dim, group = from.heads / from.key_value_heads;
  const int64_t first = row * (from.heads + 2 * from.key_value_heads) * width;
  const float* gradients = job.query + row * from.heads * width;
  for (int64_t head = 0; head < from.heads + from.key_value_heads; head++) {
    const bool is_key = head >= from.heads;
    const float* slope = gradients + head * width;
    if (is_key) {
      sum_group(job.key + (row * from.heads + (head - from.heads) * group) * width, group, width, summed);
      slope = summed;
    }
    float* output = job.output + first + head * width;
    rotate_back(slope, from.cosines + row * width, from.sines + row * width, width, from.gains == nullptr ? output : turned);
    if (from.gains == nullptr) continue;
    const int64_t kind = is_key ? width : 0;
    norm_gradient(from.qkv + first + head * width, from.gains + kind, turned, width, from.eps, output,
                  shares == nullptr ? nullptr : shares + kind);
  }
  float* values = job.output + first + (from.heads + from.key_value_heads) * width;
  for (int64_t head = 0; head < from.key_value_heads; head++) {
    sum_group(job.value + (row * from.heads + head * group) * width, group, width, values + head * width);
  }
}

INLINE void split_back_part(const SplittingGradient& job, int64_t begin, int64_t end) {
  const int64_t width = job.from.head_dim;
  std::vector<float> room(static_cast<size_t>(2 * width));
  for (int64_t block = begin; block < end; block++) {
    float* shares = job.gain_shares == nullptr ? nullptr : job.gain_shares + block * 2 * width;
    const int64_t last = std::min(job.from.rows, (block + 1) * kGainRows);
    for (int64_t row = block * kGainRows; row < last; row++) {
      split_back_row(job, row, shares, room.data(), room.data() + width);
    }
  }
}

// A vector of a row of any width: lanes behind its end are `filling`.
INLINE Vector load_part(const float* from, int64_t count, float filling) {
  if (count >= kLanes) return load(from);
  Vector value = all(filling);
  std::memcpy(&value, from, static_cast<size_t>(count) * sizeof(float));
  return value;
}

INLINE float largest_in(const float* row, int64_t width) {
  Vector most = all(-INFINITY);
  for (int64_t at = 0; at < width; at += kLanes) most = larger(most, load_part(row + at, width - at, -INFINITY));
  return largest_of(most);
}

// Terms that one vector sums before their total is: short sums round less.
constexpr int64_t kSumBlock = 64 * kLanes;

INLINE void choose_part(const Choosing& job, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; row++) {
    const float* logits = job.logits + row * job.width;
    const float most = largest_in(logits, job.width);
    double total = 0.0, moment = 0.0;
    for (int64_t block = 0; block < job.width; block += kSumBlock) {
      Vector weights = {}, moments = {};
      const int64_t last = std::min(job.width, block + kSumBlock);
      for (int64_t at = block; at < last; at += kLanes) {
        // What is behind the end has a weight of about 1e-38. A logit that is not finite must not vanish: x − x is not 0.
        const Vector gap = load_part(logits + at, job.width - at, most - 87.0f) - most;
        const Vector weight = exponential(gap) + (gap - gap);
        weights += weight;
        moments += weight * gap;
      }
      total += sum_of(weights);
      moment += sum_of(moments);
    }
    const double logsum = std::log(total);
    job.logsums[row] = static_cast<float>(most + logsum);
    job.logprobs[row] = static_cast<float>((logits[job.targets[row]] - most) - logsum);
    job.entropies[row] = static_cast<float>(logsum - moment / total);
  }
}

INLINE void choose_back_part(const ChoosingGradient& job, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; row++) {
    float* logits = job.logits + row * job.width;
    const float of_logprob = job.of_logprobs == nullptr ? 0.0f : job.of_logprobs[row];
    const float of_entropy = job.of_entropies == nullptr ? 0.0f : job.of_entropies[row];
    const float entropy = job.entropies[row];
    for (int64_t at = 0; at < job.width; at += kLanes) {
      const Vector logprob = load_part(logits + at, job.width - at, 0.0f) - job.logsums[row];
      const Vector slope = exponential(logprob) * (-of_logprob - of_entropy * (logprob + entropy));
      const size_t count = static_cast<size_t>(std::min(kLanes, job.width - at));
      std::memcpy(logits + at, &slope, count * sizeof(float));
    }
    logits[job.targets[row]] += of_logprob;
  }
}

// Rows whose products are summed before their sum joins the others'; their part of `right` stays in the first-level cache.
constexpr int64_t kOuterRows = 128;

// `Ranks` rows and `Vectors` vectors of the output, over the rows `first` to `last`.
template <int Ranks, int Vectors, typename Part>
INLINE void outer_tile(const Outer& job, int64_t first, int64_t last, int64_t rank, int64_t column) {
  Vector sums[Ranks * Vectors] = {};
  for (int64_t row = first; row < last; row++) {
    const float* left = job.left + row * job.rank + rank;
    const float* right = job.right + row * job.width + column;
    Vector values[Vectors];
#pragma GCC unroll 2
    for (int part = 0; part < Vectors; part++) values[part] = Part::read(right + part * kLanes);
#pragma GCC unroll 8
    for (int r = 0; r < Ranks; r++) {
#pragma GCC unroll 2
      for (int part = 0; part < Vectors; part++) sums[r * Vectors + part] += left[r] * values[part];
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < Ranks; r++) {
#pragma GCC unroll 2
    for (int part = 0; part < Vectors; part++) {
      float* output = job.output + (rank + r) * job.width + column + part * kLanes;
      Part::write(output, first == 0 ? sums[r * Vectors + part] : Part::read(output) + sums[r * Vectors + part]);
    }
  }
}

template <int Ranks, int Vectors, typename Part = Whole>
INLINE void outer_column(const Outer& job, int64_t first, int64_t last, int64_t column) {
  int64_t rank = 0;
  for (; rank + Ranks <= job.rank; rank += Ranks) outer_tile<Ranks, Vectors, Part>(job, first, last, rank, column);
  for (; rank < job.rank; rank++) outer_tile<1, Vectors, Part>(job, first, last, rank, column);
}

// One after the last row whose products join the sum of `first`'s.
INLINE int64_t outer_end(const Outer& job, int64_t first) {
  if (job.places == nullptr) return std::min(job.rows, first + kOuterRows);
  int64_t end = first + 1;
  while (end < job.rows && job.places[end] / kOuterRows == job.places[first] / kOuterRows) end++;
  return end;
}

// The tiles fill the registers of a processor whose products are best in tiles of `Tile`.
template <int Tile>
INLINE void outer_part(const Outer& job, int64_t begin, int64_t end) {
  constexpr int kRanks = 2 * Tile, kVectors = Tile / 2;
  const int64_t whole = std::min(end, job.width / kLanes);
  for (int64_t first = 0, last = 0; first < job.rows; first = last) {
    last = outer_end(job, first);
    int64_t at = begin;
    for (; at + kVectors <= whole; at += kVectors) outer_column<kRanks, kVectors>(job, first, last, at * kLanes);
    for (; at < whole; at++) outer_column<kRanks, 1>(job, first, last, at * kLanes);
    if (at < end) outer_column<kRanks, 1, Half>(job, first, last, at * kLanes);
  }
}

// Each kernel once for a kind of processor: the bodies above are inlined and compiled for it.
#define GRADIENTS_FOR(NAME, TARGET, TILE)                                                                             \
  namespace NAME {                                                                                                    \
  TARGET void norm_back(const NormGradient& job, int64_t begin, int64_t end) { norm_back_part(job, begin, end); }     \
  TARGET void gate_back(const GatingGradient& job, int64_t begin, int64_t end) { gate_back_part(job, begin, end); }   \
  TARGET void split(const Splitting& job, int64_t begin, int64_t end) { split_part(job, begin, end); }                \
  TARGET void split_back(const SplittingGradient& job, int64_t begin, int64_t end) { split_back_part(job, begin, end); } \
  TARGET void choose(const Choosing& job, int64_t begin, int64_t end) { choose_part(job, begin, end); }               \
  TARGET void choose_back(const ChoosingGradient& job, int64_t begin, int64_t end) { choose_back_part(job, begin, end); } \
  TARGET void outer(const Outer& job, int64_t begin, int64_t end) { outer_part<TILE>(job, begin, end); }              \
  constexpr GradientTable kTable = {norm_back, gate_back, split, split_back, choose, choose_back, outer};             \
  }

FOR_EACH_PROCESSOR(GRADIENTS_FOR)

constexpr const GradientTable* kTables[] = {FOR_EACH_PROCESSOR(TABLE_OF)};

}  // namespace

const GradientTable& gradient_table() {
  static const GradientTable& chosen = *kTables[static_cast<int>(processor())];
  return chosen;
}

}  // namespace kernels
