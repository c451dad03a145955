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
// Columns of dy that are packed together: a cache line of words.
constexpr Index LINE = LANES;

// A block of rows times a panel. The sums begin at `partial` [rows][BLOCK] unless this is their first part, and end there unless it is their
// last, which goes to `to`.
template <int COUNT>
inline void rows_by_panel(const Word* from, Index from_row, const Word* panel, Index words, bool first, bool last, float* partial, Bf16* to,
                          Index to_row) {
  Sums<COUNT, VECTORS> sums;
  sums.each([&](int m, int n, __m512& sum) { sum = first ? _mm512_setzero_ps() : _mm512_loadu_ps(partial + m * BLOCK + n * LANES); });
  sums.add_product(from, from_row, 1, panel, BLOCK, words);
  sums.each([&](int m, int n, __m512& sum) {
    if (last) {
      store_bf16(to + m * to_row + n * LANES, sum);
    } else {
      _mm512_storeu_ps(partial + m * BLOCK + n * LANES, sum);
    }
  });
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

void linear_rows(const LinearTerm* terms, Index count, Index columns, Bf16* to, Index begin, Index end) {
  const bool whole = count == 1 && terms->length <= LENGTH;
  Buffer<float> partial(whole ? 0 : (end - begin) * columns);
  for (const LinearTerm* term = terms; term < terms + count; ++term) {
    const Index length = term->length, words = length / 2;
    for (Index part = 0; part < length; part += LENGTH) {
      const Index taken = std::min(LENGTH, length - part) / 2;
      const bool first = term == terms && part == 0, last = term == terms + count - 1 && part + LENGTH >= length;
      for (Index n = 0; n < columns; n += BLOCK) {
        const Word* panel = term->packed + n * words + part / 2 * BLOCK;
        by_row_blocks(end - begin, [&](Index m, auto rows) {
          const Word* row = reinterpret_cast<const Word*>(term->from + (begin + m) * length + part);
          float* sums = partial.data() + (whole ? 0 : m * columns + n * rows());
          rows_by_panel<rows()>(row, words, panel, taken, first, last, sums, to + (begin + m) * columns + n, columns);
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
  const Index blocks = tile.outputs / LINE * ((LINE + ROWS - 1) / ROWS) * (tile.inputs / BLOCK);
  for (Index t = 0; t < shape.rows; t += STEPS) {
    const Index steps = std::min(STEPS, shape.rows - t), padded = (steps + 1) & ~Index{1};
    pack_row_pairs<LINE>(dy + t * shape.outputs, shape.outputs, steps, padded, tile.outputs, left.data());
    pack_row_pairs<BLOCK>(x + t * shape.inputs, shape.inputs, steps, padded, tile.inputs, right.data());
    // What comes next is fetched between the blocks of this.
    const Index after = t + steps, more = std::min(STEPS, shape.rows - after), each = (more + blocks - 1) / blocks;
    Ahead dy_ahead = {dy + after * shape.outputs, shape.outputs, more, tile.outputs};
    Ahead x_ahead = {x + after * shape.inputs, shape.inputs, more, tile.inputs};
    for (Index k = 0; k < tile.inputs; k += BLOCK) {
      const Word* panel = right.data() + k * (padded / 2);
      for (Index line = 0; line < tile.outputs; line += LINE) {
        by_row_blocks(LINE, [&](Index m, auto rows) {
          dy_ahead.fetch(each);
          x_ahead.fetch(each);
          const Word* a = left.data() + line * (padded / 2) + m;
          float* sums = to + (line + m) * shape.inputs + k;
          if (t == 0) {
            product_block<rows(), VECTORS, false>(a, 1, LINE, panel, BLOCK, padded / 2, sums, shape.inputs);
          } else {
            product_block<rows(), VECTORS, true>(a, 1, LINE, panel, BLOCK, padded / 2, sums, shape.inputs);
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
void linear_rows(const LinearTerm*, std::int64_t, std::int64_t, Bf16*, std::int64_t, std::int64_t) { refuse(); }
void linear_weight_gradient(const Bf16*, const Bf16*, LinearShape, LinearTile, float*) { refuse(); }

}  // namespace nocturne

#endif
