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

const Word* words(const Bf16* from) { return reinterpret_cast<const Word*>(from); }

// What is read from the left in a product: for every row, words of two neighbours along the sum.
struct Rows {
  const Word* first;
  Index row, pair;
  Rows from(Index begin) const { return {first + begin * row, row, pair}; }
};

// A matrix as it lies, rows of so many elements.
struct Plain {
  const Bf16* matrix;
  Index length;
  Rows rows(Index first) const { return {words(matrix) + first * (length / 2), length / 2, 1}; }
};

// What was packed by pack_row_pairs, its columns as rows: of one panel, from a row on.
struct Turned {
  const Word* panels;
  Index count;
  Rows rows(Index first) const { return {panels + first / BLOCK * BLOCK * count + first % BLOCK, 1, BLOCK}; }
};

// Rows of A times the first columns of a packed panel of B: `finish` gets (row, column, 16 sums).
template <int COUNT, typename F>
inline void rows_by_panel(Index rows, Rows a, const Word* panel, Index count, F finish) {
  by_row_blocks(rows, [&](Index first, auto block) {
    Sums<block(), COUNT> sums;
    sums.each([&](int, int, __m512& sum) { sum = _mm512_setzero_ps(); });
    const Rows from = a.from(first);
    sums.add_product(from.first, from.row, from.pair, panel, BLOCK, count);
    sums.each([&](int m, int vector, __m512& sum) { finish(first + m, vector * LANES, sum); });
  });
}

// A symmetric product: `finish` makes of (row, column, 16 sums) of the lower half what is stored, which is then mirrored to the upper half.
template <typename A, typename F>
void symmetric(Index side, const A& a, const Word* panels, Index count, Bf16* to, F finish) {
  for (Index n = 0; n < side; n += BLOCK) {
    const auto from = [&](Index row) {
      return [=](Index i, Index j, __m512 sum) { store_bf16(to + (row + i) * side + n + j, finish(row + i, n + j, sum)); };
    };
    const Word* panel = panels + n * count;
    // Of the panel's first rows, only half the columns lie below the diagonal.
    const Index below = n + BLOCK / 2;
    rows_by_panel<VECTORS / 2>(BLOCK / 2, a.rows(n), panel, count, from(n));
    rows_by_panel<VECTORS>(BLOCK / 2, a.rows(below), panel, count, from(below));
    for (Index m = n + BLOCK; m < side; m += BLOCK) rows_by_panel<VECTORS>(BLOCK, a.rows(m), panel, count, from(m));
  }
  for (Index i = LANES; i < side; i += LANES) {
    for (Index j = 0; j < i; j += LANES) turn(to + i * side + j, side, to + j * side + i, side);
  }
}

// 16 elements of a matrix times a number.
struct Scaled {
  float by;
  const Bf16* matrix;
  Index side;
  __m512 at(Index i, Index j) const { return _mm512_mul_ps(_mm512_set1_ps(by), load_bf16(matrix + i * side + j)); }
};

// Works on one matrix. All that is symmetric is [side][side], side being the shorter one.
class Iteration {
 public:
  Iteration(Bf16* matrix, Index rows, Index columns)
      : x_(matrix),
        rows_(rows),
        columns_(columns),
        side_(std::min(rows, columns)),
        tall_(rows > columns),
        packed_(rows * columns / 2),
        packed_first_(side_ / 2 * side_),
        packed_second_(side_ / 2 * side_),
        gram_(side_ * side_),
        mixed_(side_ * side_),
        scratch_(side_ * side_),
        chunk_(tall_ ? CHUNK * columns : 0) {}

  // One iteration.
  void step(const PolarStep& by) {
    find_gram();
    pack(gram_, packed_first_);
    find_polynomial(by, packed_first_, mixed_);
    apply(by.a, mixed_);
  }

  // Two iterations, of which the second's Gram matrix is made from the first's instead of from the long matrix: with q = a + b s + c s^2,
  // the matrix after an iteration is q x, and its Gram matrix is q s q.
  void two_steps(const PolarStep& first, const PolarStep& second) {
    find_gram();
    pack(gram_, packed_first_);
    find_polynomial(first, packed_first_, mixed_);
    pack(mixed_, packed_second_);
    // q and s commute, so all of these are symmetric. Of each q the number a is kept apart: added to the matrix it would be rounded with it.
    product(mixed_, packed_first_, scratch_, Scaled{first.a, gram_.data(), side_});
    product(scratch_, packed_second_, gram_, Scaled{first.a, scratch_.data(), side_});
    pack(gram_, packed_first_);
    find_polynomial(second, packed_first_, scratch_);
    const Scaled ours = {second.a, mixed_.data(), side_}, others = {first.a, scratch_.data(), side_};
    symmetric(side_, Plain{scratch_.data(), side_}, packed_second_.data(), side_ / 2, gram_.data(),
              [=](Index i, Index j, __m512 sum) { return _mm512_add_ps(sum, _mm512_add_ps(ours.at(i, j), others.at(i, j))); });
    apply(first.a * second.a, gram_);
  }

