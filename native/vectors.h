// Vectors of floats, and what the kernels of every kind of processor compute with them.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "kernels.h"

// Vectors are inlined everywhere, so their calling convention does not matter.
#pragma GCC diagnostic ignored "-Wpsabi"

#define INLINE inline __attribute__((always_inline))
#define INLINED __attribute__((always_inline))

#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#endif
#endif
#ifndef SHUFFLE
#define SHUFFLE(a, b, ...) __builtin_shuffle(a, b, Integers{__VA_ARGS__})
#define LACKS_SHUFFLES_OF_SIZES
#endif

// `KERNELS(NAME, TARGET, TILE)` for each kind of processor, in the order of `Processor`.
#if defined(__x86_64__)
#define FOR_EACH_PROCESSOR(KERNELS)                                  \
  KERNELS(portable, , 2)                                             \
  KERNELS(avx2, __attribute__((target("avx2,fma"))), 2)              \
  KERNELS(avx512, __attribute__((target("avx512f,avx512dq,avx512vl,avx512bw,fma,prefer-vector-width=512"))), 4)
#else
#define FOR_EACH_PROCESSOR(KERNELS) KERNELS(portable, , 2)
#endif

// In a list: the table of one kind's kernels.
#define TABLE_OF(NAME, TARGET, TILE) &NAME::kTable,

