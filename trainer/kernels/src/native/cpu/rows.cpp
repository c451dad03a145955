// See rows.h. Compiled with NOCTURNE_ROWS as the name of an instruction set; see build.rs. Loops are written so that compilers turn them
// into vector code: no branch, no call, sums that may be added in any order marked as such.

#include "rows.h"

#include <bit>
#include <cmath>
#include <cstddef>
#include <type_traits>

namespace nocturne::NOCTURNE_ROWS {
namespace {

using Index = std::int64_t;

inline float load(const float* p) { return *p; }
inline float load(const Bf16* p) { return std::bit_cast<float>(static_cast<std::uint32_t>(*p) << 16); }

inline void store(float* p, float value) { *p = value; }
// To the nearest, ties to even; what is not a number stays one.
inline void store(Bf16* p, float value) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  *p = static_cast<Bf16>((bits & 0x7fffffffu) > 0x7f800000u ? 0x7fc0u : rounded);
}

// e^x to about 2 units in the last place, by Cody and Waite's reduction and a polynomial of Cephes; 0 and infinity beyond the range.
inline float exponential(float x) {
  const float clamped = x < -87.3f ? -87.3f : (x > 88.3f ? 88.3f : x);
  const float magic = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer, which stands in the low bits
  const float shifted = clamped * 1.44269504f + magic;
  const float n = shifted - magic;
  float r = clamped - n * 0.693359375f;
  r = r + n * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  const std::uint32_t exponent = (std::bit_cast<std::uint32_t>(shifted) + 127u) << 23;
  const float result = p * std::bit_cast<float>(exponent);
  const float low = x < -87.3f ? 0.0f : result;
  return x > 88.3f ? INFINITY : (x == x ? low : x);
}

inline float sigmoid(float x) { return 1.0f / (1.0f + exponential(-x)); }
// Exact to about 1e-7 of 1, which is what it is used for.
inline float hyperbolic_tangent(float x) { return 1.0f - 2.0f / (1.0f + exponential(2.0f * x)); }

template <typename T>
void norm_forward(const T* x, T* y, float* inverse, Index width, float epsilon, Index begin, Index end) {
  for (Index row = begin; row < end; ++row) {
    const T* from = x + row * width;
    T* to = y + row * width;
    float squares = 0;
#pragma omp simd reduction(+ : squares)
    for (Index i = 0; i < width; ++i) squares += load(from + i) * load(from + i);
    const float scale = 1.0f / std::sqrt(squares / static_cast<float>(width) + epsilon);
    inverse[row] = scale;
#pragma omp simd
    for (Index i = 0; i < width; ++i) store(to + i, load(from + i) * scale);
  }
}

template <typename T>
inline float mean_of_products(const T* dy, const T* y, Index width) {
  float product = 0;
#pragma omp simd reduction(+ : product)
  for (Index i = 0; i < width; ++i) product += load(dy + i) * load(y + i);
  return product / static_cast<float>(width);
}

template <typename T>
void norm_backward(const T* dy, const T* y, const float* inverse, const T* dsum, T* dx, Index width, Index begin, Index end) {
  for (Index row = begin; row < end; ++row) {
    const T *g = dy + row * width, *n = y + row * width;
    T* to = dx + row * width;
    const float mean = mean_of_products(g, n, width), scale = inverse[row];
    if (dsum == nullptr) {
#pragma omp simd
      for (Index i = 0; i < width; ++i) store(to + i, scale * (load(g + i) - load(n + i) * mean));
    } else {
      const T* more = dsum + row * width;
#pragma omp simd
      for (Index i = 0; i < width; ++i) store(to + i, load(more + i) + scale * (load(g + i) - load(n + i) * mean));
    }
  }
}

template <typename T>
void mix_norm_forward(const T* x, float a, const T* other, float b, T* sum, T* y, float* inverse, Index width, float epsilon, Index begin,
                      Index end) {
  for (Index row = begin; row < end; ++row) {
    const T *from = x + row * width, *more = other + row * width;
    T *mixed = sum + row * width, *to = y + row * width;
    float squares = 0;
#pragma omp simd reduction(+ : squares)
    for (Index i = 0; i < width; ++i) {
      const float value = a * load(from + i) + b * load(more + i);
      store(mixed + i, value);
      // What is stored is what is normalised, as it is by separate operations.
      const float stored = load(mixed + i);
      squares += stored * stored;
    }
    const float scale = 1.0f / std::sqrt(squares / static_cast<float>(width) + epsilon);
    inverse[row] = scale;
#pragma omp simd
    for (Index i = 0; i < width; ++i) store(to + i, load(mixed + i) * scale);
  }
}

template <typename T>
void mix_norm_backward(const T* dy, const T* dsum, const T* y, const float* inverse, const T* x, float a, const T* other, float b, T* dx,
                       T* dother, float* da, float* db, Index width, Index begin, Index end) {
  double all_a = 0, all_b = 0;
  for (Index row = begin; row < end; ++row) {
    const Index at = row * width;
    const T *g = dy + at, *n = y + at, *from = x + at, *more = other + at;
    T *to = dx + at, *to_other = dother + at;
    const float mean = mean_of_products(g, n, width), scale = inverse[row];
    float sum_a = 0, sum_b = 0;
    if (dsum == nullptr) {
#pragma omp simd reduction(+ : sum_a, sum_b)
      for (Index i = 0; i < width; ++i) {
        const float d = scale * (load(g + i) - load(n + i) * mean);
        sum_a += d * load(from + i);
        sum_b += d * load(more + i);
        store(to + i, a * d);
        store(to_other + i, b * d);
      }
    } else {
      const T* plus = dsum + at;
#pragma omp simd reduction(+ : sum_a, sum_b)
      for (Index i = 0; i < width; ++i) {
        const float d = load(plus + i) + scale * (load(g + i) - load(n + i) * mean);
        sum_a += d * load(from + i);
        sum_b += d * load(more + i);
        store(to + i, a * d);
        store(to_other + i, b * d);
      }
    }
    all_a += static_cast<double>(sum_a);
    all_b += static_cast<double>(sum_b);
  }
  *da = static_cast<float>(all_a);
  *db = static_cast<float>(all_b);
}

// Where a row of heads lies, and its time.
struct Place {
  Index batch, time, head;
  Place(Index row, const Heads& shape)
      : batch(row / shape.heads / shape.times), time(row / shape.heads % shape.times), head(row % shape.heads) {}
  // To the next row.
  void step(const Heads& shape) {
    if (++head < shape.heads) return;
    head = 0;
    if (++time < shape.times) return;
    time = 0;
    ++batch;
  }
  Index in(const Strides& strides) const { return batch * strides.batch + time * strides.time + head * strides.head; }
};

// Calls f with half a head's width, as a constant where it is a usual one: loops of so few vectors are then no loops.
template <typename F>
inline void with_half(Index half, F f) {
  switch (half) {
    case 32: return f(std::integral_constant<Index, 32>());
    case 64: return f(std::integral_constant<Index, 64>());
    default: return f(half);
  }
}

template <typename T>
void rotary_norm_forward(const T* x, Strides xs, const float* cos, const float* sin, T* y, Strides ys, float* inverse, Heads shape,
                         float epsilon, Index begin, Index end) {
  with_half(shape.width / 2, [&](auto constant) {
    const Index half = constant;
    Place place(begin, shape);
    for (Index row = begin; row < end; ++row, place.step(shape)) {
      const T *p = x + place.in(xs), *q = p + half;
      const float *c = cos + place.time * half, *s = sin + place.time * half;
      T *to_p = y + place.in(ys), *to_q = to_p + half;
      float squares = 0;
      // A rotation keeps lengths.
#pragma omp simd reduction(+ : squares)
      for (Index i = 0; i < half; ++i) squares += load(p + i) * load(p + i) + load(q + i) * load(q + i);
      const float scale = 1.0f / std::sqrt(squares / static_cast<float>(2 * half) + epsilon);
      inverse[row] = scale;
#pragma omp simd
      for (Index i = 0; i < half; ++i) {
        const float a = load(p + i), b = load(q + i);
        store(to_p + i, scale * (a * c[i] + b * s[i]));
        store(to_q + i, scale * (b * c[i] - a * s[i]));
      }
    }
  });
}

template <typename T>
void rotary_norm_backward(const T* dy, Strides dys, const T* y, Strides ys, const float* inverse, const float* cos, const float* sin, T* dx,
                          Strides dxs, Heads shape, Index begin, Index end) {
  with_half(shape.width / 2, [&](auto constant) {
    const Index half = constant;
    Place place(begin, shape);
    for (Index row = begin; row < end; ++row, place.step(shape)) {
      const T *g = dy + place.in(dys), *n = y + place.in(ys);
      const float *c = cos + place.time * half, *s = sin + place.time * half;
      T* to = dx + place.in(dxs);
      const float mean = mean_of_products(g, n, 2 * half), scale = inverse[row];
#pragma omp simd
      for (Index i = 0; i < half; ++i) {
        const float a = scale * (load(g + i) - load(n + i) * mean), b = scale * (load(g + half + i) - load(n + half + i) * mean);
        store(to + i, a * c[i] - b * s[i]);
        store(to + half + i, a * s[i] + b * c[i]);
      }
    }
  });
}

template <typename T>
void squared_relu_forward(const T* x, T* y, Index begin, Index end) {
#pragma omp simd
  for (Index i = begin; i < end; ++i) {
    const float value = load(x + i);
    const float kept = value > 0.0f ? value : (value == value ? 0.0f : value);
    store(y + i, kept * kept);
  }
}

template <typename T>
void squared_relu_backward(const T* dy, const T* y, T* dx, Index begin, Index end) {
#pragma omp simd
  for (Index i = begin; i < end; ++i) store(dx + i, 2.0f * std::sqrt(load(y + i)) * load(dy + i));
}

template <typename T>
void gated_value_forward(const T* value, Strides vs, const T* gate, const T* embedding, Strides es, T* y, Strides ys, Heads shape,
                         Index begin, Index end) {
  for (Index row = begin; row < end; ++row) {
    const Place place(row, shape);
    const T *v = value + place.in(vs), *e = embedding + place.in(es);
    T* to = y + place.in(ys);
    const float open = 2.0f * sigmoid(load(gate + row));
#pragma omp simd
    for (Index i = 0; i < shape.width; ++i) store(to + i, load(v + i) + open * load(e + i));
  }
}

template <typename T>
void gated_value_backward(const T* dy, Strides dys, const T* gate, const T* embedding, Strides es, T* dgate, T* dembedding, Strides des,
                          Heads shape, Index begin, Index end) {
  for (Index row = begin; row < end; ++row) {
    const Place place(row, shape);
    const T *g = dy + place.in(dys), *e = embedding + place.in(es);
    T* to = dembedding + place.in(des);
    const float open = sigmoid(load(gate + row));
    float product = 0;
#pragma omp simd reduction(+ : product)
    for (Index i = 0; i < shape.width; ++i) {
      product += load(g + i) * load(e + i);
      store(to + i, 2.0f * open * load(g + i));
    }
    store(dgate + row, 2.0f * open * (1.0f - open) * product);
  }
}

template <typename T>
void softcap_loss(T* logits, const Index* targets, float cap, float scale, float* losses, Index vocabulary, float* scratch, Index begin,
                  Index end) {
  const float per_cap = 1.0f / cap;
  // Capped logits lie within plus and minus the cap. Shifted by it, their exponentials cannot overflow, and up to a cap of 40 the smallest
  // is 2e-35: no need to look for the largest logit first.
  const bool narrow = cap <= 40.0f;
  for (Index row = begin; row < end; ++row) {
    T* at = logits + row * vocabulary;
    float shift = cap;
    if (!narrow) {
      float largest = -INFINITY;
#pragma omp simd reduction(max : largest)
      for (Index i = 0; i < vocabulary; ++i) {
        const float value = load(at + i);
        largest = value > largest ? value : largest;
      }
      shift = cap * hyperbolic_tangent(largest * per_cap);
    }
    const float raw = load(at + targets[row]);
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (Index i = 0; i < vocabulary; ++i) {
      const float t = hyperbolic_tangent(load(at + i) * per_cap);
      const float e = exponential(cap * t - shift);
      sum += e;
      scratch[i] = e * (1.0f - t * t);
    }
    const float t = hyperbolic_tangent(raw * per_cap);
    losses[row] = std::log(sum) + shift - cap * t;
    const float per_sum = scale / sum;
    const float target = scratch[targets[row]] * per_sum - scale * (1.0f - t * t);
#pragma omp simd
    for (Index i = 0; i < vocabulary; ++i) store(at + i, scratch[i] * per_sum);
    store(at + targets[row], target);
  }
}

template <typename T>
float muon_look(const float* gradient, float* momentum, float mu, T* look, Index begin, Index end) {
  float squares = 0;
#pragma omp simd reduction(+ : squares)
  for (Index i = begin; i < end; ++i) {
    const float g = gradient[i];
    const float m = momentum[i] + (1.0f - mu) * (g - momentum[i]);
    momentum[i] = m;
    store(look + i, g + mu * (m - g));
    const float stored = load(look + i);
    squares += stored * stored;
  }
  return squares;
}

template <typename T>
void muon_squares(const T* direction, Index columns, bool by_column, float* squares, Index begin, Index end) {
  for (Index row = begin; row < end; ++row) {
    const T* at = direction + row * columns;
    if (by_column) {
#pragma omp simd
      for (Index i = 0; i < columns; ++i) squares[i] += load(at + i) * load(at + i);
    } else {
      float sum = 0;
#pragma omp simd reduction(+ : sum)
      for (Index i = 0; i < columns; ++i) sum += load(at + i) * load(at + i);
      squares[row] = sum;
    }
  }
}

template <typename T>
void muon_scale(T* direction, const float* scale, bool by_column, Index columns, Index begin, Index end) {
  for (Index row = begin; row < end; ++row) {
    T* at = direction + row * columns;
    if (by_column) {
#pragma omp simd
      for (Index i = 0; i < columns; ++i) store(at + i, load(at + i) * scale[i]);
    } else {
      const float of_row = scale[row];
#pragma omp simd
      for (Index i = 0; i < columns; ++i) store(at + i, load(at + i) * of_row);
    }
  }
}

template <typename T>
void cautious_update(const T* update, float rate, float decay, float* parameter, Index begin, Index end) {
#pragma omp simd
  for (Index i = begin; i < end; ++i) {
    const float u = load(update + i), p = parameter[i];
    parameter[i] = p - rate * (u + (u * p >= 0.0f ? decay * p : 0.0f));
  }
}

void adamw(float* parameter, const float* gradient, float* mean, float* square, AdamStep step, Index begin, Index end) {
  const float keep = 1.0f - step.rate * step.decay, rate = step.rate / step.bias1, per_root = 1.0f / std::sqrt(step.bias2);
#pragma omp simd
  for (Index i = begin; i < end; ++i) {
    const float g = gradient[i];
    const float m = mean[i] + (1.0f - step.beta1) * (g - mean[i]);
    const float s = step.beta2 * square[i] + (1.0f - step.beta2) * g * g;
    mean[i] = m;
    square[i] = s;
    parameter[i] = parameter[i] * keep - rate * m / (std::sqrt(s) * per_root + step.epsilon);
  }
}

template <typename T>
constexpr RowFunctions<T> functions() {
  return {
      norm_forward<T>,         norm_backward<T>,        mix_norm_forward<T>,      mix_norm_backward<T>,      rotary_norm_forward<T>,
      rotary_norm_backward<T>, squared_relu_forward<T>, squared_relu_backward<T>, gated_value_forward<T>,    gated_value_backward<T>,
      softcap_loss<T>,         muon_look<T>,            muon_squares<T>,          muon_scale<T>,
      cautious_update<T>,
  };
}

#define NOCTURNE_TEXT(x) #x
#define NOCTURNE_NAME(x) NOCTURNE_TEXT(x)

}  // namespace

extern const Rows all;
const Rows all = {NOCTURNE_NAME(NOCTURNE_ROWS), functions<float>(), functions<Bf16>(), adamw};

}  // namespace nocturne::NOCTURNE_ROWS
