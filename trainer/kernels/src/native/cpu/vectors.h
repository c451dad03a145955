// What rows.cpp is written with: as many numbers at a time as a register holds, and one at a time for what is left of a row. Compiled, as
// that is, once for each instruction set and into its namespace.
//
// Functions are templates over L, which is Lanes or float.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

#if defined(__SSE2__)
#include <immintrin.h>
#endif

#include "rows.h"

#define NOCTURNE_INLINE inline __attribute__((always_inline))

namespace nocturne::NOCTURNE_ROWS {
namespace {

using Index = std::int64_t;

#if defined(__AVX512F__)
constexpr Index LANES = 16;
#elif defined(__AVX2__)
constexpr Index LANES = 8;
#else
constexpr Index LANES = 4;
#endif
using Lanes = float __attribute__((vector_size(4 * LANES)));
using Words = std::uint32_t __attribute__((vector_size(4 * LANES)));
using Halves = std::uint16_t __attribute__((vector_size(2 * LANES)));

template <typename L>
struct Bits;
template <>
struct Bits<float> {
  using Type = std::uint32_t;
};
template <>
struct Bits<Lanes> {
  using Type = Words;
};
template <typename L>
using BitsOf = typename Bits<L>::Type;

// Words of halves, and back. What GCC 12 makes of __builtin_convertvector takes several times as long but for AVX512.
NOCTURNE_INLINE Words widened(Halves x) {
#if defined(__AVX512F__) || !defined(__SSE2__)
  return __builtin_convertvector(x, Words);
#elif defined(__AVX2__)
  return (Words)_mm256_cvtepu16_epi32((__m128i)x);
#else
  return (Words)_mm_unpacklo_epi16(_mm_cvtsi64_si128(std::bit_cast<long long>(x)), _mm_setzero_si128());
#endif
}
NOCTURNE_INLINE Halves narrowed(Words x) {
#if defined(__AVX512F__) || !defined(__SSE2__)
  return __builtin_convertvector(x, Halves);
#elif defined(__AVX2__)
  const __m256i packed = _mm256_packus_epi32((__m256i)x, (__m256i)x);  // within each half of the register
  return (Halves)_mm256_castsi256_si128(_mm256_permute4x64_epi64(packed, 0x08));
#else
  const __m128i with_sign = _mm_srai_epi32((__m128i)(x << 16), 16);  // packing bounds numbers with a sign
  return std::bit_cast<Halves>(_mm_cvtsi128_si64(_mm_packs_epi32(with_sign, with_sign)));
#endif
}

// The same number in all lanes.
template <typename L>
NOCTURNE_INLINE L all_lanes(float x) {
  return L{} + x;
}

template <typename L>
NOCTURNE_INLINE L load(const float* from) {
  L x;
  std::memcpy(&x, from, sizeof x);
  return x;
}
template <typename L>
NOCTURNE_INLINE L load(const Bf16* from) {
  if constexpr (std::is_same_v<L, float>) {
    return std::bit_cast<float>(static_cast<std::uint32_t>(*from) << 16);
  } else {
    Halves halves;
    std::memcpy(&halves, from, sizeof halves);
    return std::bit_cast<Lanes>(widened(halves) << 16);
  }
}

// The bits of the nearest bfloat16, ties to even; what is not a number stays one.
template <typename L>
NOCTURNE_INLINE BitsOf<L> nearest(L x) {
  const auto bits = std::bit_cast<BitsOf<L>>(x);
  const BitsOf<L> rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16, none = (bits & 0u) + 0x7fc0u;
  return (bits & 0x7fffffffu) > 0x7f800000u ? none : rounded;
}

template <typename L>
NOCTURNE_INLINE void store(float* to, L x) {
  std::memcpy(to, &x, sizeof x);
}
NOCTURNE_INLINE void store(Bf16* to, float x) { *to = static_cast<Bf16>(nearest(x)); }
NOCTURNE_INLINE void store(Bf16* to, Lanes x) {
#if defined(__AVX512BF16__)
  const auto halves = std::bit_cast<Halves>(_mm512_cvtneps_pbh(x));
#else
  const Halves halves = narrowed(nearest(x));
#endif
  std::memcpy(to, &halves, sizeof halves);
}

// For each lane, one or the other.
template <typename M, typename L>
NOCTURNE_INLINE L choose(M which, L one, L other) {
  return which ? one : other;
}

NOCTURNE_INLINE float root(float x) { return std::sqrt(x); }
NOCTURNE_INLINE Lanes root(Lanes x) {
#if defined(__AVX512F__)
  return _mm512_sqrt_ps(x);
#else
  for (int i = 0; i < LANES; ++i) x[i] = std::sqrt(x[i]);
  return x;
#endif
}

// 1 / x to 2^-23 or so of it, for x between the smallest normal number and 2^126.
NOCTURNE_INLINE float reciprocal(float x) { return 1.0f / x; }
NOCTURNE_INLINE Lanes reciprocal(Lanes x) {
#if defined(__AVX512F__)
  const Lanes first = _mm512_rcp14_ps(x);
  return first + first * (1.0f - x * first);  // Newton's iteration
#else
  return 1.0f / x;
#endif
}

// e^x to about 2 units in the last place, by Cody and Waite's reduction and a polynomial of Cephes. Below -87.3 and above 88.3 it is what it
// is there, next to nothing and more than 10^38.
template <typename L>
NOCTURNE_INLINE L exponential(L x) {
  const L above = choose(x < -87.3f, all_lanes<L>(-87.3f), x);
  const L clamped = choose(above > 88.3f, all_lanes<L>(88.3f), above);
  const float magic = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer, which stands in the low bits
  const L shifted = clamped * 1.44269504f + magic;
  const L n = shifted - magic;
  L r = clamped - n * 0.693359375f;
  r = r + n * 2.12194440e-4f;
  L p = r * 1.9875691500e-4f + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + (r + 1.0f);
  const BitsOf<L> exponent = (std::bit_cast<BitsOf<L>>(shifted) + 127u) << 23;
  return p * std::bit_cast<L>(exponent);
}

template <typename L>
NOCTURNE_INLINE L sigmoid(L x) {
  return reciprocal(1.0f + exponential(-x));
}
// Exact to about 1e-7 of 1, which is what it is used for. Beyond 43 it is 1 to the last digit.
template <typename L>
NOCTURNE_INLINE L hyperbolic_tangent(L x) {
  const L below = choose(x > 43.0f, all_lanes<L>(43.0f), x);
  return 1.0f - 2.0f * reciprocal(1.0f + exponential(2.0f * below));
}

// Calls f(index, lanes) over a row: with Lanes while there are as many left, then with float.
template <typename F>
NOCTURNE_INLINE void each(Index count, F f) {
  const Index whole = count / LANES * LANES;
  for (Index i = 0; i < whole; i += LANES) f(i, Lanes{});
  for (Index i = whole; i < count; ++i) f(i, 0.0f);
}

// A sum over a row, or over several.
struct Sum {
  Lanes lanes = {};
  float rest = 0;
  NOCTURNE_INLINE void add(Lanes x) { lanes += x; }
  NOCTURNE_INLINE void add(float x) { rest += x; }
  NOCTURNE_INLINE float total() const {
#if defined(__AVX512F__)
    return _mm512_reduce_add_ps(lanes) + rest;
#else
    float sum = rest;
    for (int i = 0; i < LANES; ++i) sum += lanes[i];
    return sum;
#endif
  }
};

}  // namespace
}  // namespace nocturne::NOCTURNE_ROWS