namespace kernels {

enum class Processor { portable, avx2, avx512 };

// The best kind of processor that this one is.
inline Processor processor() {
  // For tests: the kernels of a lesser processor. What this one cannot run is not on offer.
  const char* wanted = std::getenv("TEAMTUNE_KERNELS");
  const auto may_be = [&](const char* name) { return wanted == nullptr || std::strcmp(wanted, name) == 0; };
#if defined(__x86_64__)
  if (may_be("avx512") && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw")) {
    return Processor::avx512;
  }
  if (may_be("avx2") && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return Processor::avx2;
#endif
  return Processor::portable;
}

namespace {

typedef float Vector __attribute__((vector_size(64)));
typedef float Octet __attribute__((vector_size(32)));
typedef float Quad __attribute__((vector_size(16)));
typedef int32_t Integers __attribute__((vector_size(64)));

template <typename Any>
INLINE Any load_as(const float* from) {
  Any value;
  std::memcpy(&value, from, sizeof(value));
  return value;
}

INLINE Vector load(const float* from) { return load_as<Vector>(from); }

template <typename Any>
INLINE void store(float* to, Any value) {
  std::memcpy(to, &value, sizeof(value));
}

// Half a vector in memory, at the end of a row whose size is no multiple of a whole one; its other lanes are zeros.
INLINE Vector load_half(const float* from) {
#ifdef LACKS_SHUFFLES_OF_SIZES
  Vector value = {};
  std::memcpy(&value, from, sizeof(Octet));
  return value;
#else
  return SHUFFLE(load_as<Octet>(from), Octet{}, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
#endif
}

INLINE void store_half(float* to, Vector value) { std::memcpy(to, &value, sizeof(Octet)); }

// How a kernel reads and writes one vector of a row.
struct Whole {
  static INLINE Vector read(const float* from) { return load(from); }
  static INLINE void write(float* to, Vector value) { store(to, value); }
};
struct Half {
  static INLINE Vector read(const float* from) { return load_half(from); }
  static INLINE void write(float* to, Vector value) { store_half(to, value); }
};

// Elements of a row that fill whole vectors.
INLINE int64_t whole_part(int64_t width) { return width / kLanes * kLanes; }

// Calls `part(Whole{}, at)` for each whole vector of a row, and `part(Half{}, at)` for what is left.
template <typename Part>
INLINE void each_vector(int64_t width, Part part) {
  const int64_t whole = whole_part(width);
  for (int64_t at = 0; at < whole; at += kLanes) part(Whole{}, at);
  if (whole < width) part(Half{}, whole);
}

INLINE Vector all(float value) { return value - Vector{}; }

INLINE Vector larger(Vector a, Vector b) { return a > b ? a : b; }

// Sums of two vectors' neighbours, `a`'s and `b`'s in turns.
INLINE Vector pair1(Vector a, Vector b) {
  return SHUFFLE(a, b, 0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30) +
         SHUFFLE(a, b, 1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31);
}
INLINE Vector pair2(Vector a, Vector b) {
  return SHUFFLE(a, b, 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29) +
         SHUFFLE(a, b, 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31);
}
INLINE Vector pair4(Vector a, Vector b) {
  return SHUFFLE(a, b, 0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27) +
         SHUFFLE(a, b, 4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31);
}
INLINE Vector pair8(Vector a, Vector b) {
  return SHUFFLE(a, b, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23) +
         SHUFFLE(a, b, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31);
}

INLINE Vector sums4(const Vector* v) { return pair2(pair1(v[0], v[1]), pair1(v[2], v[3])); }

// Lane i of the result is the sum of vector i.
INLINE Vector sums16(const Vector* v) {
  return pair8(pair4(sums4(v), sums4(v + 4)), pair4(sums4(v + 8), sums4(v + 12)));
}

INLINE float sum_of(Vector value) {
  const Vector zeros = {};
  return pair8(pair4(pair2(pair1(value, zeros), zeros), zeros), zeros)[0];
}

INLINE float largest_of(Vector value) {
  float most = value[0];
  for (int lane = 1; lane < kLanes; lane++) most = std::max(most, value[lane]);
  return most;
}

// eˣ to about one unit in the last place, after Cephes' expf.
INLINE Vector exponential(Vector x) {
  x = larger(x, all(-87.0f));
  x = x < all(88.0f) ? x : all(88.0f);
  const Vector rounder = all(12582912.0f);
  const Vector n = (x * 1.44269504088896341f + rounder) - rounder;
  const Vector r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  Vector p = all(1.9875691500e-4f);
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  const Vector fraction = p * (r * r) + r + 1.0f;
  const Integers power = (__builtin_convertvector(n, Integers) + 127) << 23;
  Vector scale;
  std::memcpy(&scale, &power, sizeof(scale));
  return fraction * scale;
}

INLINE float inverse_root(const float* input, int64_t width, float eps) {
  Vector squares = {};
  each_vector(width, [&](auto part, int64_t at) INLINED {
    const Vector value = part.read(input + at);
    squares += value * value;
  });
  return 1.0f / std::sqrt(sum_of(squares) / static_cast<float>(width) + eps);
}

INLINE void norm_row(const float* input, const float* gain, int64_t width, float eps, float* output) {
  const float factor = inverse_root(input, width, eps);
  each_vector(width, [&](auto part, int64_t at) INLINED {
    part.write(output + at, part.read(input + at) * factor * part.read(gain + at));
  });
}

// A few elements of both halves of a head, as many as `Any` holds; the pointers are to those of the first half.
template <typename Any>
INLINE void rotate_some(const float* head, const float* cosines, const float* sines, int64_t half, float* output) {
  const Any low = load_as<Any>(head), high = load_as<Any>(head + half);
  store(output, low * load_as<Any>(cosines) + high * load_as<Any>(sines));
  store(output + half, high * load_as<Any>(cosines + half) + low * load_as<Any>(sines + half));
}

// Half a head fills octets, or leaves a quad.
INLINE void rotate_head(const float* head, const float* cosines, const float* sines, int64_t width, float* output) {
  const int64_t half = width / 2;
  int64_t at = 0;
  for (; at + 8 <= half; at += 8) rotate_some<Octet>(head + at, cosines + at, sines + at, half, output + at);
  if (at < half) rotate_some<Quad>(head + at, cosines + at, sines + at, half, output + at);
}

}  // namespace

}  // namespace kernels
