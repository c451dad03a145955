// See polar.h. Compiled for AVX512-BF16 where the compiler knows it, to a word of refusal elsewhere.

#include "polar.h"

#if defined(NOCTURNE_AVX512_BF16)

#include <algorithm>

#include "products.h"

namespace nocturne {
namespace {

inline __m512 load_bf16(const Bf16* from) {
  const __m512i words = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
  return _mm512_castsi512_ps(_mm512_slli_epi32(words, 16));
}

// A tile of 16 rows and columns, turned.
inline void turn(const Bf16* from, Index from_row, Bf16* to, Index to_row) {
  __m512i tile[LANES];
#pragma GCC unroll 16
  for (Index i = 0; i < LANES; ++i) {
    tile[i] = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + i * from_row)));
  }
  transpose(tile);
#pragma GCC unroll 16
  for (Index i = 0; i < LANES; ++i) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + i * to_row), _mm512_cvtepi32_epi16(tile[i]));
  }
}

// [rows][columns] to [columns][rows].
void exchange(const Bf16* from, Index rows, Index columns, Bf16* to) {
  for (Index j = 0; j < columns; j += LANES) {
    for (Index i = 0; i < rows; i += LANES) turn(from + i * columns + j, columns, to + j * rows + i, rows);
  }
}

const Word* words(const Bf16* from) { return reinterpret_cast<const Word*>(from); }

// Rows of A times the first columns of a packed panel of B: `finish` gets (row, column, 16 sums).
template <int COUNT, typename F>
inline void rows_by_panel(Index rows, const Word* a, Index a_row, const Word* panel, Index count, F finish) {
  by_row_blocks(rows, [&](Index first, auto block) {
    Sums<block(), COUNT> sums;
    sums.each([&](int, int, __m512& sum) { sum = _mm512_setzero_ps(); });
    sums.add_product(a + first * a_row, a_row, 1, panel, BLOCK, count);
    sums.each([&](int m, int vector, __m512& sum) { finish(first + m, vector * LANES, sum); });
  });
}

// A symmetric product: `finish` makes of (row, column, 16 sums) of the lower half what is stored, which is then mirrored to the upper half.
template <typename F>
void symmetric(Index side, const Word* a, Index a_row, const Word* panels, Index count, Bf16* to, F finish) {
  for (Index n = 0; n < side; n += BLOCK) {
    const auto from = [&](Index row) {
      return [=](Index i, Index j, __m512 sum) { store_bf16(to + (row + i) * side + n + j, finish(row + i, n + j, sum)); };
    };
    const Word* panel = panels + n * count;
    // Of the panel's first rows, only half the columns lie below the diagonal.
    const Index below = n + BLOCK / 2;
    rows_by_panel<VECTORS / 2>(BLOCK / 2, a + n * a_row, a_row, panel, count, from(n));
    rows_by_panel<VECTORS>(side - below, a + below * a_row, a_row, panel, count, from(below));
  }
  for (Index i = LANES; i < side; i += LANES) {
    for (Index j = 0; j < i; j += LANES) turn(to + i * side + j, side, to + j * side + i, side);
  }
}

}  // namespace

bool polar_available() { return bf16_products_available(); }

void polar_express(Bf16* matrix, Index rows, Index columns, const PolarStep* steps, Index count) {
  // The matrix as it is or transposed, so that it has no more rows than columns; its Gram matrix is then the smaller one.
  const bool tall = rows > columns;
  const Index side = std::min(rows, columns), length = std::max(rows, columns);
  Buffer<Bf16> turned(tall ? side * length : 0), gram(side * side), mixed(side * side);
  Buffer<Word> packed(side / 2 * length), packed_gram(side / 2 * side);
  if (tall) exchange(matrix, rows, columns, turned.data());
  Bf16* x = tall ? turned.data() : matrix;
  for (Index step = 0; step < count; ++step) {
    const PolarStep& by = steps[step];
    for (Index i = 0; i < side; i += BLOCK) {
      pack_transposed(x + i * length, length, BLOCK, BLOCK, length, packed.data() + i * (length / 2));
    }
    symmetric(side, words(x), length / 2, packed.data(), length / 2, gram.data(), [](Index, Index, __m512 sum) { return sum; });
    pack_row_pairs<BLOCK>(gram.data(), side, side, side, side, packed_gram.data());
    const __m512 b = _mm512_set1_ps(by.b), c = _mm512_set1_ps(by.c);
    symmetric(side, words(gram.data()), side / 2, packed_gram.data(), side / 2, mixed.data(), [=, &gram](Index i, Index j, __m512 sum) {
      return _mm512_fmadd_ps(c, sum, _mm512_mul_ps(b, load_bf16(gram.data() + i * side + j)));
    });
    pack_row_pairs<BLOCK>(x, length, side, side, length, packed.data());
    const __m512 a = _mm512_set1_ps(by.a);
    for (Index n = 0; n < length; n += BLOCK) {
      rows_by_panel<VECTORS>(side, words(mixed.data()), side / 2, packed.data() + n * (side / 2), side / 2, [&](Index i, Index j, __m512 sum) {
        Bf16* at = x + i * length + n + j;
        store_bf16(at, _mm512_fmadd_ps(a, load_bf16(at), sum));
      });
    }
  }
  if (tall) exchange(turned.data(), columns, rows, matrix);
}

}  // namespace nocturne

#else

#include <stdexcept>

namespace nocturne {

bool polar_available() { return false; }
void polar_express(Bf16*, std::int64_t, std::int64_t, const PolarStep*, std::int64_t) {
  throw std::logic_error("polar_express needs AVX512-BF16; ask polar_available first");
}

}  // namespace nocturne

#endif