 private:
  // Rows of a tall matrix that are multiplied at once.
  static constexpr Index CHUNK = 48;

  void find_gram() {
    const auto sum_alone = [](Index, Index, __m512 sum) { return sum; };
    if (tall_) {
      pack_row_pairs<BLOCK>(x_, columns_, rows_, rows_, columns_, packed_.data());
      symmetric(side_, Turned{packed_.data(), rows_ / 2}, packed_.data(), rows_ / 2, gram_.data(), sum_alone);
    } else {
      for (Index i = 0; i < rows_; i += BLOCK) {
        pack_transposed(x_ + i * columns_, columns_, BLOCK, BLOCK, columns_, packed_.data() + i * (columns_ / 2));
      }
      symmetric(side_, Plain{x_, columns_}, packed_.data(), columns_ / 2, gram_.data(), sum_alone);
    }
  }

  void pack(Buffer<Bf16>& matrix, Buffer<Word>& to) { pack_row_pairs<BLOCK>(matrix.data(), side_, side_, side_, side_, to.data()); }

  // b s + c s^2 of the Gram matrix.
  void find_polynomial(const PolarStep& by, Buffer<Word>& packed_gram, Buffer<Bf16>& to) {
    const __m512 c = _mm512_set1_ps(by.c);
    const Scaled linear = {by.b, gram_.data(), side_};
    symmetric(side_, Plain{gram_.data(), side_}, packed_gram.data(), side_ / 2, to.data(),
              [=](Index i, Index j, __m512 sum) { return _mm512_fmadd_ps(c, sum, linear.at(i, j)); });
  }

  // A product that is symmetric, and something more.
  void product(Buffer<Bf16>& left, Buffer<Word>& packed, Buffer<Bf16>& to, Scaled more) {
    symmetric(side_, Plain{left.data(), side_}, packed.data(), side_ / 2, to.data(),
              [=](Index i, Index j, __m512 sum) { return _mm512_add_ps(sum, more.at(i, j)); });
  }

  // x <- (a + q) x, or x (a + q) where x is tall.
  void apply(float a, Buffer<Bf16>& q) {
    const auto put = [a = _mm512_set1_ps(a)](Bf16* at, __m512 sum) { store_bf16(at, _mm512_fmadd_ps(a, load_bf16(at), sum)); };
    if (tall_) {
      pack(q, packed_first_);
      for (Index first = 0; first < rows_; first += CHUNK) {
        const Index count = std::min(CHUNK, rows_ - first);
        std::copy_n(x_ + first * columns_, count * columns_, chunk_.data());
        for (Index n = 0; n < side_; n += BLOCK) {
          const Word* panel = packed_first_.data() + n * (side_ / 2);
          rows_by_panel<VECTORS>(count, Plain{chunk_.data(), columns_}.rows(0), panel, side_ / 2,
                                 [&](Index i, Index j, __m512 sum) { put(x_ + (first + i) * columns_ + n + j, sum); });
        }
      }
    } else {
      pack_row_pairs<BLOCK>(x_, columns_, rows_, rows_, columns_, packed_.data());
      for (Index n = 0; n < columns_; n += BLOCK) {
        rows_by_panel<VECTORS>(side_, Plain{q.data(), side_}.rows(0), packed_.data() + n * (side_ / 2), side_ / 2,
                               [&](Index i, Index j, __m512 sum) { put(x_ + i * columns_ + n + j, sum); });
      }
    }
  }

  Bf16* x_;
  Index rows_, columns_, side_;
  bool tall_;
  Buffer<Word> packed_, packed_first_, packed_second_;
  Buffer<Bf16> gram_, mixed_, scratch_, chunk_;
};

}  // namespace

bool polar_available() { return bf16_products_available(); }

void polar_express(Bf16* matrix, Index rows, Index columns, const PolarStep* steps, Index count) {
  Iteration iteration(matrix, rows, columns);
  // Two at once save products with a long matrix, and cost products of short ones. Three would save more; but each multiplies what rounding
  // left in the Gram matrix (eigenvalues below zero among it) by the square of the growth of small ones, which soon outgrows the rest. The
  // last is taken alone: it evens out what rounding did to the two before it.
  const bool by_two = std::max(rows, columns) >= 2 * std::min(rows, columns);
  for (Index step = 0; step < count;) {
    if (by_two && step + 2 < count) {
      iteration.two_steps(steps[step], steps[step + 1]);
      step += 2;
    } else {
      iteration.step(steps[step]);
      step += 1;
    }
  }
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
