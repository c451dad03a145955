// Products of bfloat16 matrices with AVX512-BF16, and what puts matrices into the form that they want. For the files that are compiled for
// that instruction set, and for no other.
//
// Every product is C (+)= A B with B packed in pairs, as the instruction wants it: element [p][n] of B holds rows 2p and 2p + 1 of column n
// in one 32-bit word, and A is read as 32-bit words of two neighbours along the sum.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>
#include <memory>
#include <type_traits>

#include "rows.h"

namespace nocturne {
namespace {

using Index = std::int64_t;
using Word = std::uint32_t;

constexpr Index LANES = 16;   // floats of a vector
constexpr Index BLOCK = 64;   // four vectors: what a product makes of a row at once
constexpr int VECTORS = 4;

// Memory that vector loads like, of one thread.
template <typename T>
class Buffer {
 public:
  // Not initialised.
  explicit Buffer(Index count) : lines_(std::make_unique_for_overwrite<Line[]>(static_cast<std::size_t>(count) * sizeof(T) / sizeof(Line) + 1)) {}
  T* data() { return reinterpret_cast<T*>(lines_.get()); }

 private:
  struct alignas(64) Line {
    unsigned char bytes[64];
  };
  std::unique_ptr<Line[]> lines_;
};

inline __m512bh pairs(__m512i words) { return (__m512bh)words; }

// Rows of a block of the result: with four vectors of columns, as many sums as there are registers for.
constexpr Index ROWS = 6;

// Calls f(first row, constant number of rows) for blocks of at most ROWS rows, which differ by one row at most: a block of few rows
// would wait for the memory of B.
template <typename F>
inline void by_row_blocks(Index rows, F f) {
  const Index blocks = (rows + ROWS - 1) / ROWS;
  for (Index block = 0, m = 0; block < blocks; ++block) {
    const Index count = rows / blocks + (block < rows % blocks);
    switch (count) {
      case 6: f(m, std::integral_constant<int, 6>()); break;
      case 5: f(m, std::integral_constant<int, 5>()); break;
      case 4: f(m, std::integral_constant<int, 4>()); break;
      case 3: f(m, std::integral_constant<int, 3>()); break;
      case 2: f(m, std::integral_constant<int, 2>()); break;
      default: f(m, std::integral_constant<int, 1>());
    }
    m += count;
  }
}

// The sums of a block of the result: sum[m][n] over COUNT rows and COLUMNS vectors of n, in registers.
template <int COUNT, int COLUMNS>
struct Sums {
  __m512 of[COUNT][COLUMNS];

  // Calls f(row, vector, sum) for all of them; f may change the sum.
  template <typename F>
  inline __attribute__((always_inline)) void each(F f) {
#pragma GCC unroll 6
    for (int m = 0; m < COUNT; ++m) {
#pragma GCC unroll 4
      for (int n = 0; n < COLUMNS; ++n) f(m, n, of[m][n]);
    }
  }

