// See rows.h. Compiled with NOCTURNE_ROWS as the name of an instruction set; see build.rs.

#include <cmath>
#include <cstddef>
#include <type_traits>

#include "vectors.h"

namespace nocturne::NOCTURNE_ROWS {
namespace {

inline float inverse_root_mean(float squares, Index width, float epsilon) { return 1.0f / std::sqrt(squares / static_cast<float>(width) + epsilon); }

template <typename T>
void norm_forward(const T* x, T* y, float* inverse, Index width, float epsilon, Index begin, Index end) {
  for (Index row = begin; row < end; ++row) {
    const T* from = x + row * width;
    T* to = y + row * width;
    Sum squares;
    each(width, [&]<typename L>(Index i, L) {
      const L value = load<L>(from + i);
      squares.add(value * value);
    });
    const float scale = inverse_root_mean(squares.total(), width, epsilon);
    inverse[row] = scale;
    each(width, [&]<typename L>(Index i, L) { store(to + i, load<L>(from + i) * scale); });
  }
}

template <typename T>
NOCTURNE_INLINE float mean_of_products(const T* dy, const T* y, Index width) {
  Sum product;
  each(width, [&]<typename L>(Index i, L) { product.add(load<L>(dy + i) * load<L>(y + i)); });
  return product.total() / static_cast<float>(width);
}

template <typename T>
void norm_backward(const T* dy, const T* y, const float* inverse, const T* dsum, T* dx, Index width, Index begin, Index end) {
  for (Index row = begin; row < end; ++row) {
    const T *g = dy + row * width, *n = y + row * width;
    T* to = dx + row * width;
    const float mean = mean_of_products(g, n, width), scale = inverse[row];
    if (dsum == nullptr) {
      each(width, [&]<typename L>(Index i, L) { store(to + i, scale * (load<L>(g + i) - load<L>(n + i) * mean)); });
    } else {
      const T* more = dsum + row * width;
      each(width, [&]<typename L>(Index i, L) { store(to + i, load<L>(more + i) + scale * (load<L>(g + i) - load<L>(n + i) * mean)); });
    }
  }
}

template <typename T>
void mix_norm_forward(const T* x, float a, const T* other, float b, T* sum, T* y, float* inverse, Index width, float epsilon, Index begin,
                      Index end) {
  for (Index row = begin; row < end; ++row) {
    const T *from = x + row * width, *more = other + row * width;
    T *mixed = sum + row * width, *to = y + row * width;
    Sum squares;
    each(width, [&]<typename L>(Index i, L) {
      store(mixed + i, a * load<L>(from + i) + b * load<L>(more + i));
      // What is stored is what is normalised, as it is by separate operations.
      const L stored = load<L>(mixed + i);
      squares.add(stored * stored);
    });
    const float scale = inverse_root_mean(squares.total(), width, epsilon);
    inverse[row] = scale;
    each(width, [&]<typename L>(Index i, L) { store(to + i, load<L>(mixed + i) * scale); });
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
    Sum sum_a, sum_b;
    const auto put = [&]<typename L>(Index i, L d) {
      sum_a.add(d * load<L>(from + i));
      sum_b.add(d * load<L>(more + i));
      store(to + i, a * d);
      store(to_other + i, b * d);
    };
    if (dsum == nullptr) {
      each(width, [&]<typename L>(Index i, L) { put(i, scale * (load<L>(g + i) - load<L>(n + i) * mean)); });
    } else {
      const T* plus = dsum + at;
      each(width, [&]<typename L>(Index i, L) { put(i, load<L>(plus + i) + scale * (load<L>(g + i) - load<L>(n + i) * mean)); });
    }
    all_a += static_cast<double>(sum_a.total());
    all_b += static_cast<double>(sum_b.total());
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
      Sum squares;
      // A rotation keeps lengths.
      each(half, [&]<typename L>(Index i, L) {
        const L a = load<L>(p + i), b = load<L>(q + i);
        squares.add(a * a + b * b);
      });
      const float scale = inverse_root_mean(squares.total(), 2 * half, epsilon);
      inverse[row] = scale;
      each(half, [&]<typename L>(Index i, L) {
        const L a = load<L>(p + i), b = load<L>(q + i), x_axis = scale * load<L>(c + i), y_axis = scale * load<L>(s + i);
        store(to_p + i, a * x_axis + b * y_axis);
        store(to_q + i, b * x_axis - a * y_axis);
      });
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
      each(half, [&]<typename L>(Index i, L) {
        const L a = load<L>(g + i) - load<L>(n + i) * mean, b = load<L>(g + half + i) - load<L>(n + half + i) * mean;
        const L x_axis = scale * load<L>(c + i), y_axis = scale * load<L>(s + i);
        store(to + i, a * x_axis - b * y_axis);
        store(to + half + i, a * y_axis + b * x_axis);
      });
    }
  });
}

template <typename T>
void squared_relu_forward(const T* x, T* y, Index begin, Index end) {
  each(end - begin, [&]<typename L>(Index i, L) {
    const L value = load<L>(x + begin + i);
    // What is not a number stays one.
    const L kept = choose(value <= 0.0f, all_lanes<L>(0.0f), value);
    store(y + begin + i, kept * kept);
  });
}

template <typename T>
void squared_relu_backward(const T* dy, const T* y, T* dx, Index begin, Index end) {
  each(end - begin, [&]<typename L>(Index i, L) {
    store(dx + begin + i, 2.0f * root(load<L>(y + begin + i)) * load<L>(dy + begin + i));
  });
}

