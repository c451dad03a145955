// The CPU half: hands rows to libtorch's threads. What is done with a row stands in rows.cpp.
//
// Sums over many rows are added up in parts of a fixed size, in their order, so that a result does not depend on the number of threads.

#include <ATen/Functions.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "../device.h"
#include "attention.h"
#include "rows.h"
#include "threads.h"

namespace nocturne::cpu {
namespace {

using at::Tensor;
using Index = std::int64_t;

// Elements that a thread takes at once.
constexpr Index GRAIN = 1 << 14;
// Rows that are added up as one part.
constexpr Index PART = 64;

// Calls f(functions, pointer conversion) for the tensor's kind.
template <typename T>
struct Of {
  static const RowFunctions<T>& functions();
};
template <>
const RowFunctions<float>& Of<float>::functions() {
  static const RowFunctions<float>& all = rows().fp32;
  return all;
}
template <>
const RowFunctions<Bf16>& Of<Bf16>::functions() {
  static const RowFunctions<Bf16>& all = rows().bf16;
  return all;
}

template <typename T>
T* data(const Tensor& x) {
  return x.defined() ? static_cast<T*>(x.data_ptr()) : nullptr;
}
float* floats(const Tensor& x) { return data<float>(x); }

template <typename F>
void by_kind(const Tensor& x, F f) {
  if (x.scalar_type() == at::kFloat) {
    f(float{});
  } else {
    TORCH_CHECK(x.scalar_type() == at::kBFloat16, "fused operations know float and bfloat16, not ", x.scalar_type());
    f(Bf16{});
  }
}

template <typename F>
void over_rows(Index count, Index width, F f) {
  const Index rows = std::max<Index>(1, GRAIN / std::max<Index>(1, width));
  share_out((count + rows - 1) / rows, [&](Index task) { f(task * rows, std::min(count, (task + 1) * rows)); });
}

Strides strides(const Tensor& x) { return {x.stride(0), x.stride(1), x.stride(2)}; }
Heads heads(const Tensor& x) { return {x.size(1), x.size(2), x.size(3)}; }
Index head_rows(const Tensor& x) { return x.size(0) * x.size(1) * x.size(2); }

}  // namespace

void norm_forward(const Tensor& x, Tensor& y, Tensor& inverse, double epsilon) {
  const Index width = x.size(1);
  by_kind(x, [&](auto kind) {
    using T = decltype(kind);
    over_rows(x.size(0), width, [&](Index begin, Index end) {
      Of<T>::functions().norm_forward(data<T>(x), data<T>(y), floats(inverse), width, static_cast<float>(epsilon), begin, end);
    });
  });
}

void norm_backward(const Tensor& dy, const Tensor& y, const Tensor& inverse, const Tensor& dsum, Tensor& dx) {
  const Index width = y.size(1);
  by_kind(y, [&](auto kind) {
    using T = decltype(kind);
    over_rows(y.size(0), width, [&](Index begin, Index end) {
      Of<T>::functions().norm_backward(data<T>(dy), data<T>(y), floats(inverse), data<T>(dsum), data<T>(dx), width, begin, end);
    });
  });
}

namespace {

void mix(const Tensor& x, float a, const Tensor& other, float b, Tensor& sum, Tensor& y, Tensor& inverse, double epsilon) {
  const Index width = x.size(1);
  by_kind(x, [&](auto kind) {
    using T = decltype(kind);
    over_rows(x.size(0), width, [&](Index begin, Index end) {
      Of<T>::functions().mix_norm_forward(data<T>(x), a, data<T>(other), b, data<T>(sum), data<T>(y), floats(inverse), width,
                                          static_cast<float>(epsilon), begin, end);
    });
  });
}

}  // namespace

void add_norm_forward(const Tensor& x, const Tensor& branch, Tensor& sum, Tensor& y, Tensor& inverse, double epsilon) {
  mix(x, 1.0f, branch, 1.0f, sum, y, inverse, epsilon);
}

void mix_norm_forward(const Tensor& x, const Tensor& a, const Tensor& x0, const Tensor& b, Tensor& sum, Tensor& y, Tensor& inverse,
                      double epsilon) {
  mix(x, *floats(a), x0, *floats(b), sum, y, inverse, epsilon);
}

void mix_norm_backward(const Tensor& dy, const Tensor& dsum, const Tensor& y, const Tensor& inverse, const Tensor& x, const Tensor& a,
                       const Tensor& x0, const Tensor& b, Tensor& dx, Tensor& dx0, Tensor& da, Tensor& db) {
  const Index count = y.size(0), width = y.size(1), parts = (count + PART - 1) / PART;
  std::vector<float> of_a(static_cast<std::size_t>(parts)), of_b(static_cast<std::size_t>(parts));
  by_kind(y, [&](auto kind) {
    using T = decltype(kind);
    over_rows(parts, PART * width, [&](Index begin, Index end) {
      for (Index part = begin; part < end; ++part) {
        Of<T>::functions().mix_norm_backward(data<T>(dy), data<T>(dsum), data<T>(y), floats(inverse), data<T>(x), *floats(a),
                                             data<T>(x0), *floats(b), data<T>(dx), data<T>(dx0), &of_a[part], &of_b[part], width,
                                             part * PART, std::min(count, (part + 1) * PART));
      }
    });
  });
  double all_a = 0, all_b = 0;
  for (Index part = 0; part < parts; ++part) {
    all_a += static_cast<double>(of_a[part]);
    all_b += static_cast<double>(of_b[part]);
  }
  *floats(da) = static_cast<float>(all_a);
  *floats(db) = static_cast<float>(all_b);
}

void rotary_norm_forward(const Tensor& x, const Tensor& cos, const Tensor& sin, Tensor& y, Tensor& inverse, double epsilon) {
  by_kind(x, [&](auto kind) {
    using T = decltype(kind);
    over_rows(head_rows(x), x.size(3), [&](Index begin, Index end) {
      Of<T>::functions().rotary_norm_forward(data<T>(x), strides(x), floats(cos), floats(sin), data<T>(y), strides(y), floats(inverse),
                                             heads(x), static_cast<float>(epsilon), begin, end);
    });
  });
}

void rotary_norm_backward(const Tensor& dy, const Tensor& y, const Tensor& inverse, const Tensor& cos, const Tensor& sin, Tensor& dx) {
  by_kind(y, [&](auto kind) {
    using T = decltype(kind);
    over_rows(head_rows(y), y.size(3), [&](Index begin, Index end) {
      Of<T>::functions().rotary_norm_backward(data<T>(dy), strides(dy), data<T>(y), strides(y), floats(inverse), floats(cos), floats(sin),
                                              data<T>(dx), strides(dx), heads(y), begin, end);
    });
  });
}

void squared_relu_forward(const Tensor& x, Tensor& y) {
  by_kind(x, [&](auto kind) {
    using T = decltype(kind);
    over_rows(x.numel(), 1, [&](Index begin, Index end) { Of<T>::functions().squared_relu_forward(data<T>(x), data<T>(y), begin, end); });
  });
}

void squared_relu_backward(const Tensor& dy, const Tensor& y, Tensor& dx) {
  by_kind(y, [&](auto kind) {
    using T = decltype(kind);
    over_rows(y.numel(), 1, [&](Index begin, Index end) {
      Of<T>::functions().squared_relu_backward(data<T>(dy), data<T>(y), data<T>(dx), begin, end);
    });
  });
}

void gated_value_forward(const Tensor& value, const Tensor& gate, const Tensor& embedding, Tensor& y) {
  by_kind(value, [&](auto kind) {
    using T = decltype(kind);
    over_rows(head_rows(value), value.size(3), [&](Index begin, Index end) {
      Of<T>::functions().gated_value_forward(data<T>(value), strides(value), data<T>(gate), data<T>(embedding), strides(embedding),
                                             data<T>(y), strides(y), heads(value), begin, end);
    });
  });
}

void gated_value_backward(const Tensor& dy, const Tensor& gate, const Tensor& embedding, Tensor& dgate, Tensor& dembedding) {
  by_kind(embedding, [&](auto kind) {
    using T = decltype(kind);
    over_rows(head_rows(embedding), embedding.size(3), [&](Index begin, Index end) {
      Of<T>::functions().gated_value_backward(data<T>(dy), strides(dy), data<T>(gate), data<T>(embedding), strides(embedding),
                                              data<T>(dgate), data<T>(dembedding), strides(dembedding), heads(embedding), begin, end);
    });
  });
}

void softcap_loss(Tensor& logits, const Tensor& targets, double cap, double scale, Tensor& losses) {
  const Index count = logits.size(0), vocabulary = logits.size(1);
  const auto* at = data<Index>(targets);
  for (Index row = 0; row < count; ++row) {
    TORCH_CHECK_INDEX(at[row] >= 0 && at[row] < vocabulary, "target ", at[row], " of row ", row, " is outside of the vocabulary of ",
                      vocabulary);
  }
  by_kind(logits, [&](auto kind) {
    using T = decltype(kind);
    over_rows(count, vocabulary, [&](Index begin, Index end) {
      std::vector<float> scratch(static_cast<std::size_t>(vocabulary));
      Of<T>::functions().softcap_loss(data<T>(logits), at, static_cast<float>(cap), static_cast<float>(scale), floats(losses), vocabulary,
                                      scratch.data(), begin, end);
    });
  });
}

void scale(Tensor& x, const Tensor& factor) {
  // As a number, not as a tensor: it is not rounded to the kind of x then.
  if (const float by = factor.item<float>(); by != 1.0f) x.mul_(by);
}

void muon_look(const Tensor& gradient, Tensor& momentum, double mu, Tensor& look, Tensor& squares) {
  const Index members = gradient.size(0), each = gradient.size(1) * gradient.size(2), parts = (each + GRAIN - 1) / GRAIN;
  std::vector<float> sums(static_cast<std::size_t>(members * parts));
  by_kind(look, [&](auto kind) {
    using T = decltype(kind);
    share_out(members * parts, [&](Index part) {
      const Index first = part / parts * each + part % parts * GRAIN, last = std::min((part / parts + 1) * each, first + GRAIN);
      sums[part] = Of<T>::functions().muon_look(floats(gradient), floats(momentum), static_cast<float>(mu), data<T>(look), first, last);
    });
  });
  for (Index member = 0; member < members; ++member) {
    double sum = 0;
    for (Index part = 0; part < parts; ++part) sum += static_cast<double>(sums[member * parts + part]);
    floats(squares)[member] = static_cast<float>(sum);
  }
}

void normuon(Tensor& direction, Tensor& second, double beta2) {
  const Index members = direction.size(0), row_count = direction.size(1), columns = direction.size(2);
  const bool by_column = row_count < columns;
  // Means over the shorter side, one for each line of the longer one.
  const Index lines = by_column ? columns : row_count, length = by_column ? row_count : columns;
  by_kind(direction, [&](auto kind) {
    using T = decltype(kind);
    const auto& functions = Of<T>::functions();
    share_out(members, [&](Index member) {
      std::vector<float> scale(static_cast<std::size_t>(lines));
      T* matrix = data<T>(direction) + member * row_count * columns;
      functions.muon_squares(matrix, columns, by_column, scale.data(), 0, row_count);
      float* running = floats(second) + member * lines;
      double before = 0, after = 0;
      for (Index line = 0; line < lines; ++line) {
        const float mean = scale[line] / static_cast<float>(length);
        running[line] += static_cast<float>(1.0 - beta2) * (mean - running[line]);
        const float inverse = 1.0f / std::sqrt(std::max(running[line], 1e-10f));
        before += static_cast<double>(scale[line]);
        after += static_cast<double>(scale[line]) * static_cast<double>(inverse) * static_cast<double>(inverse);
        scale[line] = inverse;
      }
      const double kept = std::sqrt(before) / std::max(std::sqrt(after), 1e-10);
      for (float& value : scale) value = static_cast<float>(static_cast<double>(value) * kept);
      functions.muon_scale(matrix, scale.data(), by_column, columns, 0, row_count);
    });
  });
}

void cautious_update(const Tensor& update, double rate, double decay, Tensor& parameter) {
  by_kind(update, [&](auto kind) {
    using T = decltype(kind);
    over_rows(update.numel(), 1, [&](Index begin, Index end) {
      Of<T>::functions().cautious_update(data<T>(update), static_cast<float>(rate), static_cast<float>(decay), floats(parameter), begin, end);
    });
  });
}

void adamw(Tensor& parameter, const Tensor& gradient, Tensor& mean, Tensor& square, double rate, double beta1, double beta2,
           double epsilon, double decay, double bias1, double bias2) {
  const AdamStep step = {static_cast<float>(rate),    static_cast<float>(beta1), static_cast<float>(beta2), static_cast<float>(epsilon),
                         static_cast<float>(decay), static_cast<float>(bias1), static_cast<float>(bias2)};
  over_rows(parameter.numel(), 1, [&](Index begin, Index end) {
    rows().adamw(floats(parameter), floats(gradient), floats(mean), floats(square), step, begin, end);
  });
}

}  // namespace nocturne::cpu
