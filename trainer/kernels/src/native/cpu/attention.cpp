// See attention.h. Compiled for AVX512-BF16 where the compiler knows it (NOCTURNE_AVX512_BF16), to a word of refusal elsewhere.

#include "attention.h"

#if defined(NOCTURNE_AVX512_BF16)

#include <algorithm>
#include <cmath>

#include "products.h"

namespace nocturne {
namespace {

constexpr float LOG2_E = 1.44269504f, LN_2 = 0.693147181f;

// 2^x for x at most 0 (or a little above): Taylor's polynomial about the nearest integer, to 3e-6 of the value, where bfloat16 keeps 4e-3.
inline __m512 power_of_two(__m512 x) {
  const __m512 n = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC), r = _mm512_sub_ps(x, n);
  __m512 p = _mm512_set1_ps(1.33335581e-3f);
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(9.61812911e-3f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(5.55041087e-2f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(2.40226507e-1f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(LN_2));
  return _mm512_scalef_ps(_mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f)), n);
}

// A block of queries and the keys that any of them sees. Within it, 16 queries (a vector) meet only such groups of 16 keys as some of them
// sees. Keys are counted from `first_key`, queries from `first_query`.
struct Block {
  Index first_query, queries, first_key, keys, window;  // first_key is even

  Block(const AttentionShape& shape, Index first)
      : first_query(first),
        queries(std::min(BLOCK, shape.times - first)),
        first_key(std::max<Index>(0, first - std::min(shape.window, shape.times)) & ~Index{1}),
        keys(std::min(first + BLOCK, shape.times) - first_key),
        window(std::min(shape.window, shape.times)) {}

  // Keys [first, end) that some query of a vector sees; first is even.
  struct Range {
    Index first, end;
  };
  Range keys_of(Index vector) const {
    const Index query = first_query + vector * LANES, end = std::min(keys, query + LANES - first_key);
    const Index oldest = std::max<Index>(0, query - window) / LANES * LANES;
    return {std::min(std::max<Index>(0, oldest - first_key), end), end};
  }

  // Calls f(first key, count, first vector, end of vectors) for runs of keys that the same vectors of queries see.
  template <typename F>
  void each_run(F f) const {
    Index begin = 0, from = 0, to = 0;
    for (Index key = 0; key < keys;) {
      const Index next = std::min(keys, (first_key + key) / LANES * LANES + LANES - first_key);
      const Index sees = std::max<Index>(0, first_key + key - first_query) / LANES;
      const Index end = std::min<Index>(VECTORS, (first_key + next - 1 + window - first_query) / LANES + 1);
      if (key > begin && (sees != from || end != to)) {
        f(begin, key - begin, from, to);
        begin = key;
      }
      from = sees;
      to = end;
      key = next;
    }
    f(begin, keys - begin, from, to);
  }

  // Which of 16 queries from `lane` on see a key.
  __mmask16 seen(Index key, Index lane) const {
    const Index before = first_key + key - first_query - lane;  // lanes below it come before the key
    const Index after = window + before;                        // lanes above it are too far behind
    if (before <= 0 && after >= LANES - 1) return 0xffff;
    const Index low = std::clamp<Index>(before, 0, LANES), high = std::clamp<Index>(after + 1, 0, LANES);
    return static_cast<__mmask16>(((1u << high) - 1u) & ~((1u << low) - 1u));
  }
};

// The softmax down a block's columns: scores [keys][64] to words [keys / 2][64] of pairs of probabilities times their sums, of the keys that
// a vector sees. `largest` are logarithms to base 2.
void softmax(const AttentionShape& shape, const Block& block, const float* scores, Word* probabilities, float* sums, float* largest) {
  const __m512 scale = _mm512_set1_ps(shape.scale * LOG2_E), nothing = _mm512_set1_ps(-INFINITY);
  for (int v = 0; v < VECTORS; ++v) {
    const Index lane = v * LANES;
    const Block::Range keys = block.keys_of(v);
    __m512 most = nothing;
    for (Index j = keys.first; j < keys.end; ++j) {
      most = _mm512_mask_max_ps(most, block.seen(j, lane), most, _mm512_loadu_ps(scores + j * BLOCK + lane));
    }
    most = _mm512_mul_ps(most, scale);
    __m512 sum = _mm512_setzero_ps();
    for (Index j = keys.first; j < keys.end; j += 2) {
      __m512i both[2] = {_mm512_setzero_si512(), _mm512_setzero_si512()};
      for (Index k = 0; k < 2 && j + k < keys.end; ++k) {
        const __m512 s = _mm512_loadu_ps(scores + (j + k) * BLOCK + lane);
        const __m512 e = _mm512_maskz_mov_ps(block.seen(j + k, lane), power_of_two(_mm512_fmsub_ps(s, scale, most)));
        sum = _mm512_add_ps(sum, e);
        both[k] = words_of(e);
      }
      _mm512_storeu_si512(probabilities + j / 2 * BLOCK + lane, pair_up(both[0], both[1]));
    }
    _mm512_storeu_ps(sums + lane, sum);
    _mm512_storeu_ps(largest + lane, most);
  }
}

// Queries' rows of [queries][width]: what `pairs` [keys / 2][64] weigh of `from`, whose rows [keys / 2][width] are pairs of keys.
void sum_over_keys(const Block& block, const Word* weights, const Word* from, Index width, float* to) {
  for (Index v = 0; v * LANES < block.queries; ++v) {
    const Index lane = v * LANES;
    const Block::Range keys = block.keys_of(v);
    product<false>(std::min(LANES, block.queries - lane), width, weights + keys.first / 2 * BLOCK + lane, 1, BLOCK,
                   from + (block.first_key + keys.first) / 2 * width, width, (keys.end - keys.first + 1) / 2, to + lane * width, width);
  }
}

}  // namespace

