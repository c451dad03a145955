// See attention.h. Compiled for AVX512-BF16 where the compiler knows it (NOCTURNE_AVX512_BF16), to a word of refusal elsewhere.

#include "attention.h"

#if defined(NOCTURNE_AVX512_BF16)

#include <algorithm>
#include <cmath>

#include "products.h"

namespace nocturne {
namespace {

// e^x for x at most 0 (or a little above), to 2 units in the last place.
inline __m512 exponential(__m512 x) {
  const __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(1.44269504f)), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0.693359375f), x);
  r = _mm512_fmadd_ps(n, _mm512_set1_ps(2.12194440e-4f), r);
  __m512 p = _mm512_set1_ps(1.9875691500e-4f);
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.3981999507e-3f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(8.3334519073e-3f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(4.1665795894e-2f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.6666665459e-1f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(5.0000001201e-1f));
  p = _mm512_add_ps(_mm512_fmadd_ps(p, _mm512_mul_ps(r, r), r), _mm512_set1_ps(1.0f));
  return _mm512_scalef_ps(p, n);
}

// A block of queries and the keys that any of them sees.
struct Block {
  Index first_query, queries, first_key, keys;  // first_key is even; keys counts to the last one seen, rounded up to even in buffers

  Block(const AttentionShape& shape, Index first)
      : first_query(first),
        queries(std::min(BLOCK, shape.times - first)),
        first_key(std::max<Index>(0, first - std::min(shape.window, shape.times)) & ~Index{1}),
        keys(std::min(first + BLOCK, shape.times) - first_key) {}
  Index padded_keys() const { return (keys + 1) & ~Index{1}; }

  // Which of 16 queries from `lane` on see a key.
  __mmask16 seen(const AttentionShape& shape, Index key, Index lane) const {
    const Index oldest = first_query + lane;                // query of the first lane
    const Index before = key - oldest;                      // lanes below it come before the key
    const Index after = shape.window + key - oldest;        // lanes above it are too far behind
    const Index low = std::clamp<Index>(before, 0, LANES), high = std::clamp<Index>(after + 1, 0, LANES);
    return static_cast<__mmask16>(((1u << high) - 1u) & ~((1u << low) - 1u));
  }
  // Whether all 64 do.
  bool all_see(const AttentionShape& shape, Index key) const {
    return key <= first_query && first_query + BLOCK - 1 - key <= shape.window;
  }
};

// The softmax down a block's columns: scores [keys][64] to words [keys / 2][64] of pairs of probabilities times their sums.
void softmax(const AttentionShape& shape, const Block& block, const float* scores, Word* probabilities, float* sums, float* largest) {
  const __m512 scale = _mm512_set1_ps(shape.scale), nothing = _mm512_set1_ps(-INFINITY);
  for (int v = 0; v < VECTORS; ++v) {
    const Index lane = v * LANES;
    __m512 most = nothing;
    for (Index j = 0; j < block.keys; ++j) {
      const __m512 s = _mm512_loadu_ps(scores + j * BLOCK + lane);
      const __mmask16 seen = block.all_see(shape, block.first_key + j) ? 0xffff : block.seen(shape, block.first_key + j, lane);
      most = _mm512_mask_max_ps(most, seen, most, s);
    }
    most = _mm512_mul_ps(most, scale);
    __m512 sum = _mm512_setzero_ps();
    for (Index j = 0; j < block.keys; j += 2) {
      __m512i both[2];
      for (Index k = 0; k < 2; ++k) {
        const Index key = block.first_key + j + k;
        if (j + k >= block.keys) {
          both[k] = _mm512_setzero_si512();
          continue;
        }
        const __mmask16 seen = block.all_see(shape, key) ? 0xffff : block.seen(shape, key, lane);
        const __m512 s = _mm512_loadu_ps(scores + (j + k) * BLOCK + lane);
        const __m512 e = _mm512_maskz_mov_ps(seen, exponential(_mm512_fmsub_ps(s, scale, most)));
        sum = _mm512_add_ps(sum, e);
        both[k] = words_of(e);
      }
      _mm512_storeu_si512(probabilities + j / 2 * BLOCK + lane, pair_up(both[0], both[1]));
    }
    _mm512_storeu_ps(sums + lane, sum);
    _mm512_storeu_ps(largest + lane, most);
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
      product<false>(block.keys, BLOCK, key_words, key.strides.time / 2, 1, queries.data() + first, padded, width / 2, scores.data(), BLOCK);
      softmax(shape, block, scores.data(), probabilities.data(), sums, largest);
      product<false>(block.queries, width, probabilities.data(), 1, BLOCK, values.data() + block.first_key / 2 * width, width,
                     block.padded_keys() / 2, mixed.data(), width);
      for (Index i = 0; i < block.queries; ++i) {
        const __m512 share = _mm512_set1_ps(1.0f / sums[i]);
        Bf16* row = to + (first + i) * out.strides.time;
        for (Index d = 0; d < width; d += LANES) store_bf16(row + d, _mm512_mul_ps(share, _mm512_loadu_ps(mixed.data() + i * width + d)));
        logsumexp[head * times + first + i] = largest[i] + std::log(sums[i]);
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
  const __m512 scale = _mm512_set1_ps(shape.scale);
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
      level.data()[t] = t < times ? logsumexp[head * times + t] : 0.0f;
    }
    std::fill_n(dk.data(), padded * width, 0.0f);
    std::fill_n(dv.data(), padded * width, 0.0f);
    for (Index first = 0; first < times; first += BLOCK) {
      const Block block(shape, first);
      const auto* key_words = reinterpret_cast<const Word*>(k + block.first_key * key.strides.time);
      const auto* value_words = reinterpret_cast<const Word*>(v + block.first_key * value.strides.time);
      product<false>(block.keys, BLOCK, key_words, key.strides.time / 2, 1, query_columns.data() + first, padded, width / 2, scores.data(),
                     BLOCK);
      product<false>(block.keys, BLOCK, value_words, value.strides.time / 2, 1, dout_columns.data() + first, padded, width / 2,
                     dprobabilities.data(), BLOCK);
      for (int vector = 0; vector < VECTORS; ++vector) {
        const Index lane = vector * LANES;
        const __m512 down = _mm512_loadu_ps(level.data() + first + lane), minus = _mm512_loadu_ps(delta.data() + first + lane);
        for (Index j = 0; j < block.keys; j += 2) {
          __m512i both[2] = {_mm512_setzero_si512(), _mm512_setzero_si512()};
          for (Index n = 0; n < 2 && j + n < block.keys; ++n) {
            const Index row = (j + n) * BLOCK + lane, at = block.first_key + j + n;
            const __mmask16 seen = block.all_see(shape, at) ? 0xffff : block.seen(shape, at, lane);
            const __m512 s = _mm512_loadu_ps(scores.data() + row);
            const __m512 p = _mm512_maskz_mov_ps(seen, exponential(_mm512_fmsub_ps(s, scale, down)));
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
      product<true>(block.keys, width, p_words, BLOCK / 2, 1, dout_pairs.data() + first / 2 * width, width, BLOCK / 2,
                    dv.data() + block.first_key * width, width);
      product<true>(block.keys, width, ds_words, BLOCK / 2, 1, query_pairs.data() + first / 2 * width, width, BLOCK / 2,
                    dk.data() + block.first_key * width, width);
      product<false>(block.queries, width, score_pairs.data(), 1, BLOCK, key_pairs.data() + block.first_key / 2 * width, width,
                     block.padded_keys() / 2, dq.data(), width);
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
