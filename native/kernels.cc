#include "kernels.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <type_traits>
#include <vector>

#include "vectors.h"

namespace kernels {
namespace {

// Inputs are summed in blocks of this many: a constant, so that a sum's order never depends on the batch.
constexpr int64_t kInputBlock = 1024;
// Rows whose block of inputs stays in the second-level cache while all weights pass by.
constexpr int64_t kRowBlock = 96;
// Of those, rows whose inputs stay in the first-level cache while weights of so many outputs pass by, from the second.
constexpr int64_t kNearRows = 16;
constexpr int64_t kNearOutputs = 64;

template <typename Part, int Rows, int Columns>
INLINE void add_products(const float* input, const float* weight, int64_t stride, Vector* held) {
  Vector columns[Columns];
#pragma GCC unroll 4
  for (int column = 0; column < Columns; column++) columns[column] = Part::read(weight + column * stride);
#pragma GCC unroll 4
  for (int row = 0; row < Rows; row++) {
    const Vector value = Part::read(input + row * stride);
#pragma GCC unroll 4
    for (int column = 0; column < Columns; column++) held[row * Columns + column] += value * columns[column];
  }
}

// Products of `Rows` × `Columns` rows of input and weight, lane by lane; sums[row · 4 + column].
template <int Rows, int Columns>
INLINE void products(const float* input, const float* weight, int64_t stride, int64_t count, Vector* sums) {
  Vector held[Rows * Columns] = {};
  const int64_t whole = whole_part(count);
  for (int64_t at = 0; at < whole; at += kLanes) add_products<Whole, Rows, Columns>(input + at, weight + at, stride, held);
  if (whole < count) add_products<Half, Rows, Columns>(input + whole, weight + whole, stride, held);
#pragma GCC unroll 16
  for (int index = 0; index < Rows * Columns; index++) sums[index / Columns * 4 + index % Columns] = held[index];
}

// A tile of 4 × 4 sums, in parts of `Tile` × `Tile` that fit the processor's registers.
template <int Tile>
INLINE void tile_products(const float* input, const float* weight, int64_t stride, int64_t count, Vector* sums) {
#pragma GCC unroll 2
  for (int row = 0; row < 4; row += Tile) {
#pragma GCC unroll 2
    for (int column = 0; column < 4; column += Tile) {
      products<Tile, Tile>(input + row * stride, weight + column * stride, stride, count, sums + row * 4 + column);
    }
  }
}

INLINE void edge_products(const float* input, const float* weight, int64_t stride, int64_t count, int rows, int columns,
                          Vector* sums) {
  for (int row = 0; row < rows; row++) {
    for (int column = 0; column < columns; column++) {
      products<1, 1>(input + row * stride, weight + column * stride, stride, count, sums + row * 4 + column);
    }
  }
}

// What the output starts from: its bias and residual, or what earlier blocks of inputs have added up.
INLINE float start_of(const Linear& job, int64_t row, int64_t column, bool first) {
  const int64_t at = row * job.outputs + column;
  if (!first) return job.output[at];
  return (job.bias == nullptr ? 0.0f : job.bias[column]) + (job.residual == nullptr ? 0.0f : job.residual[at]);
}

INLINE void write_edge(const Linear& job, const float* sums, int64_t row, int64_t column, int rows, int columns, bool first) {
  for (int r = 0; r < rows; r++) {
    for (int c = 0; c < columns; c++) {
      job.output[(row + r) * job.outputs + column + c] = start_of(job, row + r, column + c, first) + sums[r * 4 + c];
    }
  }
}

INLINE void write_tile(const Linear& job, const float* sums, int64_t row, int64_t column, bool first) {
  const Quad bias = first && job.bias != nullptr ? load_as<Quad>(job.bias + column) : Quad{};
  for (int r = 0; r < 4; r++) {
    const int64_t at = (row + r) * job.outputs + column;
    Quad start = first ? bias : load_as<Quad>(job.output + at);
    if (first && job.residual != nullptr) start = bias + load_as<Quad>(job.residual + at);
    store(job.output + at, start + load_as<Quad>(sums + r * 4));
  }
}

template <int Tile>
INLINE void linear_block(const Linear& job, int64_t row, int64_t rows, int64_t input, int64_t begin, int64_t end) {
  const int64_t count = std::min(kInputBlock, job.inputs - input);
  for (int64_t column = begin; column < end; column += 4) {
    const int columns = static_cast<int>(std::min<int64_t>(4, end - column));
    const float* weight = job.weight + column * job.inputs + input;
    for (int64_t at = row; at < row + rows; at += 4) {
      const int height = static_cast<int>(std::min<int64_t>(4, row + rows - at));
      const float* from = job.input + at * job.inputs + input;
      float sums[kLanes];
      if (height == 4 && columns == 4) {
        Vector products[kLanes];
        tile_products<Tile>(from, weight, job.inputs, count, products);
        store(sums, sums16(products));
        write_tile(job, sums, at, column, input == 0);
      } else {
        Vector products[kLanes] = {};
        edge_products(from, weight, job.inputs, count, height, columns, products);
        store(sums, sums16(products));
        write_edge(job, sums, at, column, height, columns, input == 0);
      }
    }
  }
}

template <int Tile>
INLINE void linear_part(const Linear& job, int64_t begin, int64_t end) {
  for (int64_t row = 0; row < job.rows; row += kRowBlock) {
    const int64_t last = std::min(row + kRowBlock, job.rows);
    for (int64_t input = 0; input < job.inputs; input += kInputBlock) {
      for (int64_t column = begin; column < end; column += kNearOutputs) {
        for (int64_t near = row; near < last; near += kNearRows) {
          linear_block<Tile>(job, near, std::min(kNearRows, last - near), input, column, std::min(end, column + kNearOutputs));
        }
      }
    }
  }
}

// Rows of b that change the same outputs.
struct Band {
  int64_t first, last;  // of b's rows
  int64_t from, to;     // of the outputs
};

INLINE Band band_at(const LowRank& job, int64_t first) {
  Band band{first, first + 1, job.spans[2 * first], job.spans[2 * first + 1]};
  while (band.last < job.rank && job.spans[2 * band.last] == band.from && job.spans[2 * band.last + 1] == band.to) band.last++;
  return band;
}

// `Rows` rows and `Vectors` vectors of the output stay in registers while a band of b passes by.
template <int Rows, int Vectors, typename Part = Whole>
INLINE void low_rank_tile(const LowRank& job, const Band& band, int64_t row, int64_t column) {
  float* output = job.output + row * job.outputs + column;
  Vector sums[Rows * Vectors];
#pragma GCC unroll 16
  for (int index = 0; index < Rows * Vectors; index++) {
    sums[index] = Part::read(output + index / Vectors * job.outputs + index % Vectors * kLanes);
  }
  for (int64_t r = band.first; r < band.last; r++) {
    Vector b[Vectors];
#pragma GCC unroll 4
    for (int part = 0; part < Vectors; part++) b[part] = Part::read(job.b + r * job.outputs + column + part * kLanes);
#pragma GCC unroll 4
    for (int each = 0; each < Rows; each++) {
      const Vector inner = all(job.inner[(row + each) * job.rank + r] * job.scale);
#pragma GCC unroll 4
      for (int part = 0; part < Vectors; part++) sums[each * Vectors + part] += inner * b[part];
    }
  }
#pragma GCC unroll 16
  for (int index = 0; index < Rows * Vectors; index++) {
    Part::write(output + index / Vectors * job.outputs + index % Vectors * kLanes, sums[index]);
  }
}

template <int Tile>
INLINE void low_rank_columns(const LowRank& job, const Band& band, int64_t column) {
  int64_t row = 0;
  for (; row + Tile <= job.rows; row += Tile) low_rank_tile<Tile, Tile>(job, band, row, column);
  for (; row < job.rows; row++) low_rank_tile<1, Tile>(job, band, row, column);
}

template <int Tile>
INLINE void low_rank_part(const LowRank& job, int64_t begin, int64_t end) {
  for (int64_t first = 0; first < job.rank;) {
    const Band band = band_at(job, first);
    const int64_t to = std::min(band.to, end);
    int64_t column = std::max(band.from, begin);
    for (; column + Tile * kLanes <= to; column += Tile * kLanes) low_rank_columns<Tile>(job, band, column);
    for (; column + kLanes <= to; column += kLanes) {
      for (int64_t row = 0; row < job.rows; row++) low_rank_tile<1, 1>(job, band, row, column);
    }
    for (int64_t row = 0; row < job.rows && column < to; row++) low_rank_tile<1, 1, Half>(job, band, row, column);
    first = band.last;
  }
}

INLINE void norm_part(const Norm& job, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; row++) {
    const int64_t at = row * job.width;
    norm_row(job.input + at, job.gain, job.width, job.eps, job.output + at);
  }
}

INLINE void place_part(const Placing& job, int64_t begin, int64_t end) {
  const Heads& at = job.at;
  const int64_t width = at.head_dim, rotated = at.heads + at.key_value_heads;
  const int64_t stored = at.key_value_heads * width;
  std::vector<float> head(static_cast<size_t>(width));
  for (int64_t row = begin; row < end; row++) {
    float* qkv = at.qkv + row * (rotated + at.key_value_heads) * width;
    const float* cosines = job.cosines + at.positions[row] * width;
    const float* sines = job.sines + at.positions[row] * width;
    for (int64_t index = 0; index < rotated; index++) {
      float* own = qkv + index * width;
      if (job.gains == nullptr) {
        rotate_head(own, cosines, sines, width, own);
      } else {
        norm_row(own, job.gains + (index < at.heads ? 0 : width), width, job.eps, head.data());
        rotate_head(head.data(), cosines, sines, width, own);
      }
    }
    const int64_t place = at.places[row] * stored;
    const size_t bytes = static_cast<size_t>(stored) * sizeof(float);
    std::memcpy(at.keys + place, qkv + at.heads * width, bytes);
    std::memcpy(at.values + place, qkv + rotated * width, bytes);
  }
}

// The product of a query with one key, lane by lane. The head's last vector is a `Last`.
template <typename Last>
INLINE Vector key_product(const float* query, const float* key, int64_t width) {
  constexpr bool has_half = std::is_same_v<Last, Half>;
  const int64_t whole = has_half ? whole_part(width) : width;
  Vector sum = {};
  for (int64_t at = 0; at < whole; at += kLanes) sum += load(query + at) * load(key + at);
  if constexpr (has_half) sum += load_half(query + whole) * load_half(key + whole);
  return sum;
}

// Scores of one query against `count` keys, `stride` apart; `scores` has room for whole vectors. Returns the largest.
template <typename Last>
INLINE float score_keys(const float* query, const float* keys, int64_t stride, int64_t count, int64_t width, float* scores) {
  const Vector scale = all(1.0f / std::sqrt(static_cast<float>(width)));
  Vector most = all(-INFINITY);
  for (int64_t key = 0; key < count; key += kLanes) {
    const float* from = keys + key * stride;
    const int64_t held = std::min(kLanes, count - key);
    Vector products[kLanes] = {};
    if (held == kLanes) {
#pragma GCC unroll 16
      for (int64_t k = 0; k < kLanes; k++) products[k] = key_product<Last>(query, from + k * stride, width);
    } else {
      for (int64_t k = 0; k < held; k++) products[k] = key_product<Last>(query, from + k * stride, width);
    }
    Vector block = sums16(products) * scale;
    for (int64_t k = held; k < kLanes; k++) block[k] = -INFINITY;
    store(scores + key, block);
    most = larger(most, block);
  }
  return largest_of(most);
}

// Part `part` of `Width` vectors, of which the last is a `Last`.
template <typename Last, int Width>
INLINE Vector load_part_of(const float* from, int part) {
  return part + 1 < Width ? load(from + part * kLanes) : Last::read(from + part * kLanes);
}

// Σ weight · value of `Width` vectors of the head, over `count` keys. Four sums in turns: one alone waits for itself.
template <typename Last, int Width>
INLINE void weigh_values(const float* weights, const float* values, int64_t stride, int64_t count, Vector* result) {
  Vector sums[4 * Width] = {};
  int64_t key = 0;
  for (; key + 4 <= count; key += 4) {
#pragma GCC unroll 4
    for (int turn = 0; turn < 4; turn++) {
#pragma GCC unroll 2
      for (int part = 0; part < Width; part++) {
        sums[turn * Width + part] += weights[key + turn] * load_part_of<Last, Width>(values + (key + turn) * stride, part);
      }
    }
  }
  for (; key < count; key++) {
#pragma GCC unroll 2
    for (int part = 0; part < Width; part++) {
      sums[part] += weights[key] * load_part_of<Last, Width>(values + key * stride, part);
    }
  }
  for (int part = 0; part < Width; part++) {
    result[part] = (sums[part] + sums[Width + part]) + (sums[2 * Width + part] + sums[3 * Width + part]);
  }
}

template <typename Last>
INLINE void attend_one(const float* query, const float* keys, const float* values, int64_t stride, int64_t count,
                       int64_t width, float* scores, float* output) {
  const Vector most = all(score_keys<Last>(query, keys, stride, count, width, scores));
  Vector total = {};
  for (int64_t key = 0; key < count; key += kLanes) {
    Vector weights = exponential(load(scores + key) - most);
    for (int64_t k = count - key; k < kLanes; k++) weights[k] = 0.0f;
    store(scores + key, weights);
    total += weights;
  }
  const float share = 1.0f / sum_of(total);
  int64_t at = 0;
  Vector sums[2];
  for (; at + 2 * kLanes <= width; at += 2 * kLanes) {
    weigh_values<Whole, 2>(scores, values + at, stride, count, sums);
    store(output + at, sums[0] * share);
    store(output + at + kLanes, sums[1] * share);
  }
  if (at + kLanes < width) {
    weigh_values<Last, 2>(scores, values + at, stride, count, sums);
    store(output + at, sums[0] * share);
    Last::write(output + at + kLanes, sums[1] * share);
  } else if (at < width) {
    weigh_values<Last, 1>(scores, values + at, stride, count, sums);
    Last::write(output + at, sums[0] * share);
  }
}

template <typename Last>
INLINE void attend_heads(const Attention& job, int64_t begin, int64_t end) {
  const Heads& at = job.at;
  const int64_t width = at.head_dim, stride = at.key_value_heads * width, group = at.heads / at.key_value_heads;
  std::vector<float> scores;
  for (int64_t index = begin; index < end; index++) {
    const int64_t row = index / at.key_value_heads, shared = index % at.key_value_heads;
    const int64_t count = at.positions[row] + 1;
    scores.resize(static_cast<size_t>((count + kLanes - 1) / kLanes * kLanes));
    const int64_t first = (at.places[row] - at.positions[row]) * stride + shared * width;
    for (int64_t head = shared * group; head < (shared + 1) * group; head++) {
      const float* query = at.qkv + (row * (at.heads + 2 * at.key_value_heads) + head) * width;
      attend_one<Last>(query, at.keys + first, at.values + first, stride, count, width, scores.data(),
                       job.output + (row * at.heads + head) * width);
    }
  }
}

INLINE void attend_part(const Attention& job, int64_t begin, int64_t end) {
  if (job.at.head_dim % kLanes == 0) {
    attend_heads<Whole>(job, begin, end);
  } else {
    attend_heads<Half>(job, begin, end);
  }
}

INLINE void gate_part(const Gating& job, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; row++) {
    const float* gate = job.gate_up + row * 2 * job.width;
    float* output = job.output + row * job.width;
    each_vector(job.width, [&](auto part, int64_t at) INLINED {
      const Vector value = part.read(gate + at);
      part.write(output + at, value / (1.0f + exponential(-value)) * part.read(gate + job.width + at));
    });
  }
}