bool attention_available() { return bf16_products_available(); }

void attention_forward(const AttentionShape& shape, Activations query, Activations key, Activations value, Activations out,
                       float* logsumexp, Index begin, Index end) {
  const Index times = shape.times, width = shape.width, padded = (times + BLOCK - 1) / BLOCK * BLOCK;
  Buffer<Word> queries(width / 2 * padded), values(padded / 2 * width), probabilities(padded / 2 * BLOCK);
  Buffer<float> scores(padded * BLOCK), mixed(BLOCK * width);
  alignas(64) float sums[BLOCK], largest[BLOCK];
  for (Index head = begin; head < end; ++head) {
    const Bf16* keys = key.head(shape, head);
    pack_transposed(query.head(shape, head), query.strides.time, times, padded, width, queries.data());
    pack_pairs(value.head(shape, head), value.strides.time, times, padded, width, values.data());
    Bf16* to = out.head(shape, head);
    for (Index first = 0; first < times; first += BLOCK) {
      const Block block(shape, first);
      const auto* key_words = reinterpret_cast<const Word*>(keys + block.first_key * key.strides.time);
      block.each_run([&](Index from, Index count, Index vector, Index end) {
        const Index lane = vector * LANES, stride = key.strides.time / 2;
        product<false>(count, end * LANES - lane, key_words + from * stride, stride, 1, queries.data() + first + lane, padded, width / 2,
                       scores.data() + from * BLOCK + lane, BLOCK);
      });
      softmax(shape, block, scores.data(), probabilities.data(), sums, largest);
      sum_over_keys(block, probabilities.data(), values.data(), width, mixed.data());
      for (Index i = 0; i < block.queries; ++i) {
        const __m512 share = _mm512_set1_ps(1.0f / sums[i]);
        Bf16* row = to + (first + i) * out.strides.time;
        for (Index d = 0; d < width; d += LANES) store_bf16(row + d, _mm512_mul_ps(share, _mm512_loadu_ps(mixed.data() + i * width + d)));
        logsumexp[head * times + first + i] = largest[i] * LN_2 + std::log(sums[i]);
      }
    }
  }
}