  // Adds, over p, A[m][p] B[p][n]. A: words at m * a_row + p * a_pair.
  inline __attribute__((always_inline)) void add_product(const Word* a, Index a_row, Index a_pair, const Word* b, Index b_row, Index count) {
    for (Index p = 0; p < count; ++p) {
      __m512bh right[COLUMNS];
#pragma GCC unroll 4
      for (int n = 0; n < COLUMNS; ++n) right[n] = pairs(_mm512_loadu_si512(b + p * b_row + n * LANES));
#pragma GCC unroll 6
      for (int m = 0; m < COUNT; ++m) {
        const __m512bh left = pairs(_mm512_set1_epi32(static_cast<int>(a[m * a_row + p * a_pair])));
#pragma GCC unroll 4
        for (int n = 0; n < COLUMNS; ++n) of[m][n] = _mm512_dpbf16_ps(of[m][n], left, right[n]);
      }
    }
  }
};

// C[m][n] (+)= sum over p of A[m][p] B[p][n], for COUNT rows and COLUMNS vectors of n. A: words at m * a_row + p * a_pair.
template <int COUNT, int COLUMNS, bool ADD>
inline void product_block(const Word* a, Index a_row, Index a_pair, const Word* b, Index b_row, Index count, float* c, Index c_row) {
  Sums<COUNT, COLUMNS> sums;
  sums.each([&](int m, int n, __m512& sum) { sum = ADD ? _mm512_loadu_ps(c + m * c_row + n * LANES) : _mm512_setzero_ps(); });
  sums.add_product(a, a_row, a_pair, b, b_row, count);
  sums.each([&](int m, int n, __m512& sum) { _mm512_storeu_ps(c + m * c_row + n * LANES, sum); });
}

// C[rows][columns] (+)= A B; columns a multiple of 16.
template <bool ADD>
inline void product(Index rows, Index columns, const Word* a, Index a_row, Index a_pair, const Word* b, Index b_row, Index count, float* c,
                    Index c_row) {
  const auto part = [&](Index n, auto vectors) {
    by_row_blocks(rows, [&](Index m, auto block) {
      product_block<block(), vectors(), ADD>(a + m * a_row, a_row, a_pair, b + n, b_row, count, c + m * c_row + n, c_row);
    });
  };
  Index n = 0;
  for (; n + 4 * LANES <= columns; n += 4 * LANES) part(n, std::integral_constant<int, 4>());
  switch ((columns - n) / LANES) {
    case 3: return part(n, std::integral_constant<int, 3>());
    case 2: return part(n, std::integral_constant<int, 2>());
    case 1: return part(n, std::integral_constant<int, 1>());
    default: return;
  }
}

// Exchanges rows and columns of 16 vectors of 16 words.
inline void transpose(__m512i (&r)[LANES]) {
  __m512i t[LANES];
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) {
    t[2 * i] = _mm512_unpacklo_epi32(r[2 * i], r[2 * i + 1]);
    t[2 * i + 1] = _mm512_unpackhi_epi32(r[2 * i], r[2 * i + 1]);
  }
  // Groups of four rows: columns 0..3 of each quarter.
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    r[4 * i] = _mm512_unpacklo_epi64(t[4 * i], t[4 * i + 2]);
    r[4 * i + 1] = _mm512_unpackhi_epi64(t[4 * i], t[4 * i + 2]);
    r[4 * i + 2] = _mm512_unpacklo_epi64(t[4 * i + 1], t[4 * i + 3]);
    r[4 * i + 3] = _mm512_unpackhi_epi64(t[4 * i + 1], t[4 * i + 3]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    t[i] = _mm512_shuffle_i32x4(r[i], r[4 + i], 0x88);
    t[4 + i] = _mm512_shuffle_i32x4(r[i], r[4 + i], 0xdd);
    t[8 + i] = _mm512_shuffle_i32x4(r[8 + i], r[12 + i], 0x88);
    t[12 + i] = _mm512_shuffle_i32x4(r[8 + i], r[12 + i], 0xdd);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    r[i] = _mm512_shuffle_i32x4(t[i], t[8 + i], 0x88);
    r[4 + i] = _mm512_shuffle_i32x4(t[4 + i], t[12 + i], 0x88);
    r[8 + i] = _mm512_shuffle_i32x4(t[i], t[8 + i], 0xdd);
    r[12 + i] = _mm512_shuffle_i32x4(t[4 + i], t[12 + i], 0xdd);
  }
}

// [times][width] to words [width / 2][padded]: pairs along the width, a column for each time; zero beyond the times. Width is a multiple of
// 32, padded of 16.
inline void pack_transposed(const Bf16* from, Index stride, Index times, Index padded, Index width, Word* to) {
  for (Index t = 0; t < padded; t += LANES) {
    for (Index p = 0; p < width / 2; p += LANES) {
      __m512i tile[LANES];
#pragma GCC unroll 16
      for (Index row = 0; row < LANES; ++row) {
        tile[row] = t + row < times ? _mm512_loadu_si512(from + (t + row) * stride + 2 * p) : _mm512_setzero_si512();
      }
      transpose(tile);
#pragma GCC unroll 16
      for (Index column = 0; column < LANES; ++column) _mm512_storeu_si512(to + (p + column) * padded + t, tile[column]);
    }
  }
}

// [times][width] to words [padded / 2][width]: pairs along time; zero beyond the times.
inline void pack_pairs(const Bf16* from, Index stride, Index times, Index padded, Index width, Word* to) {
  for (Index t = 0; t < padded; t += 2) {
    const Bf16 *even = from + t * stride, *odd = even + stride;
    Word* row = to + t / 2 * width;
    if (t + 1 < times) {
      Index i = 0;
      for (; i + LANES <= width; i += LANES) {
        const __m512i low = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(even + i)));
        const __m512i high = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(odd + i)));
        _mm512_storeu_si512(row + i, _mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
      }
      for (; i < width; ++i) row[i] = static_cast<Word>(even[i]) | static_cast<Word>(odd[i]) << 16;
    } else if (t < times) {
      for (Index i = 0; i < width; ++i) row[i] = even[i];
    } else {
      std::memset(row, 0, static_cast<std::size_t>(width) * sizeof(Word));
    }
  }
}

// [rows][stride] to words [columns / PANEL][padded / 2][PANEL]: pairs of rows, in panels of columns, of which there is a multiple of 32;
// zero beyond the rows. Padded is even.
template <Index PANEL>
inline void pack_row_pairs(const Bf16* from, Index stride, Index rows, Index padded, Index columns, Word* to) {
  alignas(64) static constexpr Bf16 LOW[2 * LANES] = {0, 32, 1, 33, 2,  34, 3,  35, 4,  36, 5,  37, 6,  38, 7,  39,
                                                      8, 40, 9, 41, 10, 42, 11, 43, 12, 44, 13, 45, 14, 46, 15, 47};
  const __m512i low = _mm512_load_si512(LOW), high = _mm512_add_epi16(low, _mm512_set1_epi16(LANES));
  for (Index t = 0; t < padded; t += 2) {
    const Bf16 *even = from + t * stride, *odd = even + stride;
    for (Index i = 0; i < columns; i += 2 * LANES) {
      const __m512i a = t < rows ? _mm512_loadu_si512(even + i) : _mm512_setzero_si512();
      const __m512i b = t + 1 < rows ? _mm512_loadu_si512(odd + i) : _mm512_setzero_si512();
      const auto at = [&](Index column) { return to + column / PANEL * PANEL * (padded / 2) + t / 2 * PANEL + column % PANEL; };
      _mm512_storeu_si512(at(i), _mm512_permutex2var_epi16(a, low, b));
      _mm512_storeu_si512(at(i + LANES), _mm512_permutex2var_epi16(a, high, b));
    }
  }
}

inline __m512i words_of(__m512 values) { return _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(values)); }
inline __m512i pair_up(__m512i low, __m512i high) { return _mm512_or_si512(low, _mm512_slli_epi32(high, 16)); }
inline void store_bf16(Bf16* to, __m512 values) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), (__m256i)_mm512_cvtneps_pbh(values)); }

inline bool bf16_products_available() {
  return __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vl");
}

}  // namespace
}  // namespace nocturne