template <typename T>
void gated_value_forward(const T* value, Strides vs, const T* gate, const T* embedding, Strides es, T* y, Strides ys, Heads shape,
                         Index begin, Index end) {
  Place place(begin, shape);
  for (Index row = begin; row < end; ++row, place.step(shape)) {
    const T *v = value + place.in(vs), *e = embedding + place.in(es);
    T* to = y + place.in(ys);
    const float open = 2.0f * sigmoid(load<float>(gate + row));
    each(shape.width, [&]<typename L>(Index i, L) { store(to + i, load<L>(v + i) + open * load<L>(e + i)); });
  }
}

template <typename T>
void gated_value_backward(const T* dy, Strides dys, const T* gate, const T* embedding, Strides es, T* dgate, T* dembedding, Strides des,
                          Heads shape, Index begin, Index end) {
  Place place(begin, shape);
  for (Index row = begin; row < end; ++row, place.step(shape)) {
    const T *g = dy + place.in(dys), *e = embedding + place.in(es);
    T* to = dembedding + place.in(des);
    const float open = sigmoid(load<float>(gate + row)), twice = 2.0f * open;
    Sum product;
    each(shape.width, [&]<typename L>(Index i, L) {
      const L from = load<L>(g + i);
      product.add(from * load<L>(e + i));
      store(to + i, twice * from);
    });
    store(dgate + row, 2.0f * open * (1.0f - open) * product.total());
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
      for (Index i = 0; i < vocabulary; ++i) {
        const float value = load<float>(at + i);
        largest = value > largest ? value : largest;
      }
      shift = cap * hyperbolic_tangent(largest * per_cap);
    }
    const float raw = load<float>(at + targets[row]);
    Sum sum;
    each(vocabulary, [&]<typename L>(Index i, L) {
      const L t = hyperbolic_tangent(load<L>(at + i) * per_cap);
      const L e = exponential(cap * t - shift);
      sum.add(e);
      store(scratch + i, e * (1.0f - t * t));
    });
    const float t = hyperbolic_tangent(raw * per_cap), all = sum.total();
    losses[row] = std::log(all) + shift - cap * t;
    const float per_sum = scale / all;
    const float target = scratch[targets[row]] * per_sum - scale * (1.0f - t * t);
    each(vocabulary, [&]<typename L>(Index i, L) { store(at + i, load<L>(scratch + i) * per_sum); });
    store(at + targets[row], target);
  }
}

template <typename T>
float muon_look(const float* gradient, float* momentum, float mu, T* look, Index begin, Index end) {
  Sum squares;
  each(end - begin, [&]<typename L>(Index n, L) {
    const Index i = begin + n;
    const L g = load<L>(gradient + i), before = load<L>(momentum + i), m = before + (1.0f - mu) * (g - before);
    store(momentum + i, m);
    store(look + i, g + mu * (m - g));
    const L stored = load<L>(look + i);
    squares.add(stored * stored);
  });
  return squares.total();
}

template <typename T>
void muon_squares(const T* direction, Index columns, bool by_column, float* squares, Index begin, Index end) {
  for (Index row = begin; row < end; ++row) {
    const T* at = direction + row * columns;
    if (by_column) {
      each(columns, [&]<typename L>(Index i, L) {
        const L value = load<L>(at + i);
        store(squares + i, load<L>(squares + i) + value * value);
      });
    } else {
      Sum sum;
      each(columns, [&]<typename L>(Index i, L) {
        const L value = load<L>(at + i);
        sum.add(value * value);
      });
      squares[row] = sum.total();
    }
  }
}

template <typename T>
void muon_scale(T* direction, const float* scale, bool by_column, Index columns, Index begin, Index end) {
  for (Index row = begin; row < end; ++row) {
    T* at = direction + row * columns;
    if (by_column) {
      each(columns, [&]<typename L>(Index i, L) { store(at + i, load<L>(at + i) * load<L>(scale + i)); });
    } else {
      const float of_row = scale[row];
      each(columns, [&]<typename L>(Index i, L) { store(at + i, load<L>(at + i) * of_row); });
    }
  }
}

template <typename T>
void cautious_update(const T* update, float rate, float decay, float* parameter, Index begin, Index end) {
  each(end - begin, [&]<typename L>(Index n, L) {
    const Index i = begin + n;
    const L u = load<L>(update + i), p = load<L>(parameter + i);
    store(parameter + i, p - rate * (u + choose(u * p >= 0.0f, decay * p, all_lanes<L>(0.0f))));
  });
}

void adamw(float* parameter, const float* gradient, float* mean, float* square, AdamStep step, Index begin, Index end) {
  const float keep = 1.0f - step.rate * step.decay, rate = step.rate / step.bias1, per_root = 1.0f / std::sqrt(step.bias2);
  each(end - begin, [&]<typename L>(Index n, L) {
    const Index i = begin + n;
    const L g = load<L>(gradient + i), before = load<L>(mean + i);
    const L m = before + (1.0f - step.beta1) * (g - before);
    const L s = step.beta2 * load<L>(square + i) + (1.0f - step.beta2) * (g * g);
    store(mean + i, m);
    store(square + i, s);
    store(parameter + i, load<L>(parameter + i) * keep - rate * m / (root(s) * per_root + step.epsilon));
  });
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