void attention_backward(const AttentionShape& shape, Activations query, Activations key, Activations value, Activations out,
                        Activations dout, const float* logsumexp, Activations dquery, Activations dkey, Activations dvalue, Index begin,
                        Index end) {
  const Index times = shape.times, width = shape.width, padded = (times + BLOCK - 1) / BLOCK * BLOCK;
  const Index transposed = width / 2 * padded, paired = padded / 2 * width;
  Buffer<Word> query_columns(transposed), dout_columns(transposed), query_pairs(paired), dout_pairs(paired), key_pairs(paired);
  Buffer<Word> score_pairs(padded / 2 * BLOCK);
  Buffer<Bf16> probabilities(padded * BLOCK), dscores(padded * BLOCK);
  Buffer<float> scores(padded * BLOCK), dprobabilities(padded * BLOCK), dq(BLOCK * width), dk(padded * width), dv(padded * width);
  Buffer<float> delta(padded), level(padded);
  const __m512 scale = _mm512_set1_ps(shape.scale), exponent = _mm512_set1_ps(shape.scale * LOG2_E);
  for (Index head = begin; head < end; ++head) {
    const Bf16 *q = query.head(shape, head), *k = key.head(shape, head), *v = value.head(shape, head);
    const Bf16 *o = out.head(shape, head), *g = dout.head(shape, head);
    pack_transposed(q, query.strides.time, times, padded, width, query_columns.data());
    pack_transposed(g, dout.strides.time, times, padded, width, dout_columns.data());
    pack_pairs(q, query.strides.time, times, padded, width, query_pairs.data());
    pack_pairs(g, dout.strides.time, times, padded, width, dout_pairs.data());
    pack_pairs(k, key.strides.time, times, padded, width, key_pairs.data());
    for (Index t = 0; t < padded; ++t) {
      __m512 sum = _mm512_setzero_ps();
      if (t < times) {
        for (Index d = 0; d < width; d += 2 * LANES) {
          const __m512i a = _mm512_loadu_si512(o + t * out.strides.time + d), b = _mm512_loadu_si512(g + t * dout.strides.time + d);
          sum = _mm512_dpbf16_ps(sum, pairs(a), pairs(b));
        }
      }
      delta.data()[t] = _mm512_reduce_add_ps(sum);
      level.data()[t] = t < times ? logsumexp[head * times + t] * LOG2_E : 0.0f;
    }
    std::fill_n(dk.data(), padded * width, 0.0f);
    std::fill_n(dv.data(), padded * width, 0.0f);
    for (Index first = 0; first < times; first += BLOCK) {
      const Block block(shape, first);
      const auto* key_words = reinterpret_cast<const Word*>(k + block.first_key * key.strides.time);
      const auto* value_words = reinterpret_cast<const Word*>(v + block.first_key * value.strides.time);
      block.each_run([&](Index from, Index count, Index vector, Index end) {
        const Index lane = vector * LANES, lanes = end * LANES - lane, at = from * BLOCK + lane;
        const Index key_row = key.strides.time / 2, value_row = value.strides.time / 2;
        product<false>(count, lanes, key_words + from * key_row, key_row, 1, query_columns.data() + first + lane, padded, width / 2,
                       scores.data() + at, BLOCK);
        product<false>(count, lanes, value_words + from * value_row, value_row, 1, dout_columns.data() + first + lane, padded, width / 2,
                       dprobabilities.data() + at, BLOCK);
      });
      for (int vector = 0; vector < VECTORS; ++vector) {
        const Index lane = vector * LANES;
        const Block::Range keys = block.keys_of(vector);
        const __m512 down = _mm512_loadu_ps(level.data() + first + lane), minus = _mm512_loadu_ps(delta.data() + first + lane);
        for (Index j = keys.first; j < keys.end; j += 2) {
          __m512i both[2] = {_mm512_setzero_si512(), _mm512_setzero_si512()};
          for (Index n = 0; n < 2 && j + n < keys.end; ++n) {
            const Index row = (j + n) * BLOCK + lane;
            const __m512 s = _mm512_loadu_ps(scores.data() + row);
            const __m512 p = _mm512_maskz_mov_ps(block.seen(j + n, lane), power_of_two(_mm512_fmsub_ps(s, exponent, down)));
            const __m512 dp = _mm512_sub_ps(_mm512_loadu_ps(dprobabilities.data() + row), minus);
            const __m512 ds = _mm512_mul_ps(_mm512_mul_ps(p, dp), scale);
            store_bf16(probabilities.data() + row, p);
            store_bf16(dscores.data() + row, ds);
            both[n] = words_of(ds);
          }
          _mm512_storeu_si512(score_pairs.data() + j / 2 * BLOCK + lane, pair_up(both[0], both[1]));
        }
      }
      const auto* p_words = reinterpret_cast<const Word*>(probabilities.data());
      const auto* ds_words = reinterpret_cast<const Word*>(dscores.data());
      block.each_run([&](Index from, Index count, Index vector, Index end) {
        const Index pair = vector * LANES / 2, pairs_of = (end - vector) * LANES / 2, at = from * BLOCK / 2 + pair;
        const Index below = (first / 2 + pair) * width, row = (block.first_key + from) * width;
        product<true>(count, width, p_words + at, BLOCK / 2, 1, dout_pairs.data() + below, width, pairs_of, dv.data() + row, width);
        product<true>(count, width, ds_words + at, BLOCK / 2, 1, query_pairs.data() + below, width, pairs_of, dk.data() + row, width);
      });
      sum_over_keys(block, score_pairs.data(), key_pairs.data(), width, dq.data());
      Bf16* to = dquery.head(shape, head);
      for (Index i = 0; i < block.queries; ++i) {
        for (Index d = 0; d < width; d += LANES) {
          store_bf16(to + (first + i) * dquery.strides.time + d, _mm512_loadu_ps(dq.data() + i * width + d));
        }
      }
    }
    Bf16 *to_key = dkey.head(shape, head), *to_value = dvalue.head(shape, head);
    for (Index t = 0; t < times; ++t) {
      for (Index d = 0; d < width; d += LANES) {
        store_bf16(to_key + t * dkey.strides.time + d, _mm512_loadu_ps(dk.data() + t * width + d));
        store_bf16(to_value + t * dvalue.strides.time + d, _mm512_loadu_ps(dv.data() + t * width + d));
      }
    }
  }
}

}  // namespace nocturne

#else

#include <stdexcept>

namespace nocturne {

namespace {
[[noreturn]] void refuse() { throw std::logic_error("attention_forward and attention_backward need AVX512-BF16; ask attention_available first"); }
}  // namespace

bool attention_available() { return false; }
void attention_forward(const AttentionShape&, Activations, Activations, Activations, Activations, float*, std::int64_t, std::int64_t) {
  refuse();
}
void attention_backward(const AttentionShape&, Activations, Activations, Activations, Activations, Activations, const float*, Activations,
                        Activations, Activations, std::int64_t, std::int64_t) {
  refuse();
}

}  // namespace nocturne

#endif
