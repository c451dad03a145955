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

// [rows][columns] to [columns][rows].
void exchange(const Bf16* from, Index rows, Index columns, Bf16* to) {
  constexpr Index TILE = 32;
  for (Index i = 0; i < rows; i += TILE) {
    for (Index j = 0; j < columns; j += TILE) {
      for (Index k = j; k < j + TILE; ++k) {
        for (Index l = i; l < i + TILE; ++l) to[k * rows + l] = from[l * columns + k];
      }
    }
  }
}

const Word* words(const Bf16* from) { return reinterpret_cast<const Word*>(from); }

// The lower half of a symmetric product, in blocks: for the blocks of 64 rows, `finish` gets (row, column, 16 values) of columns up to the
// block's last row. What it stores is then mirrored to the upper half.
template <typename F>
void symmetric(Index side, const Word* a, Index a_row, const Word* b, Index b_row, Index count, float* block, Bf16* to, F finish) {
  for (Index first = 0; first < side; first += BLOCK) {
    const Index columns = first + BLOCK;
    product<false>(BLOCK, columns, a + first * a_row, a_row, 1, b, b_row, count, block, columns);
    for (Index i = 0; i < BLOCK; ++i) {
      for (Index j = 0; j < columns; j += LANES) {
        store_bf16(to + (first + i) * side + j, finish(first + i, j, _mm512_loadu_ps(block + i * columns + j)));
      }
    }
  }
  constexpr Index TILE = 32;
  for (Index i = 0; i < side; i += TILE) {
    for (Index j = 0; j < i; j += TILE) {
      for (Index k = j; k < j + TILE; ++k) {
        for (Index l = i; l < i + TILE; ++l) to[k * side + l] = to[l * side + k];
      }
    }
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
  Buffer<float> block(BLOCK * length);
  if (tall) exchange(matrix, rows, columns, turned.data());
  Bf16* x = tall ? turned.data() : matrix;
  for (Index step = 0; step < count; ++step) {
    const PolarStep& by = steps[step];
    pack_transposed(x, length, side, side, length, packed.data());
    symmetric(side, words(x), length / 2, packed.data(), side, length / 2, block.data(), gram.data(),
              [](Index, Index, __m512 sum) { return sum; });
    pack_pairs(gram.data(), side, side, side, side, packed_gram.data());
    const __m512 b = _mm512_set1_ps(by.b), c = _mm512_set1_ps(by.c);
    symmetric(side, words(gram.data()), side / 2, packed_gram.data(), side, side / 2, block.data(), mixed.data(),
              [&](Index i, Index j, __m512 sum) {
                return _mm512_fmadd_ps(c, sum, _mm512_mul_ps(b, load_bf16(gram.data() + i * side + j)));
              });
    pack_pairs(x, length, side, side, length, packed.data());
    const __m512 a = _mm512_set1_ps(by.a);
    for (Index first = 0; first < side; first += BLOCK) {
      product<false>(BLOCK, length, words(mixed.data()) + first * side / 2, side / 2, 1, packed.data(), length, side / 2, block.data(),
                     length);
      for (Index i = 0; i < BLOCK; ++i) {
        Bf16* row = x + (first + i) * length;
        for (Index j = 0; j < length; j += LANES) {
          store_bf16(row + j, _mm512_fmadd_ps(a, load_bf16(row + j), _mm512_loadu_ps(block.data() + i * length + j)));
        }
      }
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
