// See linear.h. Compiled for AVX512-BF16 where the compiler knows it, to a word of refusal elsewhere.

#include "linear.h"

#if defined(NOCTURNE_AVX512_BF16)

#include <algorithm>

#include "products.h"

namespace nocturne {
namespace {

static_assert(LINEAR_PANEL == BLOCK);

// Elements of the sum that one pass over the rows takes: a panel of so many stays in the processor's second cache.
constexpr Index LENGTH = 2048;
// Rows of x and dy that are packed at once for the weight's gradient.
constexpr Index STEPS = 512;
// Rows of a block of the result: with four vectors of columns, as many sums as there are registers for.
constexpr Index ROWS = 6;

// Calls f with the number of rows as a constant.
template <typename F>
inline void with_rows(Index rows, F f) {
  switch (rows) {
    case 6: return f(std::integral_constant<int, 6>());
    case 5: return f(std::integral_constant<int, 5>());
    case 4: return f(std::integral_constant<int, 4>());
    case 3: return f(std::integral_constant<int, 3>());
    case 2: return f(std::integral_constant<int, 2>());
    default: return f(std::integral_constant<int, 1>());
  }
}

// A block of rows times a panel. The sums begin at `partial` [rows][BLOCK] unless this is their first part, and end there unless it is their
// last, which goes to `to`.
template <int COUNT>
inline void rows_by_panel(const Word* from, Index from_row, const Word* panel, Index words, bool first, bool last, float* partial, Bf16* to,
                          Index to_row) {
  __m512 sum[COUNT][VECTORS];
#pragma GCC unroll 6
  for (int m = 0; m < COUNT; ++m) {
#pragma GCC unroll 4
    for (int n = 0; n < VECTORS; ++n) sum[m][n] = first ? _mm512_setzero_ps() : _mm512_loadu_ps(partial + m * BLOCK + n * LANES);
  }
  for (Index p = 0; p < words; ++p) {
    __m512bh right[VECTORS];
#pragma GCC unroll 4
    for (int n = 0; n < VECTORS; ++n) right[n] = pairs(_mm512_loadu_si512(panel + p * BLOCK + n * LANES));
#pragma GCC unroll 6
    for (int m = 0; m < COUNT; ++m) {
      const __m512bh left = pairs(_mm512_set1_epi32(static_cast<int>(from[m * from_row + p])));
#pragma GCC unroll 4
      for (int n = 0; n < VECTORS; ++n) sum[m][n] = _mm512_dpbf16_ps(sum[m][n], left, right[n]);
    }
  }
#pragma GCC unroll 6
  for (int m = 0; m < COUNT; ++m) {
#pragma GCC unroll 4
    for (int n = 0; n < VECTORS; ++n) {
      if (last) {
        store_bf16(to + m * to_row + n * LANES, sum[m][n]);
      } else {
        _mm512_storeu_ps(partial + m * BLOCK + n * LANES, sum[m][n]);
      }
    }
  }
}

// [rows][stride] to words [columns / panel][padded / 2][panel]: pairs of rows, in panels of columns, of which there is a multiple of 32;
// zero beyond the rows. Padded is even.
void pack_row_pairs(const Bf16* from, Index stride, Index rows, Index padded, Index columns, Index panel, Word* to) {
  alignas(64) static constexpr Bf16 LOW[2 * LANES] = {0, 32, 1, 33, 2,  34, 3,  35, 4,  36, 5,  37, 6,  38, 7,  39,
                                                      8, 40, 9, 41, 10, 42, 11, 43, 12, 44, 13, 45, 14, 46, 15, 47};
  const __m512i low = _mm512_load_si512(LOW), high = _mm512_add_epi16(low, _mm512_set1_epi16(LANES));
  for (Index t = 0; t < padded; t += 2) {
    const Bf16 *even = from + t * stride, *odd = even + stride;
    for (Index i = 0; i < columns; i += 2 * LANES) {
      const __m512i a = t < rows ? _mm512_loadu_si512(even + i) : _mm512_setzero_si512();
      const __m512i b = t + 1 < rows ? _mm512_loadu_si512(odd + i) : _mm512_setzero_si512();
      Word* at = to + i / panel * panel * (padded / 2) + t / 2 * panel + i % panel;
      _mm512_storeu_si512(at, _mm512_permutex2var_epi16(a, low, b));
      _mm512_storeu_si512(at + LANES, _mm512_permutex2var_epi16(a, high, b));
    }
  }
}

// Fetches rows into the second cache, some at each call.
struct Ahead {
  const Bf16* from;
  Index stride, rows, columns, next = 0;
  void fetch(Index count) {
    for (const Index last = std::min(rows, next + count); next < last; ++next) {
      for (Index i = 0; i < columns; i += 2 * LANES) _mm_prefetch(reinterpret_cast<const char*>(from + next * stride + i), _MM_HINT_T1);
    }
  }
};

}  // namespace

bool linear_available() { return bf16_products_available(); }

void linear_pack_outputs(const float* weight, LinearShape shape, Index first, Word* packed) {
  const Index words = shape.inputs / 2;
  Word* panel = packed + first * words;
  for (Index n = 0; n < BLOCK; n += LANES) {
    for (Index p = 0; p < words; p += LANES) {
      __m512i tile[LANES];
#pragma GCC unroll 16
      for (Index row = 0; row < LANES; ++row) {
        const float* from = weight + (first + n + row) * shape.inputs + 2 * p;
        tile[row] = (__m512i)_mm512_cvtne2ps_pbh(_mm512_loadu_ps(from + LANES), _mm512_loadu_ps(from));
      }
      transpose(tile);
#pragma GCC unroll 16
      for (Index column = 0; column < LANES; ++column) _mm512_storeu_si512(panel + (p + column) * BLOCK + n, tile[column]);
    }
  }
}

void linear_pack_inputs(const float* weight, LinearShape shape, Index first, Word* packed) {
  Word* panel = packed + first * (shape.outputs / 2);
  for (Index n = 0; n < shape.outputs; n += 2) {
    const float* row = weight + n * shape.inputs + first;
    for (Index i = 0; i < BLOCK; i += LANES) {
      const __m512i low = words_of(_mm512_loadu_ps(row + i)), high = words_of(_mm512_loadu_ps(row + shape.inputs + i));
      _mm512_storeu_si512(panel + n / 2 * BLOCK + i, pair_up(low, high));
    }
  }
}

void linear_rows(const Bf16* from, Index length, const Word* packed, Index columns, Bf16* to, Index begin, Index end) {
  Buffer<float> partial(length > LENGTH ? (end - begin) * columns : 0);
  const Index words = length / 2;
  for (Index part = 0; part < length; part += LENGTH) {
    const Index count = std::min(LENGTH, length - part) / 2;
    const bool first = part == 0, last = part + LENGTH >= length;
    for (Index n = 0; n < columns; n += BLOCK) {
      const Word* panel = packed + n * words + part / 2 * BLOCK;
      for (Index m = begin; m < end; m += ROWS) {
        const Word* row = reinterpret_cast<const Word*>(from + m * length + part);
        float* sums = partial.data() + (first && last ? 0 : (m - begin) * columns + n * std::min(ROWS, end - m));
        with_rows(std::min(ROWS, end - m), [&](auto rows) {
          rows_by_panel<rows()>(row, words, panel, count, first, last, sums, to + m * columns + n, columns);
        });
      }
    }
  }
}

void linear_weight_gradient(const Bf16* dy, const Bf16* x, LinearShape shape, LinearTile tile, float* gradient) {
  Buffer<Word> left(STEPS / 2 * tile.outputs), right(STEPS / 2 * tile.inputs);
  dy += tile.first_output;
  x += tile.first_input;
  float* to = gradient + tile.first_output * shape.inputs + tile.first_input;
  const Index blocks = (tile.outputs + ROWS - 1) / ROWS * (tile.inputs / BLOCK);
  for (Index t = 0; t < shape.rows; t += STEPS) {
    const Index steps = std::min(STEPS, shape.rows - t), padded = (steps + 1) & ~Index{1};
    pack_row_pairs(dy + t * shape.outputs, shape.outputs, steps, padded, tile.outputs, tile.outputs, left.data());
    pack_row_pairs(x + t * shape.inputs, shape.inputs, steps, padded, tile.inputs, BLOCK, right.data());
    // What comes next is fetched between the blocks of this.
    const Index after = t + steps, more = std::min(STEPS, shape.rows - after), each = (more + blocks - 1) / blocks;
    Ahead dy_ahead = {dy + after * shape.outputs, shape.outputs, more, tile.outputs};
    Ahead x_ahead = {x + after * shape.inputs, shape.inputs, more, tile.inputs};
    for (Index k = 0; k < tile.inputs; k += BLOCK) {
      const Word* panel = right.data() + k * (padded / 2);
      for (Index n = 0; n < tile.outputs; n += ROWS) {
        dy_ahead.fetch(each);
        x_ahead.fetch(each);
        with_rows(std::min(ROWS, tile.outputs - n), [&](auto rows) {
          float* sums = to + n * shape.inputs + k;
          if (t == 0) {
            product_block<rows(), VECTORS, false>(left.data() + n, 1, tile.outputs, panel, BLOCK, padded / 2, sums, shape.inputs);
          } else {
            product_block<rows(), VECTORS, true>(left.data() + n, 1, tile.outputs, panel, BLOCK, padded / 2, sums, shape.inputs);
          }
        });
      }
    }
  }
}

}  // namespace nocturne

#else

#include <stdexcept>

namespace nocturne {

namespace {
[[noreturn]] void refuse() { throw std::logic_error("linear layers' products need AVX512-BF16; ask linear_available first"); }
}  // namespace

bool linear_available() { return false; }
void linear_pack_outputs(const float*, LinearShape, std::int64_t, std::uint32_t*) { refuse(); }
void linear_pack_inputs(const float*, LinearShape, std::int64_t, std::uint32_t*) { refuse(); }
void linear_rows(const Bf16*, std::int64_t, const std::uint32_t*, std::int64_t, Bf16*, std::int64_t, std::int64_t) { refuse(); }
void linear_weight_gradient(const Bf16*, const Bf16*, LinearShape, LinearTile, float*) { refuse(); }

}  // namespace nocturne

#endif