// Each kernel once for a kind of processor: the bodies above are inlined and compiled for it.
#define KERNELS_FOR(NAME, TARGET, TILE)                                                               \
  namespace NAME {                                                                                    \
  TARGET void linear(const Linear& job, int64_t begin, int64_t end) { linear_part<TILE>(job, begin, end); } \
  TARGET void low_rank(const LowRank& job, int64_t begin, int64_t end) { low_rank_part<TILE>(job, begin, end); }  \
  TARGET void norm(const Norm& job, int64_t begin, int64_t end) { norm_part(job, begin, end); }       \
  TARGET void place(const Placing& job, int64_t begin, int64_t end) { place_part(job, begin, end); }  \
  TARGET void attend(const Attention& job, int64_t begin, int64_t end) { attend_part(job, begin, end); } \
  TARGET void gate(const Gating& job, int64_t begin, int64_t end) { gate_part(job, begin, end); }     \
  constexpr Table kTable = {linear, low_rank, norm, place, attend, gate};                             \
  }

FOR_EACH_PROCESSOR(KERNELS_FOR)

constexpr const Table* kTables[] = {FOR_EACH_PROCESSOR(TABLE_OF)};

}  // namespace

const Table& table() {
  static const Table& chosen = *kTables[static_cast<int>(processor())];
  return chosen;
}

}  // namespace kernels
